/* SPDX-License-Identifier: ISC
 *
 * The lists of system calls, by libseccomp. They are compiled in the master; a child hands the
 * finished filter to the kernel with one call.
 *
 * A call that is not on the list raises SIGSYS, whose handler logs its name and ends the process.
 * Killing by the kernel would be as safe and would not say what was tried.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/log.h"
#include "proxy/sandbox.h"

struct syscall_filter {
    struct sock_fprog program;
};

/* At every entering the kernel tries the filter with all numbers there are, so that a chain of
 * comparisons would cost a new worker twice as much as a tree. */
enum { BINARY_TREE = 2 }; /* seccomp_attr_set(3) */

/* ---- the lists ---- */

/* Whatever an ordinary program does with what it has already got. */
static const int common[] = {
    SCMP_SYS(read),         SCMP_SYS(readv),          SCMP_SYS(write),
    SCMP_SYS(writev),       SCMP_SYS(recvfrom),       SCMP_SYS(recvmsg),
    SCMP_SYS(close),        SCMP_SYS(poll),           SCMP_SYS(ppoll),
    SCMP_SYS(epoll_wait),   SCMP_SYS(epoll_pwait),    SCMP_SYS(munmap),
    SCMP_SYS(mremap),       SCMP_SYS(madvise),        SCMP_SYS(brk),
    SCMP_SYS(futex),        SCMP_SYS(getrandom),      SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday), SCMP_SYS(time),           SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),    SCMP_SYS(getpid),         SCMP_SYS(getppid),
    SCMP_SYS(gettid),       SCMP_SYS(getrusage),      SCMP_SYS(sched_yield),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),         SCMP_SYS(exit_group),
};

static const int workers_too[] = {
    SCMP_SYS(alarm),   SCMP_SYS(setitimer),  SCMP_SYS(accept),      SCMP_SYS(accept4),
    SCMP_SYS(connect), SCMP_SYS(getsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
};

/* What fork(2) in the C library does beside clone(2), waitpid(2), and what a child adds. */
static const int parents_too[] = {SCMP_SYS(set_robust_list), SCMP_SYS(wait4), SCMP_SYS(waitid),
                                  SCMP_SYS(landlock_restrict_self)};

/* What libunbound and its event loop do for each question. */
static const int resolvers_too[] = {
    SCMP_SYS(shutdown),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(eventfd2),
    SCMP_SYS(pipe2),
    SCMP_SYS(fcntl),
    /* libevent looks whether it is set-uid before it reads its variables */
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
};

static bool add_all(scmp_filter_ctx ctx, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0) != 0)
            return false;
    return true;
}

/* Compares an argument of the call: SCMP_CMP_EQ with `a`, SCMP_CMP_MASKED_EQ under the mask `a`
 * with `b`. */
static struct scmp_arg_cmp argument(unsigned number, enum scmp_compare how, scmp_datum_t a,
                                    scmp_datum_t b)
{
    return (struct scmp_arg_cmp){.arg = number, .op = how, .datum_a = a, .datum_b = b};
}

/* Memory may be had, but never memory that can be run. */
static bool add_memory(scmp_filter_ctx ctx)
{
    const struct scmp_arg_cmp not_executable = argument(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, not_executable) == 0 &&
           seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, not_executable) == 0;
}

/* `call` is socket(2) or socketpair(2). */
static bool add_socket(scmp_filter_ctx ctx, int call, int family, int type, int protocol)
{
    const scmp_datum_t kind = ~(scmp_datum_t)(SOCK_CLOEXEC | SOCK_NONBLOCK);
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 3,
                            argument(0, SCMP_CMP_EQ, (scmp_datum_t)family, 0),
                            argument(1, SCMP_CMP_MASKED_EQ, kind & 0xffffffffU, (scmp_datum_t)type),
                            argument(2, SCMP_CMP_EQ, (scmp_datum_t)protocol, 0)) == 0;
}

/* By TCP, which is what Landlock knows the ports of: those of MPTCP, SMC and SCTP it does not. */
static bool add_stream_socket(scmp_filter_ctx ctx, int family)
{
    return add_socket(ctx, SCMP_SYS(socket), family, SOCK_STREAM, 0);
}

/* To whom there is a connection: that to syslogd could be used for others. (So it can by
 * sendmsg(2), whose address no filter sees, and which the keeper does not have.) */
static bool add_send(scmp_filter_ctx ctx)
{
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 2,
                            argument(3, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0),
                            argument(4, SCMP_CMP_EQ, 0, 0)) == 0;
}

/* MSG_FASTOPEN makes a connection, and nobody asks Landlock. `otherwise` is what comes of it. */
static bool add_call_but_fast_open(scmp_filter_ctx ctx, int call, unsigned flags,
                                   uint32_t otherwise)
{
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 1,
                            argument(flags, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0)) == 0 &&
           (otherwise == SCMP_ACT_TRAP ||
            seccomp_rule_add(ctx, otherwise, call, 1,
                             argument(flags, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, MSG_FASTOPEN)) == 0);
}

