/* SPDX-License-Identifier: ISC
 *
 * Hostile code inside a worker and inside the keeper. The linker puts it in place of session_run
 * and in front of keeper_serve, so everything up to there, the jail above all, is the real
 * program's.
 *
 * A worker is told by its client what to try: a line "ATTACK [NUMBER]"; it answers with a line, if
 * it still can. A keeper is told by the environment variable HOSTILE_KEEPER.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <gnutls/gnutls.h>

#include "certs/keeper.h"
#include "certs/remotekey.h"
#include "proxy/session.h"
#include "proxy/spawner.h"
#include "proxy/token.h"

void __wrap_session_run(struct pool *pool, int fd, const struct address *client,
                        const char *refusal);
void __wrap_keeper_serve(struct keeper *k, int stop_fd, const struct keeper_alarm *alarm);
void __real_keeper_serve(struct keeper *k, int stop_fd, const struct keeper_alarm *alarm);

/* Where the attack happens, and its number. */
struct target {
    int request_fd;          /* to the keeper; -1 inside of it */
    int spawn_fd;            /* to the spawner; -1: there is none */
    const struct pool *pool; /* NULL inside the keeper */
    long number;
};

/* ---- attacks on the system: 0 or more when they succeed, -1 and errno ---- */

static long open_file(const struct target *t)
{
    (void)t;
    return open("/etc/passwd", O_RDONLY);
}

static long open_root(const struct target *t)
{
    (void)t;
    return open("/", O_RDONLY | O_DIRECTORY);
}

static long create_file(const struct target *t)
{
    (void)t;
    return open("/tmp/hostile", O_WRONLY | O_CREAT, 0600);
}

static long run_program(const struct target *t)
{
    char name[] = "/bin/true", *arguments[] = {name, NULL};
    (void)t;
    return execve(arguments[0], arguments, NULL);
}

static long run_shell_by_descriptor(const struct target *t)
{
    char name[] = "sh", *arguments[] = {name, NULL};
    (void)t;
    return syscall(SYS_execveat, 0, "", arguments, NULL, 0x1000 /* AT_EMPTY_PATH */);
}

static struct sockaddr_in loopback(long port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static long connect_elsewhere(const struct target *t)
{
    const struct sockaddr_in to = loopback(t->number);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd < 0 ? -1 : connect(fd, (const struct sockaddr *)&to, sizeof to);
}

/* Landlock does not take it for TCP, and the other side does. */
static long connect_by_mptcp(const struct target *t)
{
    const struct sockaddr_in to = loopback(t->number);
    int fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
    return fd < 0 ? -1 : connect(fd, (const struct sockaddr *)&to, sizeof to);
}

/* Nobody asks Landlock then. */
static long connect_by_sending(const struct target *t)
{
    const struct sockaddr_in to = loopback(t->number);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd < 0 ? -1
                  : sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (const struct sockaddr *)&to,
                           sizeof to);
}

static long connect_by_a_message(const struct target *t)
{
    struct sockaddr_in to = loopback(t->number);
    char byte = 'x';
    struct iovec x = {&byte, 1};
    const struct msghdr msg = {
        .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &x, .msg_iovlen = 1};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd < 0 ? -1 : sendmsg(fd, &msg, MSG_FASTOPEN | MSG_NOSIGNAL);
}

/* From one of these, messages can be sent to whoever has a name. */
static long datagram_pair(const struct target *t)
{
    int pair[2];
    (void)t;
    return socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
}

static long listen_somewhere(const struct target *t)
{
    const struct sockaddr_in at = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)t;
    return fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) != 0 ? -1 : listen(fd, 1);
}

static long other_socket(const struct target *t)
{
    return socket((int)t->number, SOCK_DGRAM, 0);
}

static long kill_process(const struct target *t)
{
    return kill((pid_t)t->number, SIGKILL);
}

static long stop_thread(const struct target *t)
{
    return syscall(SYS_tgkill, t->number, t->number, SIGSTOP);
}

