/* SPDX-License-Identifier: ISC */
#include "proxy/waypoint.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "protocols/memory.h"
#include "protocols/wire.h"
#include "proxy/demand.h"
#include "proxy/nexthop.h"
#include "proxy/route.h"

enum { LOOK_AGAIN_MS = 20 };

struct taking {
    struct pool *pool;
    int64_t deadline;
    char *reason;
    size_t reason_size;
    bool null_mx;
};

/* The first reason is told. */
__attribute__((format(printf, 2, 3))) static void complain(struct taking *t, const char *format,
                                                           ...)
{
    va_list ap;
    if (t->reason[0] != '\0')
        return;
    va_start(ap, format);
    vsnprintf(t->reason, t->reason_size, format, ap);
    va_end(ap);
}

static enum server_level level_of(const struct pool *p, size_t entry)
{
    return p->service->client ? p->service->demands[entry].level : LEVEL_NONE;
}

/* A failure is told at once, for the client comes back anyway; what else is to be believed about
 * DANE must be fresh. */
static bool is_good(const struct route *r, bool dane)
{
    return r->state != ROUTE_UNKNOWN &&
           (!dane || r->state == ROUTE_FAILED || wire_now() < r->good_until);
}

/* A wait that the end of the program cuts short. False: it did, or the deadline has come. */
static bool wait_a_little(const struct taking *t)
{
    struct pollfd nothing[2];
    return wire_now() < t->deadline &&
           wire_poll(nothing, 0, t->pool->cancel_fd, wire_now() + LOOK_AGAIN_MS) == WIRE_TIMEOUT;
}

static bool read_route(struct taking *t, size_t number, bool dane, struct route *out)
{
    while (!route_book_read(t->pool->routes, number, out) || !is_good(out, dane))
        if (!wait_a_little(t))
            return false;
    return true;
}

/* ---- one host ---- */

static bool may_be_used(struct taking *t, const struct route_host *h, enum server_level level)
{
    struct dane_record records[ROUTE_RECORDS];
    size_t usable = 0;
    if (!server_level_is_dane(level))
        return true;
    if (h->dane == HOST_DANE_FAILED) {
        complain(t, "dnssec-invalid: %s", h->why);
        return false;
    }
    if (h->dane == HOST_DANE_FOUND)
        (void)route_records(h, records, &usable);
    if (level == LEVEL_DANE || usable > 0)
        return true;
    if (h->dane == HOST_DANE_FOUND)
        complain(t, "dane-required: no TLSA record of %.100s is usable", h->base);
    else
        complain(t, "dane-required: %s", h->why);
    return false;
}

static void add_addresses(struct taking *t, const struct route_host *h, size_t entry, size_t host,
                          uint16_t port)
{
    struct backends *b = &t->pool->backends;
    for (size_t i = 0; i < h->n_addresses && b->count < BACKENDS_MAX; i++) {
        b->addresses[b->count] =
            address_of(h->addresses[i].v6 ? AF_INET6 : AF_INET, h->addresses[i].ip, port);
        b->entries[b->count] = (unsigned char)entry;
        b->hosts[b->count++] = (unsigned char)(host + 1);
    }
}

/* ---- one destination ---- */

static void take_route(struct taking *t, size_t entry, const struct route *r, uint16_t port)
{
    enum server_level level = level_of(t->pool, entry);
    switch (r->state) {
    case ROUTE_FOUND:
        for (size_t i = 0; i < r->n_hosts; i++)
            if (may_be_used(t, &r->hosts[i], level))
                add_addresses(t, &r->hosts[i], entry, i, port);
        return;
    case ROUTE_NULL_MX:
        t->null_mx = true;
        break;
    case ROUTE_FAILED:
        complain(t, "%s%s", server_level_is_dane(level) ? "dnssec-invalid: " : "", r->why);
        return;
    case ROUTE_UNKNOWN:
    case ROUTE_ABSENT:
        break;
    }
    complain(t, "%s", r->why);
}

static void take_watched(struct taking *t, size_t entry, size_t number)
{
    struct route *r = &t->pool->known[number - t->pool->first_route];
    const char *text = t->pool->service->connect.items[entry].text;
    struct nexthop to;
    char error[128];
    if (!nexthop_parse(text, &to, error, sizeof error))
        return;
    if (read_route(t, number, server_level_is_dane(level_of(t->pool, entry)), r))
        take_route(t, entry, r, to.port);
    else
        complain(t, "the resolver has not found out yet where %.100s leads", text);
}

/* Those that were looked up at start stay as they were. */
static void take_fixed(struct taking *t, size_t entry)
{
    const struct backends *from = t->pool->fixed;
    struct backends *b = &t->pool->backends;
    for (size_t i = 0; i < from->count && b->count < BACKENDS_MAX; i++) {
        if (from->entries[i] != entry)
            continue;
        b->addresses[b->count] = from->addresses[i];
        b->entries[b->count] = from->entries[i];
        b->hosts[b->count++] = 0;
    }
}

/* ---- all of them ---- */

static void begin(struct taking *t)
{
    struct pool *p = t->pool;
    if (p->known == NULL) {
        p->known = memory_alloc(p->service->connect.count * sizeof *p->known);
        p->fixed = memory_alloc(sizeof *p->fixed);
        *p->fixed = p->backends;
    }
    p->backends.count = 0;
}

enum way waypoint_take(struct pool *pool, int64_t deadline, char *reason, size_t reason_size)
{
    struct taking t = {
        .pool = pool, .deadline = deadline, .reason = reason, .reason_size = reason_size};
    size_t number = pool->first_route;
    if (pool->routes == NULL)
        return WAY_FOUND;
    reason[0] = '\0';
    begin(&t);
    for (size_t i = 0; i < pool->service->connect.count; i++) {
        if (nexthop_is_watched(pool->service, i))
            take_watched(&t, i, number++);
        else
            take_fixed(&t, i);
    }
    if (pool->backends.count > 0) {
        reason[0] = '\0';
        return WAY_FOUND;
    }
    return t.null_mx ? WAY_NULL_MX : WAY_NONE;
}

const struct route_host *waypoint_host_in(const struct pool *pool, const struct backends *b,
                                          size_t i)
{
    size_t n = 0;
    if (pool->known == NULL || b->hosts[i] == 0)
        return NULL;
    for (size_t k = 0; k < b->entries[i]; k++)
        n += nexthop_is_watched(pool->service, k);
    return &pool->known[n].hosts[b->hosts[i] - 1];
}

const struct route_host *waypoint_host(const struct pool *pool, size_t i)
{
    return waypoint_host_in(pool, &pool->backends, i);
}
