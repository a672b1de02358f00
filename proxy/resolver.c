/* SPDX-License-Identifier: ISC */
#include "proxy/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/child.h"
#include "proxy/demand.h"
#include "proxy/discover.h"
#include "proxy/generation.h"
#include "proxy/log.h"
#include "proxy/title.h"

enum {
    AGAIN_MS = 1000,                /* between two attempts to start it */
    RETRY_MS = 2000,                /* between two attempts to look up what failed */
    MAX_FDS = 256,                  /* libunbound has a socket for each question on its way */
    MAX_MEMORY = 256 * 1024 * 1024, /* bytes, of which its caches take a few */
    DNS_PORT = 53,
};

/* One destination that is watched. */
struct task {
    const char *service, *text; /* borrowed */
    size_t number;              /* of its route */
    struct nexthop to;
    bool dane;
    int64_t due;
    struct route told; /* the last that was published */
};

/* ---- before the fork ---- */

static bool is_watched(const struct pool *p, size_t i)
{
    return nexthop_is_watched(p->service, i);
}

static size_t count_tasks(const struct generation *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_pools; i++)
        for (size_t k = 0; k < g->pools[i].service->connect.count; k++)
            n += is_watched(&g->pools[i], k);
    return n;
}

static size_t read_servers(const struct config *c, struct dns_server out[DNS_SERVERS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < c->resolver.count && n < DNS_SERVERS_MAX; i++)
        n += dns_server_parse(c->resolver.items[i].text, &out[n]);
    return n;
}

static void make_walls(struct generation *g)
{
    struct dns_server servers[DNS_SERVERS_MAX];
    uint16_t ports[DNS_SERVERS_MAX + 1] = {DNS_PORT};
    size_t n = read_servers(g->config, servers);
    struct sandbox_needs needs = {
        .role = SANDBOX_RESOLVER, .tcp = true, .bind = true, .ports = ports, .n_ports = 1};
    char missing[256]; /* the keeper's, made before, has told it */
    for (size_t i = 0; i < n; i++)
        ports[needs.n_ports++] = address_port(&servers[i].address);
    walls_create(&g->resolver_walls, &needs, missing, sizeof missing);
}

bool resolver_prepare(struct generation *g, char *error, size_t error_size)
{
    size_t n = count_tasks(g);
    if (n == 0)
        return true;
    make_walls(g);
    g->routes = route_book_create(n);
    if (g->routes == NULL) {
        snprintf(error, error_size, "shared memory for the resolver: %s", strerror(errno));
        return false;
    }
    n = 0;
    for (size_t i = 0; i < g->n_pools; i++) {
        struct pool *p = &g->pools[i];
        size_t first = n;
        for (size_t k = 0; k < p->service->connect.count; k++)
            n += is_watched(p, k);
        p->first_route = first;
        p->routes = n > first ? g->routes : NULL;
    }
    return true;
}

/* ---- in the child ---- */

static size_t make_tasks(const struct generation *g, struct task *out)
{
    char error[128];
    size_t n = 0;
    for (size_t i = 0; i < g->n_pools; i++) {
        const struct service *s = g->pools[i].service;
        for (size_t k = 0; k < s->connect.count; k++) {
            if (!is_watched(&g->pools[i], k))
                continue;
            struct task *t = &out[n];
            memset(t, 0, sizeof *t);
            t->service = s->name;
            t->text = s->connect.items[k].text;
            t->number = n++;
            t->dane = s->client && server_level_is_dane(s->demands[k].level);
            (void)nexthop_parse(t->text, &t->to, error, sizeof error);
            (void)route_book_read(g->routes, t->number, &t->told); /* of one that died */
        }
    }
    return n;
}

static void ask(void *ctx, const char *name, enum dns_type type, struct dns_answer *out)
{
    dns_ask(ctx, name, type, out);
}

static bool host_failed(const struct route *r)
{
    for (size_t i = 0; i < r->n_hosts; i++)
        if (r->hosts[i].dane == HOST_DANE_FAILED)
            return true;
    return false;
}

/* A lookup that fails does not take away what is still good: of addresses the last ones for ever,
 * of TLSA records for as long as they may be believed. */
static bool may_replace(const struct task *t, const struct route *found, int64_t now)
{
    bool failed = found->state == ROUTE_FAILED || host_failed(found);
    if (!failed || t->told.state != ROUTE_FOUND)
        return true;
    return t->dane && now >= t->told.good_until;
}

static void tell(const struct task *t, const struct route *found)
{
    if (found->state != ROUTE_FOUND) {
        if (found->state != t->told.state || strcmp(found->why, t->told.why) != 0)
            log_warn("service=%s connect=%s: %s", t->service, t->text, found->why);
        return;
    }
    if (t->told.state != ROUTE_FOUND)
        log_info("service=%s connect=%s leads to %zu host%s", t->service, t->text, found->n_hosts,
                 found->n_hosts == 1 ? "" : "s");
    for (size_t i = 0; i < found->n_hosts; i++) {
        const struct route_host *h = &found->hosts[i];
        if (h->dane == HOST_DANE_FAILED && strcmp(h->why, t->told.hosts[i].why) != 0)
            log_warn("service=%s connect=%s: DANE: %s", t->service, t->text, h->why);
    }
}