static long trace(const struct target *t)
{
    return ptrace(PTRACE_ATTACH, (pid_t)t->number, NULL, NULL);
}

static long read_memory(const struct target *t)
{
    char here[16];
    struct iovec local = {here, sizeof here}, remote = {(void *)here, sizeof here};
    return process_vm_readv((pid_t)t->number, &local, 1, &remote, 1, 0);
}

static long open_memory(const struct target *t)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/mem", t->number);
    return open(path, O_RDONLY);
}

static long fork_bomb(const struct target *t)
{
    (void)t;
    for (int i = 0; i < 1000; i++)
        if (fork() < 0)
            return -1;
    return 0;
}

static long raise_limit_and_fork(const struct target *t)
{
    const struct rlimit more = {.rlim_cur = 10, .rlim_max = 10};
    (void)t;
    return setrlimit(RLIMIT_NPROC, &more) != 0 ? -1 : fork();
}

static long lift_another_limit(const struct target *t)
{
    const struct rlimit more = {.rlim_cur = 1, .rlim_max = 1};
    (void)t;
    return setrlimit(RLIMIT_CORE, &more);
}

static long new_namespace(const struct target *t)
{
    (void)t;
    return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
}

static long share_memory_with_a_child(const struct target *t)
{
    (void)t;
    return syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
}

static long fork_by_clone3(const struct target *t)
{
    struct clone_args how = {.exit_signal = SIGCHLD};
    (void)t;
    return syscall(SYS_clone3, &how, sizeof how);
}

static long become_root(const struct target *t)
{
    (void)t;
    return setuid(0);
}

static long leave_root_directory(const struct target *t)
{
    (void)t;
    return chroot("..");
}

static long executable_memory(const struct target *t)
{
    (void)t;
    void *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : 0;
}

static long make_executable(const struct target *t)
{
    (void)t;
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static long allow_tracing(const struct target *t)
{
    (void)t;
    return prctl(PR_SET_DUMPABLE, 1);
}

static long catch_the_catcher(const struct target *t)
{
    (void)t;
    return signal(SIGSYS, SIG_IGN) == SIG_ERR ? -1 : 0;
}

/* Succeeds when more can be had than any session needs. */
static long all_memory(const struct target *t)
{
    size_t total = 0;
    (void)t;
    for (; total < (size_t)1 << 30; total += 1 << 20) {
        void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return -1;
        memset(p, 1, 1 << 20);
    }
    return 0;
}

static long all_descriptors(const struct target *t)
{
    (void)t;
    for (int i = 0; i < 100000; i++)
        if (socket(AF_INET, SOCK_STREAM, 0) < 0)
            return -1;
    return 0;
}

/* ---- attacks on the keeper: what it answers, as a line ---- */

static ssize_t send_request(const struct target *t, const struct keeper_request *r,
                            const void *data, size_t len, int answer_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov[2] = {{(void *)r, sizeof *r}, {(void *)data, len}};
    struct msghdr msg = {.msg_iov = iov,
                         .msg_iovlen = 2,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    control.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), &answer_fd, sizeof answer_fd);
    return sendmsg(t->request_fd, &msg, MSG_NOSIGNAL);
}

/* Length of the answer, 0 when there is none. */
static ssize_t ask(const struct target *t, const struct keeper_request *r, const void *data,
                   size_t len)
{
    char answer[4096];
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0)
        return 0;
    ssize_t n = send_request(t, r, data, len, pair[1]);
    close(pair[1]);
    if (n > 0)
        n = recv(pair[0], answer, sizeof answer, 0);
    close(pair[0]);
    return n > (ssize_t)sizeof(struct keeper_answer) ? n : 0;
}

static const unsigned char something[KEEPER_DATA_MAX * 2] = {1};

static struct keeper_request hash_request(void)
{
    return (struct keeper_request){
        .type = KEEPER_SIGN_HASH, .algorithm = GNUTLS_SIGN_ECDSA_SHA256, .len = 32};
}

