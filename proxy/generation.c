/* SPDX-License-Identifier: ISC */
#include "proxy/generation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/child.h"
#include "proxy/log.h"
#include "proxy/nexthop.h"
#include "proxy/original.h"

enum {
    SPARE_FDS = 128,           /* descriptors of a worker beyond one for each worker there may be */
    RESERVE_BYTES = 64 * 1024, /* for the last words of a worker that is out of memory */
};

/* ---- pools ---- */

static struct policy policy_of(const struct config *c, const struct service *s)
{
    /* of a client service each destination has its own level; see upstream_set */
    return (struct policy){.tls_level =
                               s->client ? TLS_LEVEL_ENCRYPT : (enum tls_level)s->tls_level,
                           .auth_before_tls = s->auth_before_tls,
                           .bare_newline = (enum bare_newline)s->bare_newline,
                           .trace = s->trace,
                           .reconnect = s->reconnect,
                           .xclient = s->identity == IDENTITY_XCLIENT,
                           .hide = s->hide,
                           .edits = {.items = {&s->added}, .count = s->added.n_add > 0},
                           .hostname = c->hostname,
                           .max_command = (size_t)s->max_command_length,
                           .max_reply = (size_t)s->max_reply_size,
                           .max_useless = (unsigned)s->max_useless_commands,
                           .idle_seconds = (unsigned)s->timeout_idle,
                           .busy_seconds = (unsigned)s->timeout_busy};
}

static size_t most_workers(const struct pool *p)
{
    return (size_t)p->service->max_connections + (size_t)p->service->spare_workers;
}

/* Said once at start, by name: what the kernel cannot do for us. */
static void make_walls(struct walls *walls, const struct sandbox_needs *needs, bool tell)
{
    char missing[256];
    walls_create(walls, needs, missing, sizeof missing);
    if (tell && missing[0] != '\0')
        log_warn("sandbox: this system lacks %s; the other walls stand", missing);
}

static void make_worker_walls(struct pool *p)
{
    uint16_t ports[2 * BACKENDS_MAX]; /* of addresses, and of names that are watched */
    struct sandbox_needs needs = {.role = SANDBOX_WORKER,
                                  .bind = p->backends.local.len > 0 ||
                                          p->service->identity == IDENTITY_TRANSPARENT,
                                  .forks = !p->generation->common->single && zygote_is_wanted(p),
                                  .ports = ports};
    const struct via *via = p->backends.via;
    const struct address *reached = via != NULL ? via->addresses : p->backends.addresses;
    size_t n = via != NULL ? via->count : p->backends.count;
    for (size_t i = 0; i < n && !p->backends.program; i++) {
        const struct address *a = &reached[i];
        if (a->sa.ss_family == AF_UNIX)
            needs.unix_stream = true;
        else
            ports[needs.n_ports++] = address_port(a);
    }
    for (size_t i = 0; i < p->service->connect.count; i++) {
        struct nexthop to;
        char error[128];
        if (nexthop_is_watched(p->service, i) &&
            nexthop_parse(p->service->connect.items[i].text, &to, error, sizeof error))
            ports[needs.n_ports++] = to.port;
    }
    needs.tcp = needs.n_ports > 0;
    make_walls(&p->walls, &needs, false); /* the keeper's, made before, has told it */
}

/* Whether workers will be able to speak in the names of clients. */
static bool check_transparent(const struct generation *g, const struct pool *p, char *error,
                              size_t size)
{
    struct transparent probe = {0};
    bool ok = p->service->identity != IDENTITY_TRANSPARENT ||
              transparent_open(&probe, &p->backends, 1, 1);
    if (!ok)
        snprintf(error, size, "%s: identity = transparent: %s (it needs root, or CAP_NET_ADMIN)",
                 config_where(g->config, p->service, "identity"), strerror(errno));
    transparent_close(&probe);
    return ok;
}

/* In memory that all workers of the service share. */
static bool make_counters(struct pool *p)
{
    const struct service *s = p->service;
    p->n_slots = most_workers(p);
    p->stats = stats_create(p->n_slots);
    p->ledger = ledger_create(p->n_slots);
    if (s->connections_rate.count > 0)
        p->connections_rate = rates_create(&s->connections_rate);
    if (s->handshakes_rate.count > 0)
        p->handshakes_rate = rates_create(&s->handshakes_rate);
    return p->stats != NULL && (s->connections_rate.count == 0 || p->connections_rate != NULL) &&
           (s->handshakes_rate.count == 0 || p->handshakes_rate != NULL);
}

