/* SPDX-License-Identifier: ISC */
#include "proxy/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "protocols/wire.h"
#include "proxy/jail.h"
#include "proxy/log.h"

enum {
    BURST = 16,          /* requests of one service before anything else is looked at */
    START_MS = 5000,     /* for the steps up to execve(2); they wait for nothing but the disk */
    KILL_MS = 5000,      /* from SIGTERM to SIGKILL */
    STOP_TERM_MS = 1000, /* the time before that is at least this, and this when ehlock stops */
    STOP_KILL_MS = 2000,
    SPARE_FDS = 64,
    FDS_PER_REQUEST = 2,
    PARTING_MS = 200, /* the master's end, should it be that, is heard of within */
};

enum phase {
    PHASE_SERVED, /* its session goes on */
    PHASE_OVER,   /* its session is over: SIGTERM is due */
    PHASE_TOLD,   /* it got SIGTERM: SIGKILL is due */
    PHASE_KILLED,
};

struct running {
    pid_t pid; /* also its process group */
    const struct spawner_service *service;
    int line_fd; /* -1: the session is over */
    enum phase phase;
    int64_t since, due; /* wire_now(); due in PHASE_OVER and PHASE_TOLD */
    char client[64];
};

/* What becomes of a service. */
struct desk {
    size_t programs;
    bool closed; /* nobody is left who could ask */
};

struct spawner {
    const struct spawner_service *services;
    size_t n_services;
    struct desk *desks; /* one for each */
    struct running *programs;
    size_t n_programs;
    struct pollfd *fds; /* stop, signals, services, programs */
    int stop_fd;        /* -1: we are to stop */
    bool patient;       /* the stop is the end of the only session: nobody waits for us */
    int signal_fd;
    struct rlimit files; /* as we were given it, for the programs */
};

/* Where in `fds`. */
enum { AT_STOP, AT_SIGNALS, AT_SERVICES };

/* ---- the child ---- */

/* What a child tells before it becomes the program; `step` is the same text on both sides. */
struct failure {
    const char *step;
    int error;
};

static void reset_signals(void)
{
    sigset_t none;
    for (int n = 1; n < NSIG; n++)
        (void)signal(n, SIG_DFL); /* those that cannot be changed are default anyway */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Descriptors 0 and 1 are the session, 2 is nothing; all others close by themselves. Who tells a
 * token is asked nothing. */
static bool arrange_descriptors(int program_fd, enum program_purpose purpose)
{
    int nothing_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int input_fd = purpose == PROGRAM_TOKEN ? nothing_fd : program_fd;
    return nothing_fd >= 0 && fcntl(program_fd, F_SETFL, 0) == 0 &&
           dup2(input_fd, STDIN_FILENO) >= 0 && dup2(program_fd, STDOUT_FILENO) >= 0 &&
           dup2(nothing_fd, STDERR_FILENO) >= 0;
}

_Noreturn static void become_program(const struct spawner *s, const struct program *program,
                                     const struct session_facts *facts, int program_fd,
                                     int status_fd)
{
    struct failure f = {.step = "preparing it"};
    reset_signals();
    umask(program->purpose == PROGRAM_TOKEN ? 077 : 022); /* it may keep tokens in files */
    if (setsid() >= 0 && chdir("/") == 0 && setrlimit(RLIMIT_NOFILE, &s->files) == 0 &&
        arrange_descriptors(program_fd, program->purpose))
        f.step = program_become(program, facts);
    f.error = errno;
    if (write(status_fd, &f, sizeof f) < 0)
        _exit(126);
    _exit(127);
}

/* ---- taking requests ---- */

struct asked {
    struct spawn_request request;
    int program_fd, line_fd; /* -1: none */
};

static void close_asked(struct asked *a)
{
    if (a->program_fd >= 0)
        close(a->program_fd);
    if (a->line_fd >= 0)
        close(a->line_fd);
}

/* A program trusts the far end of a TCP connection for what it is, so it is never given one that
 * a worker has made. */
static bool is_unix_socket(int fd, int type)
{
    int domain = -1, found = -1;
    socklen_t len = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &found, &len) == 0 && found == type;
}

/* The first descriptors of the message; more than those are closed. Returns how many came. */
static size_t take_descriptors(struct msghdr *msg, int *fds, size_t max)
{
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (n < max)
                fds[n] = fd;
            else
                close(fd);
            n++;
        }
    }
    return n;
}