static long ask_nonsense(const struct target *t)
{
    struct keeper_request r = hash_request();
    r.type = 99;
    return ask(t, &r, something, 32) > 0 ? 0 : -1;
}

static long ask_for_a_text(const struct target *t)
{
    struct keeper_request r = hash_request();
    r.type = KEEPER_SIGN_TEXT;
    r.len = 200;
    return ask(t, &r, something, 200) > 0 ? 0 : -1;
}

static long ask_for_a_strange_key(const struct target *t)
{
    struct keeper_request r = hash_request();
    r.key = (uint32_t)t->number;
    return ask(t, &r, something, 32) > 0 ? 0 : -1;
}

static long ask_for_a_strange_hash(const struct target *t)
{
    struct keeper_request r = hash_request();
    r.algorithm = GNUTLS_SIGN_ECDSA_SHA1;
    r.len = 20;
    return ask(t, &r, something, 20) > 0 ? 0 : -1;
}

static long ask_with_a_wrong_length(const struct target *t)
{
    struct keeper_request r = hash_request();
    return ask(t, &r, something, 64) > 0 ? 0 : -1;
}

static long ask_too_long(const struct target *t)
{
    struct keeper_request r = hash_request();
    r.len = sizeof something;
    return ask(t, &r, something, sizeof something) > 0 ? 0 : -1;
}

static long ask_without_descriptor(const struct target *t)
{
    struct keeper_request r = hash_request();
    if (send(t->request_fd, &r, sizeof r, MSG_NOSIGNAL) < 0)
        return -1;
    pause();
    return 0;
}

static long ask_once(const struct target *t)
{
    struct keeper_request r = hash_request();
    return ask(t, &r, something, 32) > 0 ? 0 : -1;
}

/* The answer goes where the requests go, and a keeper has sent it. */
static long have_a_keeper_ask(const struct target *t)
{
    struct keeper_request r = hash_request();
    return send_request(t, &r, something, 32, t->request_fd);
}

/* Succeeds when all are answered. */
static long ask_ten_thousand_times(const struct target *t)
{
    struct keeper_request r = hash_request();
    for (int i = 0; i < 10000; i++)
        if (ask(t, &r, something, 32) == 0)
            return -1;
    return 0;
}

/* ---- attacks on the spawner ---- */

static struct session_facts nobody(void)
{
    struct session_facts f;
    memset(&f, 0, sizeof f);
    return f;
}

/* Succeeds when it is told the token with that number. */
static long take_token_as(const struct target *t, const struct session_facts *facts)
{
    const struct token_request r = {
        .request_fd = t->spawn_fd, .facts = facts, .deadline = wire_deadline(10), .cancel_fd = -1};
    char want[32], error[200];
    struct secret *token = t->spawn_fd >= 0 ? token_fetch(&r, error, sizeof error) : NULL;
    errno = 0;
    if (token == NULL)
        return -1;
    snprintf(want, sizeof want, "token-%ld", t->number);
    bool is_it = strcmp(secret_text(token), want) == 0;
    secret_destroy(token);
    return is_it ? 0 : -1;
}

static long take_token(const struct target *t)
{
    const struct session_facts facts = nobody();
    return take_token_as(t, &facts);
}

/* What it is told of a client might change what it does. */
static long take_token_as_somebody(const struct target *t)
{
    struct session_facts facts = nobody();
    strcpy(facts.remote_ip, "192.0.2.77");
    strcpy(facts.remote_port, "25");
    strcpy(facts.tls_protocol, "TLSv1.3");
    strcpy(facts.server_name, "take-another-token.example.org");
    return take_token_as(t, &facts);
}

