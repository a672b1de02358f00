/* SPDX-License-Identifier: ISC */
#include "proxy/master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "certs/keeper.h"
#include "certs/remotekey.h"
#include "certs/tickets.h"
#include "protocols/memory.h"
#include "proxy/jail.h"
#include "proxy/log.h"
#include "proxy/notify.h"
#include "proxy/pool.h"
#include "proxy/title.h"
#include "proxy/worker.h"

enum {
    REPORT_SECONDS = 30,   /* for the keeper to load all keys */
    TICK_MS = 1000,        /* the master looks after everything at least this often */
    AT_ONCE_MS = 500,      /* a worker that fails sooner after its fork ... */
    BACKOFF_MAX_MS = 8000, /* ... slows forking down, to this at the most */
    GOODBYE_MS = 3000,     /* for sessions that were told to end */
    SPARE_FDS = 128,       /* descriptors of a worker beyond one for each worker there may be */
    RESIGNAL_MS = 100,     /* a signal can come just before accept(2): it is sent again */
    EXPIRY_WARNING_DAYS = 14,
    STOP_SECONDS = 10, /* that stopping may take beyond TIMEOUTdrain */
};

/* What the master knows of a worker. */
struct child {
    pid_t pid; /* 0: none */
    int slot;
    struct pool *pool;
    int64_t born;
};

struct master {
    struct config *config;
    struct jail jail;
    bool background;            /* a daemon, which leaves terminal and directory */
    struct activation *sockets; /* to listen on, from a service manager */
    struct notify notify;       /* ... which may want to know how we are */
    struct pool *pools;
    size_t n_pools;
    struct child *children; /* as many as all pools may have */
    size_t n_children;      /* places up to the last one in use */
    size_t max_children;
    struct ticket_key ticket_key;
    int64_t ticket_born;
    pid_t keeper;       /* 0: none */
    int keeper_stop_fd; /* closed, it ends the keeper */
    int64_t keeper_not_before;
    int notify_fd, signal_fd;
    int cancel_fds[2]; /* [1] closed, all sessions end */
};

static int64_t now(void)
{
    return wire_now();
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- the keeper ---- */

/* The sources of a service: its own, then those of its sni sections. */
static size_t collect_sources(const struct config *c, const struct service *s,
                              struct key_source *out, const char **patterns)
{
    size_t n = 0;
    for (size_t k = 0; k < c->n_services + 1; k++) {
        const struct service *from = k == 0 ? s : &c->services[k - 1];
        if (k > 0 && from->sni_service != s)
            continue;
        for (size_t i = 0; i < from->cert.count; i++, n++) {
            if (out == NULL)
                continue;
            out[n] = (struct key_source){
                .cert_file = from->cert.items[i].text,
                .key_file = i < from->key.count ? from->key.items[i].text : NULL,
                .ocsp_file = i < from->ocsp_staple.count ? from->ocsp_staple.items[i].text : NULL,
                .cert_where = from->cert.items[i].where,
                .key_where =
                    i < from->key.count ? from->key.items[i].where : from->cert.items[i].where,
                .ocsp_where =
                    i < from->ocsp_staple.count ? from->ocsp_staple.items[i].where : NULL};
            patterns[n] = from->sni_pattern;
        }
    }
    return n;
}

static void log_refused(const char *sentence)
{
    log_error("keeper: %s was refused: a worker has gone astray", sentence);
}

static void default_signals(void)
{
    sigset_t none;
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], signals[i] == SIGTERM ? SIG_DFL : SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Nothing of the terminal and the directory we were started from goes into the workers. */
static void detach(bool background)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (background) {
        log_leave_stderr();
        if (chdir("/") != 0)
            log_warn_errno("chdir");
    }
    for (int i = STDIN_FILENO; fd >= 0 && i <= (background ? STDERR_FILENO : STDOUT_FILENO); i++)
        dup2(fd, i);
    if (fd > STDERR_FILENO)
        close(fd);
}