static const char *find_fault(const struct spawner_service *service, const struct asked *a,
                              size_t len, size_t n_fds, int flags)
{
    if (len != sizeof a->request || n_fds != FDS_PER_REQUEST || (flags & (MSG_TRUNC | MSG_CTRUNC)))
        return "its size or the number of its descriptors";
    if (a->request.type != SPAWN_PROGRAM)
        return "its type";
    if (!is_unix_socket(a->program_fd, SOCK_STREAM) || !is_unix_socket(a->line_fd, SOCK_SEQPACKET))
        return "the kind of its descriptors";
    if (a->request.facts.relay != 0 && !service->may_relay)
        return "that the client may relay";
    return session_facts_wrong(&a->request.facts);
}

/* The other end is closed, or says nothing any more. */
static bool ends_within(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, ms) > 0;
}

static bool has_ended(int fd)
{
    return ends_within(fd, 0);
}

/* False: none was there. Otherwise `fault` says what is wrong with it, or is NULL; the descriptors
 * are the caller's to close. */
static bool take_request(const struct spawner_service *service, struct asked *a, const char **fault)
{
    int fds[FDS_PER_REQUEST] = {-1, -1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * 2 * FDS_PER_REQUEST)];
    } control;
    struct iovec iov = {.iov_base = &a->request, .iov_len = sizeof a->request};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    int fd = service->request_fd;
    ssize_t len = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (len < 0 || (len == 0 && has_ended(fd)))
        return false;
    size_t n = take_descriptors(&msg, fds, FDS_PER_REQUEST);
    a->program_fd = fds[0];
    a->line_fd = fds[1];
    *fault = find_fault(service, a, (size_t)len, n, msg.msg_flags);
    return true;
}

/* ---- starting ---- */

static void print_client(const struct session_facts *f, char *out, size_t size)
{
    bool v6 = strchr(f->remote_ip, ':') != NULL;
    if (f->remote_ip[0] == '\0')
        snprintf(out, size, "unix");
    else
        snprintf(out, size, v6 ? "[%s]:%s" : "%s:%s", f->remote_ip, f->remote_port);
}

/* Waits until the child is the program, which closes the pipe. False: it has said why not. */
static bool wait_started(int status_fd, struct failure *f)
{
    struct pollfd p = {.fd = status_fd, .events = POLLIN};
    if (poll(&p, 1, START_MS) <= 0)
        return true; /* late, but who knows */
    return read(status_fd, f, sizeof *f) != sizeof *f;
}

/* Its process number; or -1, and `f` says what went wrong. */
static pid_t start(const struct spawner *s, const struct program *program, const struct asked *a,
                   struct failure *f)
{
    int status[2];
    *f = (struct failure){.step = "pipe"};
    if (pipe2(status, O_CLOEXEC) != 0) {
        f->error = errno;
        return -1;
    }
    pid_t pid = fork();
    if (pid == 0)
        become_program(s, program, &a->request.facts, a->program_fd, status[1]);
    f->step = "fork";
    f->error = errno;
    close(status[1]);
    if (pid > 0 && !wait_started(status[0], f)) {
        waitpid(pid, NULL, 0);
        pid = -1;
    }
    close(status[0]);
    return pid;
}

