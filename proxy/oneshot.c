/* SPDX-License-Identifier: ISC */
#include "proxy/oneshot.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/activation.h"
#include "proxy/generation.h"
#include "proxy/jail.h"
#include "proxy/log.h"
#include "proxy/session.h"
#include "proxy/title.h"
#include "proxy/worker.h"

/* The connection that we were started for. */
struct connection {
    int fd; /* -1: there is none */
    struct address peer, local;
};

/* ---- descriptors ---- */

static bool is_same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Moves the client away from 0, 1 and 2, so that nothing can be written to it by mistake. Standard
 * error stays if it is something else: a pipe to a logger, the journal. */
static bool move_away(int from, struct connection *c)
{
    bool own_stderr = fcntl(STDERR_FILENO, F_GETFD) >= 0 && !is_same_file(from, STDERR_FILENO);
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    c->fd = fcntl(from, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    for (int i = STDIN_FILENO; i <= (own_stderr ? STDOUT_FILENO : STDERR_FILENO); i++)
        if (i != nothing)
            dup2(nothing, i);
    if (nothing > STDERR_FILENO)
        close(nothing);
    if (from > STDERR_FILENO)
        close(from);
    return own_stderr;
}

/* NULL, or why it cannot be had. */
static const char *get_option(int fd, int option, int *out)
{
    socklen_t len = sizeof *out;
    *out = 0;
    return getsockopt(fd, SOL_SOCKET, option, out, &len) == 0 ? NULL : strerror(errno);
}

bool oneshot_ucspi_address(const char *ip, const char *port, struct address *out)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&out->sa;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->sa;
    char *end = NULL;
    unsigned long n = port != NULL ? strtoul(port, &end, 10) : 0;
    *out = (struct address){.len = sizeof *in};
    if (ip == NULL ||
        (port != NULL && (port[0] < '0' || port[0] > '9' || *end != '\0' || n > 65535)))
        return false;
    if (inet_pton(AF_INET, ip, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)n);
    } else if (inet_pton(AF_INET6, ip, &in6->sin6_addr) == 1) {
        out->len = sizeof *in6;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)n);
    } else {
        return false;
    }
    address_print(out);
    return true;
}

/* Who is at the other end, and who we are. Something that stands between tcpserver and us leaves a
 * socket that says nothing, and the environment. */
static bool name_ends(struct connection *c)
{
    struct address told;
    c->peer.len = sizeof c->peer.sa;
    c->local.len = sizeof c->local.sa;
    if (getpeername(c->fd, (struct sockaddr *)&c->peer.sa, &c->peer.len) != 0 ||
        getsockname(c->fd, (struct sockaddr *)&c->local.sa, &c->local.len) != 0)
        return false;
    address_print(&c->peer);
    address_print(&c->local);
    if (c->peer.sa.ss_family != AF_UNIX)
        return true;
    if (oneshot_ucspi_address(getenv("TCPREMOTEIP"), getenv("TCPREMOTEPORT"), &told))
        c->peer = told;
    if (oneshot_ucspi_address(getenv("TCPLOCALIP"), getenv("TCPLOCALPORT"), &told))
        c->local = told;
    return true;
}

/* False and a sentence, if this is not the connection of one client. */
static bool examine(int fd, char *error, size_t size)
{
    int type, listening;
    const char *wrong = get_option(fd, SO_TYPE, &type);
    if (wrong != NULL || type != SOCK_STREAM)
        snprintf(error, size, "descriptor 0 is not the connection of a client: %s",
                 wrong != NULL ? wrong : "it is no stream socket");
    else if (get_option(fd, SO_ACCEPTCONN, &listening) == NULL && listening)
        snprintf(error, size,
                 "this socket is still to be listened on: write \"nowait\" in inetd.conf, wait = "
                 "no for xinetd, Accept=yes in the socket unit, or leave --inetd out");
    else
        return true;
    return false;
}

/* As sessions want it. A socket that is not TCP has no TCP_NODELAY, and needs none. */
static void set_up(int fd)
{
    const int on = 1;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        log_warn_errno("the client's connection cannot be made non-blocking");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* ---- which service ---- */

static bool is_at(const struct service *s, const struct address *local)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&local->sa; /* the port of both */
    for (size_t i = 0; i < s->accept.count; i++)
        if (local->sa.ss_family == AF_UNIX
                ? strcmp(s->accept.items[i].text, local->text) == 0
                : address_has_port(s->accept.items[i].text, ntohs(in->sin_port)))
            return true;
    return false;
}