_Noreturn static void keeper_main(struct master *m, const struct key_group *groups, int report_fd,
                                  int stop_fd)
{
    title_set("keeper");
    default_signals();
    prctl(PR_SET_DUMPABLE, 0); /* no debugger, no core: this memory has the keys */
    struct keeper *k = keeper_load(groups, m->n_pools, report_fd);
    if (k == NULL)
        _exit(EX_CONFIG);
    detach(m->background);

    int *keep = memory_alloc((m->n_pools + 3) * sizeof *keep);
    size_t n = 0;
    for (size_t i = 0; i < m->n_pools; i++)
        keep[n++] = groups[i].request_fd;
    keep[n++] = stop_fd;
    keep[n++] = log_fd();
    keep[n++] = log_syslog_fd();
    const char *failed = jail_enter(&m->jail, keep, n, true, 64 + (unsigned)m->n_pools);
    free(keep);
    if (failed != NULL) {
        log_error_errno("the keeper could not be jailed and does not serve: %s", failed);
        _exit(WORKER_EXIT_JAIL);
    }
    keeper_serve(k, stop_fd, log_refused);
    keeper_destroy(k);
    _exit(0);
}

/* A keeper that was forked and whose report is still to be read; one of each a pool. */
struct loading {
    struct key_group *groups;
    const char ***patterns;
    struct keeper_door *doors;
    int report_fd;
};

static void prepare_loading(struct master *m, struct loading *l)
{
    *l = (struct loading){.groups = memory_alloc(m->n_pools * sizeof *l->groups),
                          .patterns = memory_alloc(m->n_pools * sizeof *l->patterns),
                          .doors = memory_alloc(m->n_pools * sizeof *l->doors),
                          .report_fd = -1};
    for (size_t i = 0; i < m->n_pools; i++) {
        struct pool *p = &m->pools[i];
        size_t n = collect_sources(m->config, p->service, NULL, NULL);
        struct key_source *sources = memory_alloc((n + 1) * sizeof *sources);
        l->patterns[i] = memory_alloc((n + 1) * sizeof **l->patterns);
        collect_sources(m->config, p->service, sources, l->patterns[i]);
        l->groups[i] =
            (struct key_group){.sources = sources, .count = n, .request_fd = p->request_fds[1]};
        l->doors[i] = (struct keeper_door){.request_fd = p->request_fds[0],
                                           .seconds = (unsigned)p->service->timeout_handshake};
    }
}

static void finish_loading(struct master *m, struct loading *l)
{
    for (size_t i = 0; i < m->n_pools; i++) {
        free((void *)l->groups[i].sources);
        free(l->patterns[i]);
    }
    free(l->groups);
    free(l->patterns);
    free(l->doors);
    close_fd(&l->report_fd);
}

static bool fork_keeper(struct master *m, struct loading *l, char *error, size_t size)
{
    int report[2] = {-1, -1}, stop[2] = {-1, -1};
    if (pipe2(report, O_CLOEXEC) != 0 || pipe2(stop, O_CLOEXEC) != 0) {
        snprintf(error, size, "pipe: %s", strerror(errno));
        close_fd(&report[0]);
        close_fd(&report[1]);
        return false;
    }
    m->keeper = fork();
    if (m->keeper == 0) {
        close(report[0]);
        close(stop[1]);
        keeper_main(m, l->groups, report[1], stop[0]);
    }
    bool ok = m->keeper > 0;
    if (!ok) {
        m->keeper = 0;
        snprintf(error, size, "fork: %s", strerror(errno));
        close_fd(&stop[1]);
    }
    close_fd(&report[1]);
    close_fd(&stop[0]);
    close_fd(&m->keeper_stop_fd);
    m->keeper_stop_fd = stop[1];
    l->report_fd = report[0];
    return ok;
}

/* On success the pools have new certificates. */
static bool read_report(struct master *m, const struct loading *l, char *error, size_t size)
{
    struct creds **creds = memory_alloc(m->n_pools * sizeof(struct creds *));
    bool ok =
        creds_read_report(l->report_fd, l->doors, m->n_pools, creds, REPORT_SECONDS, error, size);
    for (size_t i = 0; ok && i < m->n_pools; i++) {
        for (size_t n = 0; n < l->groups[i].count; n++)
            if (l->patterns[i][n] != NULL)
                creds_set_pattern(creds[i], n, l->patterns[i][n]);
        creds_destroy(m->pools[i].creds);
        m->pools[i].creds = creds[i];
        atomic_store(&m->pools[i].stats->keys_ready, true);
    }
    free(creds);
    return ok;
}