static void answer(int line_fd, int error)
{
    const struct spawn_answer answer = {.error = error};
    (void)send(line_fd, &answer, sizeof answer, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Takes over the line, unless there is no program. */
static void serve_request(struct spawner *s, size_t number, struct asked *a)
{
    const struct spawner_service *service = &s->services[number];
    struct running r = {.service = service, .line_fd = a->line_fd, .since = wire_now()};
    struct failure f;
    print_client(&a->request.facts, r.client, sizeof r.client);
    if (has_ended(a->line_fd))
        return; /* it waited too long */
    r.pid = start(s, service->program, a, &f);
    answer(a->line_fd, r.pid > 0 ? 0 : f.error);
    if (r.pid < 0) {
        log_error("service=%s client=%s the program could not be started: %s: %s", service->name,
                  r.client, f.step, strerror(f.error));
        return;
    }
    log_debug("service=%s client=%s pid=%d started %s", service->name, r.client, (int)r.pid,
              service->program->path);
    a->line_fd = -1;
    s->desks[number].programs++;
    s->programs[s->n_programs++] = r;
}

/* Nobody can ask any more: we are to end, or a worker has shut the socket for all. */
static void close_desk(struct spawner *s, size_t number)
{
    s->desks[number].closed = true;
    if (s->stop_fd >= 0 && !ends_within(s->stop_fd, PARTING_MS))
        log_error(
            "service=%s a worker has gone astray and has shut the way to the program: none is "
            "started until the configuration is read again",
            s->services[number].name);
}

/* As many as are there and may be. Those above the limit wait in the socket. */
static void serve_requests(struct spawner *s, size_t number)
{
    const struct spawner_service *service = &s->services[number];
    for (int i = 0; i < BURST && s->desks[number].programs < service->limit; i++) {
        struct asked a;
        const char *fault;
        if (!take_request(service, &a, &fault)) {
            if (has_ended(service->request_fd))
                close_desk(s, number);
            return;
        }
        if (fault != NULL)
            log_error("service=%s a request for a program was refused, %s is wrong: a worker has "
                      "gone astray",
                      service->name, fault);
        else
            serve_request(s, number, &a);
        close_asked(&a);
    }
}

/* ---- ending ---- */

static void signal_program(const struct running *r, int signal)
{
    if (kill(-r->pid, signal) != 0)
        (void)kill(r->pid, signal);
}

/* Everything is to end, and soon. Who is patient may hear of that and of the end of a session in
 * any order: both come with the end of one process. */
static bool is_in_a_hurry(const struct spawner *s)
{
    return s->stop_fd < 0 && !s->patient;
}

static void session_over(const struct spawner *s, struct running *r)
{
    int64_t wait = (int64_t)r->service->end_seconds * 1000;
    if (is_in_a_hurry(s) || wait < STOP_TERM_MS)
        wait = STOP_TERM_MS;
    close(r->line_fd);
    r->line_fd = -1;
    r->phase = PHASE_OVER;
    r->due = wire_now() + wait;
}

static void press(const struct spawner *s, struct running *r)
{
    switch (r->phase) {
    case PHASE_OVER:
        signal_program(r, SIGTERM);
        r->phase = PHASE_TOLD;
        r->due = wire_now() + (is_in_a_hurry(s) ? STOP_KILL_MS : KILL_MS);
        return;
    case PHASE_TOLD:
        signal_program(r, SIGKILL);
        r->phase = PHASE_KILLED;
        return;
    case PHASE_SERVED:
    case PHASE_KILLED:
        return;
    }
}

static bool is_due(const struct running *r)
{
    return (r->phase == PHASE_OVER || r->phase == PHASE_TOLD) && r->due <= wire_now();
}

/* From here on there is nothing new, and everything goes faster. */
static void stop(struct spawner *s)
{
    s->stop_fd = -1;
    for (size_t i = 0; !s->patient && i < s->n_programs; i++) {
        struct running *r = &s->programs[i];
        int64_t latest = wire_now() + (r->phase == PHASE_OVER ? STOP_TERM_MS : STOP_KILL_MS);
        if (r->due > latest)
            r->due = latest;
    }
}

static void tell_end(const struct running *r, const siginfo_t *how)
{
    int64_t ms = wire_now() - r->since;
    const char *why = r->phase == PHASE_TOLD || r->phase == PHASE_KILLED
                          ? ", because it did not end with its session"
                          : "";
    char head[256];
    snprintf(head, sizeof head, "service=%s client=%s pid=%d seconds=%lld.%03lld", r->service->name,
             r->client, (int)r->pid, (long long)(ms / 1000), (long long)(ms % 1000));
    if (how->si_code != CLD_EXITED)
        log_warn("%s the program was ended by signal %d (%s)%s", head, how->si_status,
                 strsignal(how->si_status), why);
    else if (how->si_status != 0 || why[0] != '\0')
        log_notice("%s the program ended with status %d%s", head, how->si_status,
                   why[0] != '\0' ? " when it was told to" : "");
    else
        log_info("%s the program ended with status 0", head);
}

/* The worker waits for it, if it is still there. */
static void tell_worker(const struct running *r, const siginfo_t *how)
{
    bool by_itself = how->si_code == CLD_EXITED;
    const struct spawn_ending ending = {.status = by_itself ? how->si_status : -1,
                                        .signal = by_itself ? 0 : how->si_status};
    if (r->line_fd >= 0 && r->service->program->purpose == PROGRAM_TOKEN)
        (void)send(r->line_fd, &ending, sizeof ending, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void bury(struct spawner *s, struct running *r, const siginfo_t *how)
{
    tell_end(r, how);
    tell_worker(r, how);
    /* While it is not yet reaped, the number of its group cannot be anybody else's. */
    if (r->phase == PHASE_TOLD || r->phase == PHASE_KILLED)
        (void)kill(-r->pid, SIGKILL);
    if (r->line_fd >= 0)
        close(r->line_fd);
    s->desks[r->service - s->services].programs--;
    *r = s->programs[--s->n_programs];
}

static void reap(struct spawner *s)
{
    for (;;) {
        siginfo_t how = {0};
        if (waitid(P_ALL, 0, &how, WEXITED | WNOHANG | WNOWAIT) != 0 || how.si_pid == 0)
            return;
        for (size_t i = 0; i < s->n_programs; i++) {
            if (s->programs[i].pid == how.si_pid) {
                bury(s, &s->programs[i], &how);
                break;
            }
        }
        waitpid(how.si_pid, NULL, 0);
    }
}

static void take_signals(struct spawner *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == sizeof info)
        if (info.ssi_signo == SIGUSR1 && log_reopen() != 0)
            log_error_errno("the spawner cannot open the log file again");
    (void)log_follow_syslog(); /* the master has seen a new one, perhaps */
    reap(s);                   /* several deaths can be one signal */
}

/* ---- the round ---- */

/* Milliseconds until something is due, -1: nothing is. */
static int time_left(const struct spawner *s)
{
    int64_t least = -1, now = wire_now();
    for (size_t i = 0; i < s->n_programs; i++) {
        const struct running *r = &s->programs[i];
        if (r->phase != PHASE_OVER && r->phase != PHASE_TOLD)
            continue;
        int64_t left = r->due > now ? r->due - now : 0;
        if (least < 0 || left < least)
            least = left;
    }
    return (int)least;
}

static size_t set_fds(struct spawner *s)
{
    size_t n = AT_SERVICES;
    s->fds[AT_STOP] = (struct pollfd){.fd = s->stop_fd, .events = POLLIN};
    s->fds[AT_SIGNALS] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
    for (size_t i = 0; i < s->n_services; i++, n++) {
        bool shut = s->desks[i].closed || s->desks[i].programs >= s->services[i].limit;
        s->fds[n] = (struct pollfd){.fd = shut ? -1 : s->services[i].request_fd, .events = POLLIN};
    }
    for (size_t i = 0; i < s->n_programs; i++, n++)
        s->fds[n] = (struct pollfd){.fd = s->programs[i].line_fd}; /* its end only */
    return n;
}

/* Ends come before beginnings, so that those who wait get the places. */
static void round_once(struct spawner *s)
{
    size_t n_programs = s->n_programs;
    if (poll(s->fds, set_fds(s), time_left(s)) < 0)
        return;
    if (s->fds[AT_STOP].revents != 0)
        stop(s);
    for (size_t i = 0; i < n_programs; i++)
        if (s->fds[AT_SERVICES + s->n_services + i].revents != 0)
            session_over(s, &s->programs[i]);
    for (size_t i = 0; i < n_programs; i++)
        if (is_due(&s->programs[i]))
            press(s, &s->programs[i]);
    if (s->fds[AT_SIGNALS].revents != 0)
        take_signals(s);
    for (size_t i = 0; i < s->n_services; i++)
        if (s->fds[AT_SERVICES + i].revents != 0)
            serve_requests(s, i);
}

static bool set_signals(struct spawner *s)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGPIPE};
    sigset_t wanted;
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGUSR1);
    if (sigprocmask(SIG_SETMASK, &wanted, NULL) != 0)
        return false;
    s->signal_fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd >= 0;
}