/* A request that is sent as it is; succeeds when a program is started for it. */
static long spawn(const struct target *t, const struct spawn_request *request, int program_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)request, sizeof *request};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    struct spawn_answer answer = {.error = -1};
    int line[2];
    if (program_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, line) != 0)
        return -1;
    const int fds[2] = {program_fd, line[1]};
    control.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
    ssize_t n = sendmsg(t->spawn_fd, &msg, MSG_NOSIGNAL);
    close(line[1]);
    if (n > 0)
        n = recv(line[0], &answer, sizeof answer, 0);
    close(line[0]);
    errno = 0;
    return n == sizeof answer && answer.error == 0 ? 0 : -1;
}

static long spawn_with(const struct target *t, uint32_t type, const char *server_name)
{
    struct spawn_request request;
    int stream[2];
    memset(&request, 0, sizeof request);
    request.type = type;
    strcpy(request.facts.server_name, server_name);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, stream) != 0)
        return -1;
    return spawn(t, &request, stream[1]);
}

static long spawn_honestly(const struct target *t)
{
    return spawn_with(t, SPAWN_PROGRAM, "");
}

static long spawn_another_type(const struct target *t)
{
    return spawn_with(t, SPAWN_PROGRAM + 1, "");
}

static long spawn_with_an_option(const struct target *t)
{
    return spawn_with(t, SPAWN_PROGRAM, "--print-refresh-token");
}

/* The token would go over the network. */
static long spawn_on_tcp(const struct target *t)
{
    struct spawn_request request;
    memset(&request, 0, sizeof request);
    request.type = SPAWN_PROGRAM;
    return spawn(t, &request, socket(AF_INET, SOCK_STREAM, 0));
}

/* ---- attacks on the master, by the memory that it reads ---- */

/* Every counter and every slot of all workers of the service. */
static long spoil_counters(const struct target *t)
{
    if (t->pool == NULL)
        return -1;
    memset(t->pool->stats, (int)t->number,
           sizeof *t->pool->stats + t->pool->n_slots * sizeof *t->pool->stats->slots);
    return 0;
}

/* ---- attacks on the others, by what all of them have ---- */

static long cancel_everybody(const struct target *t)
{
    const uint64_t one = 1;
    return t->pool == NULL ? -1 : write(t->pool->cancel_fd, &one, sizeof one);
}

/* The master reads there, too. */
static long make_everybody_wait(const struct target *t)
{
    return fcntl(t->pool != NULL ? t->pool->notify_fd : 2, F_SETFL, 0);
}

/* As with the connection to syslogd, which is not this one's alone. */
static long send_elsewhere(const struct target *t)
{
    const struct sockaddr_in to = loopback(t->number);
    return sendto(2, "x", 1, MSG_NOSIGNAL, (const struct sockaddr *)&to, sizeof to);
}

static long shut_the_listener(const struct target *t)
{
    return t->pool == NULL ? -1 : shutdown(t->pool->listeners.fds[0], (int)t->number);
}

static long take_anothers_client(const struct target *t)
{
    struct pollfd p = {.fd = t->pool != NULL ? t->pool->listeners.fds[0] : -1, .events = POLLIN};
    int ready = poll(&p, 1, 0); /* it blocks */
    errno = EAGAIN;
    return ready == 1 ? accept4(p.fd, NULL, NULL, SOCK_NONBLOCK) : -1;
}

static long shut_the_way_to_the_keys(const struct target *t)
{
    (void)t;
    return shutdown(t->request_fd, SHUT_WR);
}

static long shut_the_way_to_programs(const struct target *t)
{
    return shutdown(t->spawn_fd, SHUT_WR);
}