/* Forks a keeper and reads what it reports. */
static bool start_keeper(struct master *m, char *error, size_t size)
{
    struct loading l;
    prepare_loading(m, &l);
    bool ok = fork_keeper(m, &l, error, size) && read_report(m, &l, error, size);
    finish_loading(m, &l);
    return ok;
}

static void stop_keeper(struct master *m)
{
    close_fd(&m->keeper_stop_fd);
    if (m->keeper > 0)
        waitpid(m->keeper, NULL, 0);
    m->keeper = 0;
}

/* ---- TLS of the services ---- */

static bool make_tls_of(struct master *m, struct pool *p, char *error, size_t size)
{
    char reason[256];
    const struct tls_params params = {
        .priority = p->service->priority,
        .alpn = p->service->protocol != NULL ? p->service->protocol->alpn : NULL,
        .creds = p->creds,
        /* a ticket of a process that serves one session is of no use to anybody */
        .ticket_key =
            p->service->session_resume && m->config->only == NULL ? &m->ticket_key : NULL};
    struct tls_setup *tls = tls_setup_create(&params, reason, sizeof reason);
    if (tls == NULL) {
        snprintf(error, size, "%s: priority: %s", config_where(m->config, p->service, "priority"),
                 reason);
        return false;
    }
    tls_setup_destroy(p->tls);
    p->tls = tls;
    return true;
}

static bool make_tls(struct master *m, char *error, size_t size)
{
    for (size_t i = 0; i < m->n_pools; i++)
        if (creds_count(m->pools[i].creds) > 0 && !make_tls_of(m, &m->pools[i], error, size))
            return false;
    return true;
}

static void report_certificates(const struct master *m)
{
    for (size_t i = 0; i < m->n_pools; i++) {
        const struct pool *p = &m->pools[i];
        for (size_t n = 0; n < creds_count(p->creds); n++) {
            char name[256];
            const char *algorithm;
            time_t end;
            creds_describe(p->creds, n, name, sizeof name, &algorithm, &end);
            long days = (long)((end - time(NULL)) / 86400);
            if (end < time(NULL))
                log_error("service=%s the certificate for %s (%s) has expired", p->service->name,
                          name, algorithm);
            else if (days < EXPIRY_WARNING_DAYS)
                log_warn("service=%s the certificate for %s (%s) expires in %ld days",
                         p->service->name, name, algorithm, days);
            else
                log_info("service=%s certificate for %s (%s), %ld days left", p->service->name,
                         name, algorithm, days);
        }
    }
}

/* ---- setting up and taking down ---- */

static struct policy policy_of(const struct config *c, const struct service *s)
{
    return (struct policy){.tls_level = (enum tls_level)s->tls_level,
                           .auth_before_tls = s->auth_before_tls,
                           .bare_newline = (enum bare_newline)s->bare_newline,
                           .hide = s->hide,
                           .hostname = c->hostname,
                           .max_command = (size_t)s->max_command_length,
                           .max_reply = (size_t)s->max_reply_size,
                           .max_useless = (unsigned)s->max_useless_commands,
                           .idle_seconds = (unsigned)s->timeout_idle,
                           .busy_seconds = (unsigned)s->timeout_busy};
}

static size_t most_workers(const struct service *s)
{
    return (size_t)s->max_connections + (size_t)s->spare_workers;
}

static bool make_pool(struct master *m, const struct service *s, char *error, size_t size)
{
    struct pool *p = &m->pools[m->n_pools++];
    *p = (struct pool){.service = s,
                       .policy = policy_of(m->config, s),
                       .listeners.epoll_fd = -1,
                       .request_fds = {-1, -1},
                       .notify_fd = m->notify_fd,
                       .cancel_fd = m->cancel_fds[0]};
    m->max_children += most_workers(s);
    if (!backends_resolve(&p->backends, s, error, size))
        return false;
    p->stats = stats_create(most_workers(s));
    if (p->stats == NULL ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p->request_fds) != 0) {
        snprintf(error, size, "[%s]: %s", s->name, strerror(errno));
        return false;
    }
    return true;
}