static bool add_option(scmp_filter_ctx ctx, int level, int name)
{
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2,
                            argument(1, SCMP_CMP_EQ, (scmp_datum_t)level, 0),
                            argument(2, SCMP_CMP_EQ, (scmp_datum_t)name, 0)) == 0;
}

/* Never to make it block: the master shares some. */
static bool add_not_blocking(scmp_filter_ctx ctx)
{
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 2,
                            argument(1, SCMP_CMP_EQ, F_SETFL, 0),
                            argument(2, SCMP_CMP_MASKED_EQ, O_NONBLOCK, O_NONBLOCK)) == 0;
}

/* libunbound may have been built for TCP Fast Open, and does without where there is none. */
static bool add_questions(scmp_filter_ctx ctx)
{
    static const int families[] = {AF_INET, AF_INET6};
    static const struct {
        int type, protocol;
    } kinds[] = {
        {SOCK_STREAM, 0}, {SOCK_STREAM, IPPROTO_TCP}, {SOCK_DGRAM, 0}, {SOCK_DGRAM, IPPROTO_UDP}};
    const uint32_t unknown = SCMP_ACT_ERRNO(EOPNOTSUPP);
    bool ok = add_all(ctx, resolvers_too, sizeof resolvers_too / sizeof *resolvers_too) &&
              add_call_but_fast_open(ctx, SCMP_SYS(sendto), 3, unknown) &&
              add_call_but_fast_open(ctx, SCMP_SYS(sendmsg), 2, unknown);
    for (size_t i = 0; ok && i < 8; i++)
        ok = add_socket(ctx, SCMP_SYS(socket), families[i / 4], kinds[i % 4].type,
                        kinds[i % 4].protocol);
    return ok;
}

/* A fork, and nothing that clone(2) can do beside; the child's own part of the descent. A child of
 * the child there cannot be: RLIMIT_NPROC. */
static bool add_forking(scmp_filter_ctx ctx)
{
    const scmp_datum_t ids = CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    return add_all(ctx, parents_too, sizeof parents_too / sizeof *parents_too) &&
           seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                            argument(0, SCMP_CMP_MASKED_EQ, ~ids, SIGCHLD)) == 0 &&
           seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                            argument(0, SCMP_CMP_EQ, PR_SET_PDEATHSIG, 0)) == 0 &&
           seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
                            argument(0, SCMP_CMP_EQ, 0, 0),
                            argument(1, SCMP_CMP_EQ, RLIMIT_NPROC, 0)) == 0;
}

/* A worker asks the keeper over socket pairs and reaches its backends, no others. It ends what it
 * sends, never what a socket that others have, too, receives. */
static bool add_sockets(scmp_filter_ctx ctx, const struct sandbox_needs *needs)
{
    if (!add_socket(ctx, SCMP_SYS(socketpair), AF_UNIX, SOCK_SEQPACKET, 0) ||
        !add_socket(ctx, SCMP_SYS(socketpair), AF_UNIX, SOCK_STREAM, 0) || !add_send(ctx) ||
        !add_call_but_fast_open(ctx, SCMP_SYS(sendmsg), 2, SCMP_ACT_TRAP) ||
        seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(shutdown), 1,
                         argument(1, SCMP_CMP_EQ, SHUT_WR, 0)) != 0 ||
        !add_option(ctx, IPPROTO_TCP, TCP_NODELAY))
        return false;
    if (needs->tcp && (!add_stream_socket(ctx, AF_INET) || !add_stream_socket(ctx, AF_INET6)))
        return false;
    if (needs->unix_stream && (!add_stream_socket(ctx, AF_UNIX) ||
                               !add_option(ctx, SOL_SOCKET, SO_SNDTIMEO) || !add_not_blocking(ctx)))
        return false;
    return !needs->bind || seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(bind), 0) == 0;
}

static bool add_rules(scmp_filter_ctx ctx, const struct sandbox_needs *needs)
{
    if (!add_all(ctx, common, sizeof common / sizeof *common) || !add_memory(ctx))
        return false;
    switch (needs->role) {
    case SANDBOX_KEEPER:
        return add_send(ctx);
    case SANDBOX_WORKER:
        return add_all(ctx, workers_too, sizeof workers_too / sizeof *workers_too) &&
               add_sockets(ctx, needs) && (!needs->forks || add_forking(ctx));
    case SANDBOX_RESOLVER:
        return add_questions(ctx);
    }
    return false;
}

bool sandbox_is_built(void)
{
    return true;
}

/* ---- compiling ---- */

static struct syscall_filter *read_program(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size == 0 || lseek(fd, 0, SEEK_SET) != 0)
        return NULL;
    struct syscall_filter *f = memory_alloc(sizeof *f);
    f->program.len = (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter));
    f->program.filter = memory_alloc((size_t)st.st_size);
    if (read(fd, f->program.filter, (size_t)st.st_size) == st.st_size)
        return f;
    filter_destroy(f);
    return NULL;
}