const struct service *oneshot_choose(const struct config *c, const char *name,
                                     const struct address *local, char *error, size_t size)
{
    const struct service *found = NULL;
    size_t n = 0, n_all = 0;
    for (size_t i = 0; i < c->n_services; i++)
        n_all += !service_is_bundle(&c->services[i]);
    for (size_t i = 0; i < c->n_services; i++) {
        const struct service *s = &c->services[i];
        if (service_is_bundle(s) ||
            (name != NULL ? strcasecmp(name, s->name) != 0 : n_all > 1 && !is_at(s, local)))
            continue;
        found = s;
        n++;
    }
    if (n == 1)
        return found;
    if (name != NULL)
        snprintf(error, size, "there is no service [%s] in the configuration", name);
    else
        snprintf(error, size,
                 "%s service has an accept for %s: ehlock --inetd FILE SERVICE says "
                 "which one is meant",
                 n == 0 ? "no" : "more than one", local->text);
    return NULL;
}

/* ---- running ---- */

/* Warnings are for --check: here they would come with every client. */
static void complain(void *ctx, bool is_error, const char *sentence)
{
    (void)ctx;
    if (is_error)
        log_error("%s", sentence);
}

/* Until the configuration is known syslog hears of it, and standard error if that is ours. */
static void open_log(const struct config *c, bool own_stderr)
{
    struct log_settings s = {.level = LOG_NOTICE,
                             .facility = LOG_DAEMON,
                             .ident = "ehlock",
                             .to_stderr = own_stderr,
                             .to_syslog = !(own_stderr && log_stderr_is_journal())};
    if (c != NULL) {
        s.level = c->log_level;
        s.facility = c->log_facility;
        s.ident = c->ident;
        s.to_stderr = own_stderr && c->foreground != FOREGROUND_QUIET;
        s.to_syslog = c->syslog && !(s.to_stderr && log_stderr_is_journal());
        s.file = c->output; /* never emptied: it has the sessions before this one */
    }
    if (log_open(&s) != 0)
        log_error_errno("output: cannot open %s", c->output);
}

static struct admittance not_configured(void *ctx, const struct address *client)
{
    (void)ctx;
    (void)client;
    static const char text[] = "Mail server is not configured, try again later";
    return (struct admittance){
        .refusal = {.code = 421, .enhanced = "4.3.5", .text = text, .reason = text}};
}

/* The client hears a sentence, from a process that is jailed as far as it can be; if it cannot, or
 * TLS would have to come first, its connection is just closed. */
static void refuse(const struct config *c, const struct service *s, const struct connection *from)
{
    struct pool pool = {.service = s,
                        .policy.hostname = c->hostname,
                        .listeners.epoll_fd = -1,
                        .request_fd = -1,
                        .notify_fd = -1,
                        .cancel_fd = -1};
    const struct sandbox_needs needs = {.role = SANDBOX_WORKER};
    const struct admission admission = {.ask = not_configured};
    struct jail jail;
    struct walls walls;
    char error[256];
    if (s->protocol == NULL || s->implicit_tls != IMPLICIT_NO || c->hostname == NULL ||
        jail_prepare(&jail, c->setuid_name, c->setgid_name, c->chroot_dir, error, sizeof error) !=
            NULL)
        return;
    walls_create(&walls, &needs, error, sizeof error);
    int keep[] = {from->fd, log_fd(), log_syslog_fd(), walls.landlock_fd};
    const struct descent descent = {
        .keep = keep, .n_keep = sizeof keep / sizeof *keep, .max_fds = 64, .walls = &walls};
    if (jail_enter(&jail, &descent) == NULL)
        session_run(&pool, from->fd, &from->peer, &admission);
}

/* What the session waits for: the report of its keeper. */
struct awaited {
    struct generation *generation;
    bool failed;
};

static bool await_keys(void *ctx)
{
    struct awaited *a = ctx;
    char error[1024];
    a->failed = !generation_finish_keys(a->generation, error, sizeof error);
    if (a->failed)
        log_error("%s", error);
    return !a->failed;
}

/* In this process, which is jailed for good before a byte of the client is read. The keys are in a
 * keeper, which loads them while this one prepares the rest, and which ends with the session. */