static bool prepare_jail(struct master *m, char *error, size_t size)
{
    const struct config *c = m->config;
    char reason[256];
    const char *wrong = jail_prepare(&m->jail, c->setuid_name, c->setgid_name, c->chroot_dir,
                                     reason, sizeof reason);
    if (wrong != NULL)
        snprintf(error, size, "%s: %s: %s", config_where(c, NULL, wrong), wrong, reason);
    return wrong == NULL;
}

/* Everything up to the keys. */
static bool prepare(struct master *m, struct config *c, bool background, char *error, size_t size)
{
    *m = (struct master){.config = c,
                         .background = background,
                         .keeper_stop_fd = -1,
                         .notify_fd = -1,
                         .notify.fd = -1,
                         .signal_fd = -1,
                         .cancel_fds = {-1, -1}};
    m->pools = memory_alloc(c->n_services * sizeof *m->pools);
    m->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->notify_fd < 0 || pipe2(m->cancel_fds, O_CLOEXEC) != 0) {
        snprintf(error, size, "%s", strerror(errno));
        return false;
    }
    if (!tls_global_init(error, size) || !prepare_jail(m, error, size))
        return false;
    if (c->only == NULL && ticket_key_make(&m->ticket_key) != 0) {
        snprintf(error, size, "no random numbers for the ticket key");
        return false;
    }
    m->ticket_born = now();
    for (size_t i = 0; i < c->n_services; i++)
        if (c->services[i].sni == NULL && (c->only == NULL || c->only == &c->services[i]) &&
            !make_pool(m, &c->services[i], error, size))
            return false;
    for (size_t i = 0; i < m->n_pools; i++)
        m->pools[i].max_fds = SPARE_FDS + (unsigned)m->max_children;
    m->children = memory_alloc((m->max_children + 1) * sizeof *m->children);
    return true;
}

static bool load_keys(struct master *m, char *error, size_t size)
{
    return start_keeper(m, error, size) && make_tls(m, error, size);
}

static void take_down(struct master *m)
{
    stop_keeper(m);
    for (size_t i = 0; i < m->n_pools; i++) {
        struct pool *p = &m->pools[i];
        listeners_close(&p->listeners, true);
        tls_setup_destroy(p->tls);
        creds_destroy(p->creds);
        stats_destroy(p->stats);
        close_fd(&p->request_fds[0]);
        close_fd(&p->request_fds[1]);
    }
    notify_close(&m->notify);
    close_fd(&m->notify_fd);
    close_fd(&m->signal_fd);
    close_fd(&m->cancel_fds[0]);
    close_fd(&m->cancel_fds[1]);
    close_fd(&m->jail.root_fd);
    free(m->pools);
    free(m->children);
}

bool master_check(struct config *c)
{
    struct master m;
    char error[1024];
    bool ok = prepare(&m, c, false, error, sizeof error) && load_keys(&m, error, sizeof error);
    if (!ok)
        config_error(c, NULL, "%s", error);
    take_down(&m);
    return ok;
}

/* ---- workers ---- */

static struct child *free_place(struct master *m)
{
    for (size_t i = 0; i < m->n_children; i++)
        if (m->children[i].pid == 0)
            return &m->children[i];
    return m->n_children < m->max_children ? &m->children[m->n_children++] : NULL;
}

static bool fork_worker(struct master *m, struct pool *p)
{
    pid_t self = getpid();
    int slot = stats_take_slot(p->stats);
    struct child *c = slot >= 0 ? free_place(m) : NULL;
    if (c == NULL)
        return false;
    pid_t pid = fork();
    if (pid == 0)
        worker_main(p, slot, &m->jail, self);
    if (pid < 0) {
        log_error_errno("service=%s fork", p->service->name);
        stats_worker_dead(p->stats, slot);
        p->not_before = now() + TICK_MS;
        return false;
    }
    p->stats->slots[slot].pid = pid;
    *c = (struct child){.pid = pid, .slot = slot, .pool = p, .born = now()};
    p->live++;
    return true;
}

/* Several forks in a row disturb one session in a few, instead of each one a little: nothing is
 * done while more than half of the spare workers are there, unless there is nothing else to do. */