static bool make_pool(struct generation *g, const struct service *s, char *error, size_t size)
{
    struct pool *p = &g->pools[g->n_pools++];
    *p = (struct pool){.generation = g,
                       .service = s,
                       .policy = policy_of(g->config, s),
                       .listeners.epoll_fd = -1,
                       .walls.landlock_fd = -1,
                       .zygote.fd = -1,
                       .request_fd = -1,
                       .spawn_fds = {-1, -1},
                       .memory = g->common->memory,
                       .notify_fd = g->common->notify_fd,
                       .cancel_fd = g->common->cancel_fd};
    if (!backends_resolve(&p->backends, g->config, s, error, size) ||
        !check_transparent(g, p, error, size))
        return false;
    make_worker_walls(p);
    if (make_counters(p))
        return true;
    snprintf(error, size, "[%s]: %s", s->name, strerror(errno));
    return false;
}

static bool make_pools(struct generation *g, char *error, size_t size)
{
    const struct config *c = g->config;
    size_t n_slots = 0; /* of all pools together */
    g->pools = memory_alloc(c->n_services * sizeof *g->pools);
    for (size_t i = 0; i < c->n_services; i++)
        if (!service_is_bundle(&c->services[i]) &&
            (c->only == NULL || c->only == &c->services[i]) &&
            !make_pool(g, &c->services[i], error, size))
            return false;
    for (size_t i = 0; i < g->n_pools; i++)
        n_slots += g->pools[i].n_slots;
    for (size_t i = 0; i < g->n_pools; i++)
        g->pools[i].max_fds = SPARE_FDS + (unsigned)n_slots;
    return true;
}

static bool prepare_jail(struct generation *g, char *error, size_t size)
{
    const struct config *c = g->config;
    char reason[256];
    const char *wrong = jail_prepare(&g->jail, c->setuid_name, c->setgid_name, c->chroot_dir,
                                     reason, sizeof reason);
    if (wrong != NULL)
        snprintf(error, size, "%s: %s: %s", config_where(c, NULL, wrong), wrong, reason);
    return wrong == NULL;
}

/* ---- keys ---- */

static struct keyset *begin_keys(struct generation *g, char *error, size_t size)
{
    const struct service **services = memory_alloc((g->n_pools + 1) * sizeof *services);
    for (size_t i = 0; i < g->n_pools; i++)
        services[i] = g->pools[i].service;
    const struct keyset_plan plan = {
        .config = g->config,
        .services = services,
        .n_services = g->n_pools,
        .jail = &g->jail,
        .walls = &g->keeper_walls,
        /* a ticket of a process that serves one session is of no use to anybody */
        .ticket_key = g->config->only == NULL ? &g->common->ticket_key : NULL,
        .background = g->common->background,
        .accuse_fd = g->common->accuse_fd};
    struct keyset *k = keyset_begin(&plan, error, size);
    free(services);
    return k;
}

static struct keyset *read_keys(struct generation *g, char *error, size_t size)
{
    struct keyset *k = begin_keys(g, error, size);
    if (k == NULL || keyset_finish(k, error, size))
        return k;
    keyset_destroy(k, true);
    return NULL;
}

static void use_keys(struct generation *g, struct keyset *k)
{
    g->keys = k;
    for (size_t i = 0; i < g->n_pools; i++) {
        g->pools[i].tls = k->services[i].tls;
        g->pools[i].destinations = k->services[i].destinations;
        g->pools[i].login = k->services[i].login;
        g->pools[i].request_fd = k->services[i].request_fds[0];
        atomic_store(&g->pools[i].stats->keys_ready, true);
    }
}

struct keyset *generation_renew_keys(struct generation *g, char *error, size_t error_size)
{
    struct keyset *old = g->keys, *new = read_keys(g, error, error_size);
    if (new == NULL)
        return NULL;
    use_keys(g, new);
    return old;
}

bool generation_begin_keys(struct generation *g, char *error, size_t error_size)
{
    g->keys = begin_keys(g, error, error_size);
    for (size_t i = 0; g->keys != NULL && i < g->n_pools; i++) {
        g->pools[i].request_fd = g->keys->services[i].request_fds[0]; /* for the jail to keep */
        g->pools[i].login = g->keys->services[i].login;
    }
    return g->keys != NULL;
}