static void look(struct task *t, struct dns *dns, const struct route_book *book,
                 struct route *found)
{
    const struct asker asker = {.ask = ask, .finish = dns_answer_finish, .ctx = dns};
    unsigned seconds = discover(&t->to, t->dane, &asker, found);
    int64_t now = wire_now(), held = now + (int64_t)seconds * 1000;
    bool failed = found->state == ROUTE_FAILED || host_failed(found);
    found->good_until = failed ? now + RETRY_MS : held;
    t->due = found->good_until;
    if (!may_replace(t, found, now)) {
        log_info("service=%s connect=%s: a lookup failed, what was known stays", t->service,
                 t->text);
        return;
    }
    tell(t, found);
    t->told = *found;
    route_book_publish((struct route_book *)book, t->number, found);
}

static struct task *next_task(struct task *tasks, size_t n)
{
    struct task *first = &tasks[0];
    for (size_t i = 1; i < n; i++)
        if (tasks[i].due < first->due)
            first = &tasks[i];
    return first;
}

/* Until its time, or the end: whoever has started us closes the other end of the pipe, also by its
 * death. A signal would not do: a jailed process may send none, not even at its death. */
static void wait_or_end(int stop_fd, int64_t ms)
{
    struct pollfd stop = {.fd = stop_fd, .events = POLLIN};
    if (poll(&stop, 1, (int)ms) > 0)
        _exit(0);
}

_Noreturn static void watch(struct task *tasks, size_t n, struct dns *dns,
                            const struct route_book *book, int stop_fd)
{
    struct route *found = memory_alloc(sizeof *found);
    for (;;) {
        struct task *t = next_task(tasks, n);
        int64_t wait = t->due - wire_now();
        wait_or_end(stop_fd, wait > 0 ? wait : 0);
        if (wait <= 0)
            look(t, dns, book, found);
    }
}

static struct dns *open_dns(const struct config *c)
{
    struct dns_server servers[DNS_SERVERS_MAX];
    bool validates =
        nexthops_need_dane(c) || config_origin(c, NULL, "dnssecAnchor") != ORIGIN_NOWHERE;
    const struct dns_settings settings = {.servers = servers,
                                          .n_servers = read_servers(c, servers),
                                          .anchor = validates ? c->dnssec_anchor : NULL};
    char error[256];
    struct dns *dns = dns_open(&settings, error, sizeof error);
    if (dns == NULL)
        log_error("the resolver cannot begin: %s", error);
    return dns;
}

static void enter_jail(const struct generation *g, int stop_fd)
{
    log_part();
    int keep[] = {log_fd(), log_syslog_fd(), g->resolver_walls.landlock_fd, stop_fd};
    const struct descent descent = {.keep = keep,
                                    .n_keep = sizeof keep / sizeof *keep,
                                    .max_fds = MAX_FDS,
                                    .max_memory = sandbox_is_built() ? MAX_MEMORY : 0,
                                    .walls = &g->resolver_walls};
    const char *failed = jail_enter(&g->jail, &descent);
    if (failed == NULL)
        return;
    log_error_errno("the resolver could not be jailed and asks nobody: %s", failed);
    _exit(JAIL_EXIT_OPEN);
}

_Noreturn static void resolver_main(struct generation *g, pid_t master, int stop_fd)
{
    size_t n = count_tasks(g);
    title_set("resolver", NULL);
    child_default_signals();
    child_detach(g->common->background);
    struct dns *dns = open_dns(g->config);
    if (dns == NULL)
        _exit(1);
    struct task *tasks = memory_alloc(n * sizeof *tasks);
    make_tasks(g, tasks);
    enter_jail(g, stop_fd);
    if (getppid() != master) /* it ended before we had asked to be told */
        _exit(0);
    watch(tasks, n, dns, g->routes, stop_fd);
}

/* ---- in the master ---- */

void resolver_keep(struct generation *g)
{
    struct resolver_child *c = &g->resolver;
    pid_t self = getpid();
    int stop[2];
    if (g->routes == NULL || c->pid > 0 || wire_now() < c->not_before)
        return;
    c->not_before = wire_now() + AGAIN_MS;
    if (pipe2(stop, O_CLOEXEC) != 0) {
        log_error_errno("the resolver cannot be started");
        return;
    }
    c->pid = fork();
    if (c->pid == 0) {
        close(stop[1]);
        resolver_main(g, self, stop[0]);
    }
    close(stop[0]);
    c->stop_fd = stop[1];
    if (c->pid < 0) {
        log_error_errno("the resolver cannot be started");
        child_close(&c->stop_fd);
        c->pid = 0;
    }
}

bool resolver_bury(struct generation *g, pid_t pid, int status)
{
    if (pid != g->resolver.pid)
        return false;
    log_error("the resolver ended (%s %d): it is started again",
              WIFSIGNALED(status) ? "signal" : "status",
              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    g->resolver.pid = 0;
    child_close(&g->resolver.stop_fd);
    return true;
}

void resolver_stop(struct generation *g)
{
    if (g->resolver.pid <= 0)
        return;
    kill(g->resolver.pid, SIGKILL);
    waitpid(g->resolver.pid, NULL, 0);
    child_close(&g->resolver.stop_fd);
    g->resolver = (struct resolver_child){.stop_fd = -1};
}