static void close_others(const struct spawner *s)
{
    int *keep = memory_alloc((s->n_services + 3) * sizeof *keep);
    size_t n = 0;
    for (size_t i = 0; i < s->n_services; i++)
        keep[n++] = s->services[i].request_fd;
    keep[n++] = s->stop_fd;
    keep[n++] = log_fd();
    keep[n++] = log_syslog_fd();
    jail_close_others(keep, n);
    free(keep);
}

/* A line for each program. */
static bool raise_limit(struct spawner *s, size_t programs)
{
    rlim_t need = SPARE_FDS + s->n_services + programs;
    if (getrlimit(RLIMIT_NOFILE, &s->files) != 0)
        return false;
    if (s->files.rlim_cur >= need)
        return true;
    const struct rlimit more = {.rlim_cur = need,
                                .rlim_max = s->files.rlim_max > need ? s->files.rlim_max : need};
    const struct rlimit most = {.rlim_cur = s->files.rlim_max, .rlim_max = s->files.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &more) == 0 || setrlimit(RLIMIT_NOFILE, &most) == 0;
}

void spawner_serve(const struct spawner_service *services, size_t n, int stop_fd, bool patient)
{
    struct spawner s = {
        .services = services, .n_services = n, .stop_fd = stop_fd, .patient = patient};
    size_t programs = 0;
    for (size_t i = 0; i < n; i++)
        programs += services[i].limit;
    close_others(&s);
    if (!set_signals(&s) || !raise_limit(&s, programs)) {
        log_error_errno("the spawner does not serve");
        return;
    }
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        log_warn("no_new_privs is set (NoNewPrivileges= in the unit?): set-uid and set-gid "
                 "programs, such as Postfix' postdrop, will not work");
    s.desks = memory_alloc(n * sizeof *s.desks);
    memset(s.desks, 0, n * sizeof *s.desks);
    s.programs = memory_alloc(programs * sizeof *s.programs);
    s.fds = memory_alloc((AT_SERVICES + n + programs) * sizeof *s.fds);
    while (s.stop_fd >= 0 || s.n_programs > 0)
        round_once(&s);
    free(s.desks);
    free(s.programs);
    free(s.fds);
    close(s.signal_fd);
}