_Noreturn static void serve_jailed(struct generation *g, bool keys_loaded, int cancel_end,
                                   struct connection *from)
{
    programs_keep(g);
    resolver_keep(g); /* ends when this process does */
    struct awaited awaited = {.generation = g};
    struct pool *p = &g->pools[0];
    const struct oneshot o = {.fd = from->fd,
                              .client = &from->peer,
                              .report_fd = keys_loaded ? -1 : keyset_report_fd(g->keys),
                              .stop_fd = g->keys->stop_fds[1],
                              .spawner_stop_fd = g->spawner.stop_fd,
                              .resolver_stop_fd = g->resolver.stop_fd,
                              .cancel_fd = cancel_end,
                              .drain_seconds = (unsigned)g->config->timeout_drain};
    p->await_keys = keys_loaded ? NULL : await_keys;
    p->await_ctx = &awaited;
    title_set("session", NULL);
    worker_serve_oneshot(p, &g->jail, &o);
    _exit(awaited.failed ? EX_CONFIG : 0);
}

/* Whom to trust stands in files as well, and is read with the report: on the client side before the
 * jail, where there are none. False: the client has been told to come back. */
static bool load_trust(struct generation *g, struct tls_memory *memory, struct connection *from,
                       char *error, size_t size)
{
    if (generation_finish_keys(g, error, size) &&
        tls_memory_read(memory, g->config, FIRST_USE_KNOWS, NULL, error, size))
        return true;
    log_error("%s", error);
    refuse(g->config, g->config->only, from);
    return false;
}

/* Returns an exit status if it cannot. Takes the configuration. */
static int serve_one(struct config *c, struct connection *from)
{
    struct tls_memory memory = {0};
    struct common common = {.notify_fd = -1, .accuse_fd = -1, .single = true, .memory = &memory};
    struct generation *g = NULL;
    int cancel[2];
    char error[1024];
    if (pipe2(cancel, O_CLOEXEC) != 0) {
        log_error_errno("pipe");
        return EX_OSERR;
    }
    common.cancel_fd = cancel[0];
    if (tls_global_init(error, sizeof error))
        g = generation_prepare(c, &common, error, sizeof error);
    if (g != NULL && generation_begin_keys(g, error, sizeof error)) {
        bool client = g->config->only->client;
        if (client && !load_trust(g, &memory, from, error, sizeof error))
            return EX_CONFIG;
        serve_jailed(g, client, cancel[1], from);
    }
    log_error("%s", error);
    return EX_CONFIG;
}

static int serve(struct config *c, const char *file, const char *name, bool own_stderr,
                 struct connection *from)
{
    char error[256];
    bool ok = config_read(c, file);
    if (c->n_services > 0)
        ok = config_check(c) && ok;
    if (c->n_services == 0)
        return EX_CONFIG;
    open_log(c, own_stderr);
    if (chdir("/") != 0)
        log_warn_errno("chdir");
    c->only = oneshot_choose(c, name, &from->local, error, sizeof error);
    if (c->only == NULL) {
        log_error("%s", error);
        return ok ? EX_USAGE : EX_CONFIG;
    }
    if (!ok)
        refuse(c, c->only, from);
    return ok ? serve_one(c, from) : EX_CONFIG;
}

/* Takes the connection and finds out about it. Returns 0; or an exit status and a sentence, which
 * is empty if there is nothing to complain about. */
static int take_connection(struct connection *from, bool *own_stderr, char *error, size_t size)
{
    struct activation sockets;
    int fd = STDIN_FILENO;
    error[0] = '\0';
    if (activation_take(&sockets, error, size) && sockets.count > 0) {
        if (sockets.count > 1)
            snprintf(error, size, "LISTEN_FDS is %zu, but one client is served at a time",
                     sockets.count);
        fd = sockets.sockets[0].fd;
        sockets.sockets[0].fd = -1;
    }
    activation_finish(&sockets);
    *own_stderr = move_away(fd, from);
    if (error[0] != '\0' || !examine(from->fd, error, size))
        return EX_USAGE;
    set_up(from->fd);
    return name_ends(from) ? 0 : EX_NOINPUT;
}

int oneshot_run(const char *file, const char *service)
{
    struct connection from;
    char error[512];
    bool own_stderr;

    int status = take_connection(&from, &own_stderr, error, sizeof error);
    open_log(NULL, own_stderr);
    signal(SIGPIPE, SIG_IGN);
    if (file == NULL) {
        log_error("usage: ehlock --inetd FILE [SERVICE]");
        return EX_USAGE;
    }
    if (status == EX_NOINPUT) {
        log_info("the client was gone before it could be served");
        return 0;
    }
    if (status != 0) {
        log_error("%s", error);
        return status;
    }
    struct config *c = memory_alloc(sizeof *c); /* goes with the process */
    config_init(c);
    c->complain = complain;
    c->no_accept = NO_ACCEPT_FINE;
    return serve(c, file, service, own_stderr, &from);
}