static void keep_spares(struct master *m, struct pool *p, bool calm)
{
    unsigned spare = (unsigned)p->service->spare_workers;
    if (!calm && atomic_load(&p->stats->idle) > spare / 2)
        return;
    while (atomic_load(&p->stats->idle) < spare && p->live < most_workers(p->service) &&
           now() >= p->not_before)
        if (!fork_worker(m, p))
            return;
}

/* A worker that fails at once would be replaced at once, for ever. */
static void slow_down(struct pool *p, const struct child *c, bool failed)
{
    if (!failed || now() - c->born > AT_ONCE_MS) {
        p->failures = 0;
        return;
    }
    int64_t pause = 100LL << (p->failures < 7 ? p->failures : 7);
    p->failures++;
    if (p->failures < 3)
        return;
    p->not_before = now() + (pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS);
    log_error("service=%s workers fail at once: the next is started in %lld ms", p->service->name,
              (long long)(pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS));
}

static void bury(struct child *c, int status)
{
    struct pool *p = c->pool;
    bool crashed = WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM;
    bool failed = crashed || (WIFEXITED(status) && WEXITSTATUS(status) != 0);
    const char *peer = p->stats->slots[c->slot].peer;
    if (crashed)
        log_error("service=%s client=%s worker %d was killed by signal %d (%s)", p->service->name,
                  peer[0] != '\0' ? peer : "-", (int)c->pid, WTERMSIG(status),
                  strsignal(WTERMSIG(status)));
    else if (failed)
        log_error("service=%s worker %d ended with status %d", p->service->name, (int)c->pid,
                  WEXITSTATUS(status));
    slow_down(p, c, failed);
    stats_worker_dead(p->stats, c->slot);
    p->live--;
    c->pid = 0;
}

/* True when the keeper was among the dead. */
static bool reap(struct master *m)
{
    bool keeper_died = false;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == m->keeper) {
            m->keeper = 0;
            keeper_died = true;
            continue;
        }
        for (size_t i = 0; i < m->n_children; i++)
            if (m->children[i].pid == pid)
                bury(&m->children[i], status);
        while (m->n_children > 0 && m->children[m->n_children - 1].pid == 0)
            m->n_children--;
    }
    return keeper_died;
}

static void signal_workers(const struct master *m, bool only_idle, int signal)
{
    for (size_t i = 0; i < m->n_children; i++) {
        const struct child *c = &m->children[i];
        if (c->pid > 0 &&
            (!only_idle || atomic_load(&c->pool->stats->slots[c->slot].state) == SLOT_IDLE))
            kill(c->pid, signal);
    }
}

/* ---- running ---- */

/* The keys are read again; if they are not what they were, the workers that wait know the old
 * certificates and are replaced. */
static void replace_keeper(struct master *m)
{
    char error[1024];
    if (now() < m->keeper_not_before)
        return;
    m->keeper_not_before = now() + TICK_MS;
    log_error("the keeper died: it is started again");
    if (start_keeper(m, error, sizeof error) && make_tls(m, error, sizeof error)) {
        signal_workers(m, true, SIGTERM);
        return;
    }
    log_error("no keeper, so no new TLS sessions: %s", error);
    for (size_t i = 0; i < m->n_pools; i++)
        atomic_store(&m->pools[i].stats->keys_ready, false);
    stop_keeper(m);
}

static void renew_ticket_key(struct master *m)
{
    if (now() - m->ticket_born < (int64_t)TICKET_KEY_SECONDS * 1000)
        return;
    m->ticket_born = now();
    if (ticket_key_make(&m->ticket_key) == 0)
        signal_workers(m, true, SIGTERM);
}

static void list_sessions(const struct master *m)
{
    for (size_t i = 0; i < m->n_pools; i++) {
        const struct pool *p = &m->pools[i];
        log_notice("service=%s idle=%u busy=%u sessions=%llu", p->service->name,
                   atomic_load(&p->stats->idle), atomic_load(&p->stats->busy),
                   (unsigned long long)atomic_load(&p->stats->sessions));
        for (size_t n = 0; n < p->stats->n_slots; n++) {
            const struct slot *s = &p->stats->slots[n];
            if (atomic_load(&s->state) == SLOT_BUSY)
                log_notice("service=%s worker=%d client=%s seconds=%lld", p->service->name,
                           (int)s->pid, s->peer, (long long)((now() - s->since) / 1000));
        }
    }
}