struct syscall_filter *filter_create(const struct sandbox_needs *needs, char *missing,
                                     size_t missing_size)
{
    struct syscall_filter *f = NULL;
    missing[0] = '\0';
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
    int fd = memfd_create("filter", MFD_CLOEXEC);
    if (ctx != NULL && fd >= 0 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 &&
        seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, BINARY_TREE) == 0 &&
        add_rules(ctx, needs) && seccomp_export_bpf(ctx, fd) == 0)
        f = read_program(fd);
    if (f == NULL)
        snprintf(missing, missing_size, "seccomp");
    if (ctx != NULL)
        seccomp_release(ctx);
    if (fd >= 0)
        close(fd);
    return f;
}

void filter_destroy(struct syscall_filter *f)
{
    if (f == NULL)
        return;
    free(f->program.filter);
    free(f);
}

/* ---- entering, and being caught ---- */

static struct {
    volatile sig_atomic_t proven, caught;
    int exit_status;
} own;

/* The names of what an intruder would try first; the rest is logged by number. */
static const char *name_of(int number, char *text, size_t size)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
        {SCMP_SYS(open), "open"},
        {SCMP_SYS(openat), "openat"},
        {SCMP_SYS(openat2), "openat2"},
        {SCMP_SYS(execve), "execve"},
        {SCMP_SYS(execveat), "execveat"},
        {SCMP_SYS(fork), "fork"},
        {SCMP_SYS(vfork), "vfork"},
        {SCMP_SYS(clone), "clone"},
        {SCMP_SYS(clone3), "clone3"},
        {SCMP_SYS(socket), "socket"},
        {SCMP_SYS(socketpair), "socketpair"},
        {SCMP_SYS(sendto), "sendto"},
        {SCMP_SYS(sendmsg), "sendmsg"},
        {SCMP_SYS(shutdown), "shutdown"},
        {SCMP_SYS(bind), "bind"},
        {SCMP_SYS(listen), "listen"},
        {SCMP_SYS(connect), "connect"},
        {SCMP_SYS(kill), "kill"},
        {SCMP_SYS(tgkill), "tgkill"},
        {SCMP_SYS(tkill), "tkill"},
        {SCMP_SYS(ptrace), "ptrace"},
        {SCMP_SYS(process_vm_readv), "process_vm_readv"},
        {SCMP_SYS(setuid), "setuid"},
        {SCMP_SYS(setresuid), "setresuid"},
        {SCMP_SYS(chroot), "chroot"},
        {SCMP_SYS(mount), "mount"},
        {SCMP_SYS(mmap), "mmap"},
        {SCMP_SYS(mprotect), "mprotect"},
        {SCMP_SYS(prctl), "prctl"},
        {SCMP_SYS(prlimit64), "prlimit64"},
        {SCMP_SYS(ioctl), "ioctl"},
        {SCMP_SYS(fcntl), "fcntl"},
        {SCMP_SYS(setsockopt), "setsockopt"},
        {SCMP_SYS(rt_sigaction), "rt_sigaction"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == number)
            return names[i].name;
    snprintf(text, size, "system call %d", number);
    return text;
}

/* The call was not made. During the proof that is all we want to know. */
static void on_forbidden(int signal, siginfo_t *info, void *context)
{
    char text[32];
    (void)signal;
    (void)context;
    if (!own.proven) {
        own.caught++;
        return;
    }
    log_error("process %d tried %s, which is forbidden to it, and is ended: it has gone astray",
              (int)getpid(), name_of(info->si_syscall, text, sizeof text));
    _exit(own.exit_status);
}

bool filter_enter(const struct syscall_filter *f, int exit_status)
{
    struct sigaction caught = {.sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (f == NULL)
        return true;
    own.proven = own.caught = 0;
    own.exit_status = exit_status;
    return sigaction(SIGSYS, &caught, NULL) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f->program, 0, 0) == 0;
}

static bool is_caught(long result)
{
    bool yes = own.caught == 1;
    (void)result; /* nobody has set it: the call was not made */
    own.caught = 0;
    return yes;
}

const char *filter_prove(const struct syscall_filter *f)
{
    static char *const nothing[] = {NULL};
    const char *failed = NULL;
    if (f == NULL)
        return NULL;
    if (!is_caught(syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY)))
        failed = "proof: files can be opened";
    else if (!is_caught(syscall(SYS_setuid, 0)))
        failed = "proof: the user can be changed";
    else if (!is_caught(syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0)))
        failed = "proof: other sockets can be had";
    else if (!is_caught(syscall(SYS_execve, "/", nothing, nothing)))
        failed = "proof: programs can be run";
    own.proven = 1;
    return failed;
}