static const struct attack {
    const char *name;
    long (*run)(const struct target *t);
} attacks[] = {
    {"open-file", open_file},
    {"open-root", open_root},
    {"create-file", create_file},
    {"run-program", run_program},
    {"run-by-descriptor", run_shell_by_descriptor},
    {"connect", connect_elsewhere},
    {"connect-by-mptcp", connect_by_mptcp},
    {"connect-by-sending", connect_by_sending},
    {"connect-by-a-message", connect_by_a_message},
    {"datagram-pair", datagram_pair},
    {"cancel-everybody", cancel_everybody},
    {"make-everybody-wait", make_everybody_wait},
    {"send-elsewhere", send_elsewhere},
    {"shut-listener", shut_the_listener},
    {"take-client", take_anothers_client},
    {"shut-keys", shut_the_way_to_the_keys},
    {"shut-programs", shut_the_way_to_programs},
    {"listen", listen_somewhere},
    {"other-socket", other_socket},
    {"kill", kill_process},
    {"stop-thread", stop_thread},
    {"trace", trace},
    {"read-memory", read_memory},
    {"open-memory", open_memory},
    {"fork-bomb", fork_bomb},
    {"raise-limit-and-fork", raise_limit_and_fork},
    {"lift-another-limit", lift_another_limit},
    {"new-namespace", new_namespace},
    {"share-memory", share_memory_with_a_child},
    {"fork-by-clone3", fork_by_clone3},
    {"become-root", become_root},
    {"leave-root-directory", leave_root_directory},
    {"executable-memory", executable_memory},
    {"make-executable", make_executable},
    {"allow-tracing", allow_tracing},
    {"catch-the-catcher", catch_the_catcher},
    {"all-memory", all_memory},
    {"all-descriptors", all_descriptors},
    {"ask-nonsense", ask_nonsense},
    {"ask-text", ask_for_a_text},
    {"ask-strange-key", ask_for_a_strange_key},
    {"ask-strange-hash", ask_for_a_strange_hash},
    {"ask-wrong-length", ask_with_a_wrong_length},
    {"ask-too-long", ask_too_long},
    {"ask-without-descriptor", ask_without_descriptor},
    {"ask-once", ask_once},
    {"have-a-keeper-ask", have_a_keeper_ask},
    {"ask-ten-thousand-times", ask_ten_thousand_times},
    {"spoil-counters", spoil_counters},
    {"take-token", take_token},
    {"take-token-as-somebody", take_token_as_somebody},
    {"spawn", spawn_honestly},
    {"spawn-another-type", spawn_another_type},
    {"spawn-with-an-option", spawn_with_an_option},
    {"spawn-on-tcp", spawn_on_tcp},
};

static const struct attack *find(const char *name)
{
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++)
        if (strcmp(attacks[i].name, name) == 0)
            return &attacks[i];
    return NULL;
}

/* ---- in place of a session ---- */

void __wrap_session_run(struct pool *pool, int fd, const struct address *client,
                        const char *refusal)
{
    char line[128] = "", name[64] = "", answer[128];
    struct target t = {
        .request_fd = pool->request_fd, .spawn_fd = pool->spawn_fds[0], .pool = pool};
    (void)client;
    (void)refusal;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 10000) == 1 && read(fd, line, sizeof line - 1) > 0)
        sscanf(line, "%63s %ld", name, &t.number);
    const struct attack *a = find(name);
    errno = 0;
    long result = a != NULL ? a->run(&t) : -1;
    int n = snprintf(answer, sizeof answer, "%s\n",
                     a == NULL     ? "unknown"
                     : result >= 0 ? "succeeded"
                     : errno != 0  ? strerrorname_np(errno)
                                   : "refused");
    if (write(fd, answer, (size_t)n) < 0)
        _exit(1);
    close(fd);
}

/* ---- in front of the keeper's work ---- */

void __wrap_keeper_serve(struct keeper *k, int stop_fd, const struct keeper_alarm *alarm)
{
    const char *name = getenv("HOSTILE_KEEPER");
    const struct attack *a = name != NULL ? find(name) : NULL;
    const struct target t = {.request_fd = -1, .spawn_fd = -1, .number = getppid()};
    if (a != NULL && a->run(&t) >= 0) {
        static const char text[] = "THE KEEPER'S ATTACK SUCCEEDED\n";
        if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
            _exit(1);
    }
    __real_keeper_serve(k, stop_fd, alarm);
}