/* Returns the signal that asks to stop, or 0. */
static int take_signal(struct master *m)
{
    struct signalfd_siginfo info;
    if (read(m->signal_fd, &info, sizeof info) != sizeof info)
        return 0;
    switch (info.ssi_signo) {
    case SIGTERM:
    case SIGINT:
        return (int)info.ssi_signo;
    case SIGHUP:
        log_warn("SIGHUP: this version does not reload; restart it to change the configuration");
        return 0;
    case SIGUSR1:
        if (log_reopen() != 0)
            log_error_errno("the log file cannot be opened again");
        return 0;
    case SIGUSR2:
        list_sessions(m);
        return 0;
    default:
        return 0;
    }
}

static void tell_manager(struct master *m)
{
    unsigned sessions = 0;
    for (size_t i = 0; i < m->n_pools; i++)
        sessions += atomic_load(&m->pools[i].stats->busy);
    notify_tick(&m->notify, sessions);
}

/* Waits for something to do, at most `ms`; `calm` tells that there was nothing. Returns a signal
 * that asks to stop, or 0. */
static int wait_for_work(struct master *m, int ms, bool *calm)
{
    uint64_t count;
    struct pollfd fds[2] = {{.fd = m->signal_fd, .events = POLLIN},
                            {.fd = m->notify_fd, .events = POLLIN}};
    tell_manager(m);
    *calm = poll(fds, 2, notify_wait(&m->notify, ms)) <= 0;
    if (*calm)
        return 0;
    if (fds[1].revents != 0 && read(m->notify_fd, &count, sizeof count) < 0)
        return 0;
    return fds[0].revents != 0 ? take_signal(m) : 0;
}

static void serve(struct master *m)
{
    int stop;
    bool calm = true;
    do {
        bool keeper_died = reap(m);
        if (keeper_died || m->keeper == 0)
            replace_keeper(m);
        renew_ticket_key(m);
        for (size_t i = 0; i < m->n_pools; i++)
            keep_spares(m, &m->pools[i], calm);
        stop = wait_for_work(m, TICK_MS, &calm);
    } while (stop == 0);
    log_notice("stopping on %s", strsignal(stop));
}

static unsigned count_live(const struct master *m)
{
    unsigned n = 0;
    for (size_t i = 0; i < m->n_pools; i++)
        n += m->pools[i].live;
    return n;
}

/* Waits for all workers, until the deadline or another signal to stop. */
static bool wait_for_workers(struct master *m, int64_t deadline)
{
    bool calm;
    while (count_live(m) > 0 && now() < deadline) {
        signal_workers(m, true, SIGTERM);
        if (wait_for_work(m, RESIGNAL_MS, &calm) != 0)
            return false;
        (void)reap(m);
    }
    return count_live(m) == 0;
}

/* Sessions may end by themselves for TIMEOUTdrain, then they are told goodbye. */
static void drain(struct master *m)
{
    for (size_t i = 0; i < m->n_pools; i++)
        listeners_close(&m->pools[i].listeners, true);
    signal_workers(m, false, SIGTERM);
    if (wait_for_workers(m, now() + (int64_t)m->config->timeout_drain * 1000))
        return;
    log_notice("%u sessions are told to end", count_live(m));
    close_fd(&m->cancel_fds[1]);
    if (wait_for_workers(m, now() + GOODBYE_MS))
        return;
    signal_workers(m, false, SIGKILL);
    (void)wait_for_workers(m, now() + GOODBYE_MS);
}