bool generation_finish_keys(struct generation *g, char *error, size_t error_size)
{
    if (!keyset_finish(g->keys, error, error_size))
        return false;
    use_keys(g, g->keys);
    return true;
}

/* ---- life ---- */

struct generation *generation_prepare(struct config *config, const struct common *common,
                                      char *error, size_t error_size)
{
    const struct sandbox_needs keeper_needs = {.role = SANDBOX_KEEPER};
    struct generation *g = memory_alloc(sizeof *g);
    memory_keep_reserve(RESERVE_BYTES);
    *g = (struct generation){.config = config,
                             .common = common,
                             .jail.root_fd = -1,
                             .spawner.stop_fd = -1,
                             .resolver.stop_fd = -1,
                             .resolver_walls.landlock_fd = -1,
                             .keeper_walls.landlock_fd = -1};
    make_walls(&g->keeper_walls, &keeper_needs, config->only == NULL);
    if (prepare_jail(g, error, error_size) && make_pools(g, error, error_size) &&
        programs_prepare(g, error, error_size) && resolver_prepare(g, error, error_size))
        return g;
    generation_destroy(g, true);
    return NULL;
}

struct generation *generation_create(struct config *config, const struct common *common,
                                     char *error, size_t error_size)
{
    struct generation *g = generation_prepare(config, common, error, error_size);
    struct keyset *k = g != NULL ? read_keys(g, error, error_size) : NULL;
    if (k != NULL) {
        use_keys(g, k);
        return g;
    }
    generation_destroy(g, true);
    return NULL;
}

/* Who uses REDIRECT has no need of it. */
static void let_redirect(const struct pool *p)
{
    if (p->backends.redirected && !original_listen(&p->listeners))
        log_info("service=%s only REDIRECT can bring connections, TPROXY cannot: it needs root, or "
                 "CAP_NET_ADMIN",
                 p->service->name);
}

static bool listen_all(struct generation *g, const struct listener_sources *from, char *error,
                       size_t size)
{
    if (!listeners_share_out(g->common->handed, g->config, error, size))
        return false;
    for (size_t i = 0; i < g->n_pools; i++)
        if (!listeners_open(&g->pools[i].listeners, g->pools[i].service, from, error, size))
            return false;
    for (size_t i = 0; i < g->n_pools; i++)
        let_redirect(&g->pools[i]);
    for (size_t i = 0; i < g->n_pools; i++) {
        listeners_take_names(&g->pools[i].listeners, from);
        listeners_set_blocking(&g->pools[i].listeners);
    }
    return true;
}

bool generation_listen(struct generation *g, struct generation *old, char *error, size_t error_size)
{
    size_t n = old != NULL ? old->n_pools : 0;
    struct listeners **theirs = memory_alloc((n + 1) * sizeof(struct listeners *));
    for (size_t i = 0; i < n; i++)
        theirs[i] = &old->pools[i].listeners;
    const struct listener_sources from = {.handed = g->common->handed, .old = theirs, .n_old = n};
    bool ok = listen_all(g, &from, error, error_size);
    free(theirs);
    return ok;
}

void generation_close(struct generation *g)
{
    for (size_t i = 0; i < g->n_pools; i++) {
        zygote_end(&g->pools[i].zygote); /* it listens, too */
        listeners_close(&g->pools[i].listeners);
    }
}

void generation_destroy(struct generation *g, bool wait)
{
    if (g == NULL)
        return;
    generation_close(g);
    programs_stop(g, wait);
    resolver_stop(g);
    keyset_destroy(g->keys, wait);
    for (size_t i = 0; i < g->n_pools; i++) {
        backends_finish(&g->pools[i].backends);
        walls_destroy(&g->pools[i].walls);
        child_close(&g->pools[i].spawn_fds[0]);
        child_close(&g->pools[i].spawn_fds[1]);
        stats_destroy(g->pools[i].stats, g->pools[i].n_slots);
        ledger_destroy(g->pools[i].ledger);
        rates_destroy(g->pools[i].connections_rate);
        rates_destroy(g->pools[i].handshakes_rate);
    }
    walls_destroy(&g->keeper_walls);
    walls_destroy(&g->resolver_walls);
    route_book_destroy(g->routes);
    child_close(&g->jail.root_fd);
    free(g->pools);
    config_finish(g->config);
    free(g->config);
    free(g);
}