static bool block_signals(struct master *m)
{
    static const int wanted[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        sigaddset(&set, wanted[i]);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return m->signal_fd >= 0;
}

static bool bind_all(struct master *m, char *error, size_t size)
{
    if (!listeners_share_out(m->sockets, m->config, error, size))
        return false;
    for (size_t i = 0; i < m->n_pools; i++)
        if (!listeners_open(&m->pools[i].listeners, m->pools[i].service, m->sockets, error, size))
            return false;
    return true;
}

static void announce(const struct master *m)
{
    for (size_t i = 0; i < m->n_pools; i++) {
        const struct pool *p = &m->pools[i];
        for (size_t n = 0; n < p->listeners.count; n++)
            log_notice("service=%s listening on %s for %s", p->service->name,
                       p->listeners.addresses[n].text, p->backends.addresses[0].text);
    }
}

static void tell_ready(int ready_fd)
{
    log_notice("ready, GnuTLS %s", tls_library_version());
    if (ready_fd < 0)
        return;
    if (write(ready_fd, "", 1) < 0)
        log_warn_errno("the starting process is gone");
    close(ready_fd);
}

static bool write_pid(const char *path)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return false;
    fprintf(f, "%d\n", (int)getpid());
    return fclose(f) == 0;
}

int master_run(struct config *c, struct activation *sockets, int ready_fd)
{
    struct master m;
    char error[1024];
    int status = EX_CONFIG;

    title_set("master");
    if (prepare(&m, c, ready_fd >= 0, error, sizeof error) && load_keys(&m, error, sizeof error)) {
        status = EX_OSERR;
        m.sockets = sockets;
        notify_open(&m.notify);
        if (!block_signals(&m))
            snprintf(error, sizeof error, "signals: %s", strerror(errno));
        else if (!bind_all(&m, error, sizeof error))
            ;
        else if (c->pid_file != NULL && !write_pid(c->pid_file))
            snprintf(error, sizeof error, "pid: cannot write %s: %s", c->pid_file, strerror(errno));
        else
            status = 0;
    }
    if (status == 0) {
        report_certificates(&m);
        announce(&m);
        detach(m.background);
        for (size_t i = 0; i < m.n_pools; i++)
            keep_spares(&m, &m.pools[i], true);
        tell_ready(ready_fd);
        notify_ready(&m.notify);
        serve(&m);
        notify_stopping(&m.notify, (unsigned)c->timeout_drain + STOP_SECONDS);
        drain(&m);
        if (c->pid_file != NULL)
            unlink(c->pid_file);
        log_notice("stopped");
    } else {
        log_error("%s", error);
    }
    take_down(&m);
    return status;
}

/* ---- a single session ---- */

/* What it waits for: the report of its keeper. */
struct awaited {
    struct master *master;
    struct loading loading;
    bool failed;
};

static bool await_keys(void *ctx)
{
    struct awaited *a = ctx;
    struct pool *p = &a->master->pools[0];
    char error[1024];
    a->failed = !read_report(a->master, &a->loading, error, sizeof error);
    if (a->failed)
        log_error("%s", error);
    else if (p->tls != NULL)
        tls_setup_use(p->tls, p->creds);
    return !a->failed;
}

/* Two processes load at the same time: the keeper its keys, this one the rest, and it goes on until
 * it needs what the keeper reports. */
static bool begin_loading(struct master *m, struct awaited *a, char *error, size_t size)
{
    struct pool *p = &m->pools[0];
    p->await_keys = await_keys;
    p->await_ctx = a;
    return fork_keeper(m, &a->loading, error, size) &&
           (a->loading.groups[0].count == 0 || make_tls_of(m, p, error, size));
}

int master_serve_oneshot(struct config *c, int *fd, const struct address *client)
{
    struct master m;
    struct awaited awaited = {.master = &m, .failed = true};
    char error[1024];
    title_set("session");
    bool ok = prepare(&m, c, false, error, sizeof error);
    if (ok) {
        prepare_loading(&m, &awaited.loading);
        ok = begin_loading(&m, &awaited, error, sizeof error);
        if (ok) {
            struct pool *p = &m.pools[0];
            const struct oneshot o = {.fd = *fd,
                                      .client = client,
                                      .report_fd = awaited.loading.report_fd,
                                      .stop_fd = m.keeper_stop_fd,
                                      .cancel_fd = m.cancel_fds[1],
                                      .drain_seconds = (unsigned)c->timeout_drain};
            *fd = -1;
            awaited.failed = false;
            worker_serve_oneshot(p, stats_take_slot(p->stats), &m.jail, &o);
        }
        finish_loading(&m, &awaited.loading);
    }
    if (!ok)
        log_error("%s", error);
    take_down(&m);
    return awaited.failed ? EX_CONFIG : 0;
}
