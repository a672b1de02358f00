/* SPDX-License-Identifier: ISC */
#include "proxy/backend.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "protocols/wire.h"
#include "proxy/dial.h"
#include "proxy/nexthop.h"
#include "proxy/original.h"
#include "proxy/spawned.h"
#include "proxy/transparent.h"
#include "proxy/tunnel.h"

static_assert((int)BACKENDS_MAX <= (int)DIAL_MAX, "all of one host can be tried");

static void clear_port(struct address *a)
{
    if (a->sa.ss_family == AF_INET)
        ((struct sockaddr_in *)&a->sa)->sin_port = 0;
    else if (a->sa.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&a->sa)->sin6_port = 0;
}

static bool resolve_local(struct backends *b, const struct service *s, char *error, size_t size)
{
    char text[300], reason[200];
    if (s->local == NULL)
        return true;
    snprintf(text, sizeof text, "%s:1", s->local); /* the port does not matter */
    if (address_resolve(text, false, &b->local, 1, reason, sizeof reason) == 0) {
        snprintf(error, size, "%s: local: %s", s->where, reason);
        return false;
    }
    clear_port(&b->local);
    return true;
}

static bool prepare_via(struct backends *b, const struct config *c, const struct service *s,
                        char *error, size_t size)
{
    if (s->connect.count > BACKENDS_MAX) {
        snprintf(error, size, "%s: connect: more than %d addresses", s->where, BACKENDS_MAX);
        return false;
    }
    for (; b->count < s->connect.count; b->count++) {
        struct address *a = &b->addresses[b->count];
        snprintf(a->text, sizeof a->text, "%s", s->connect.items[b->count].text);
        b->entries[b->count] = (unsigned char)b->count;
    }
    b->via = via_create(c, s, error, size);
    return b->via != NULL && resolve_local(b, s, error, size);
}

void backends_finish(struct backends *b)
{
    via_destroy(b->via);
    b->via = NULL;
}

bool backends_resolve(struct backends *b, const struct config *c, const struct service *s,
                      char *error, size_t size)
{
    char reason[200];
    *b = (struct backends){0};
    if (s->via != NULL)
        return prepare_via(b, c, s, error, size);
    if (s->exec != NULL) {
        b->program = true;
        b->count = 1;
        snprintf(b->addresses[0].text, sizeof b->addresses[0].text, "exec:%s", s->exec);
        return true;
    }
    if (s->redirection == REDIRECTION_DESTINATION)
        return original_ports(b, s, error, size) && resolve_local(b, s, error, size);
    for (size_t i = 0; i < s->connect.count; i++) {
        const struct value *v = &s->connect.items[i];
        if (b->count == BACKENDS_MAX || i == BACKENDS_MAX) {
            snprintf(error, size, "%s: connect: more than %d addresses", v->where, BACKENDS_MAX);
            return false;
        }
        if (nexthop_is_watched(s, i)) { /* the first text is for the log until there is more */
            if (b->count == 0)
                snprintf(b->addresses[0].text, sizeof b->addresses[0].text, "%s", v->text);
            continue;
        }
        size_t n = address_resolve(v->text, false, &b->addresses[b->count], BACKENDS_MAX - b->count,
                                   reason, sizeof reason);
        if (n == 0) {
            snprintf(error, size, "%s: connect: %s", v->where, reason);
            return false;
        }
        memset(b->entries + b->count, (int)i, n);
        b->any_path = b->any_path || v->text[0] == '/';
        b->count += n;
    }
    return resolve_local(b, s, error, size);
}

/* A Unix socket whose backlog is full says EAGAIN and cannot be polled: wait inside connect(2). */
static int connect_path(int fd, const struct address *a, int64_t deadline)
{
    int64_t left = deadline - wire_now();
    const struct timeval wait = {.tv_sec = left / 1000 + 1};
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0 ||
        connect(fd, (const struct sockaddr *)&a->sa, a->len) != 0)
        return errno == EAGAIN ? ETIMEDOUT : errno;
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}

/* Whose connections these are, for dial.h. */
struct caller {
    const struct disguise *as; /* NULL: our own */
    struct address source;     /* len 0: any */
};

static int bind_source(int fd, const struct address *source)
{
    if (bind(fd, (const struct sockaddr *)&source->sa, source->len) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int open_socket(void *ctx, int family)
{
    const struct caller *c = ctx;
    bool same_kind = c->source.len > 0 && c->source.sa.ss_family == family;
    int fd = -1;
    if (c->as == NULL)
        fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    else if (same_kind)
        fd = transparent_take(c->as->sockets, family);
    else
        errno = EAFNOSUPPORT; /* never in our own name: the backend would take the client for us */
    return fd >= 0 && same_kind ? bind_source(fd, &c->source) : fd;
}

static const char *explain(int error, const struct disguise *as)
{
    return as != NULL && error == EAFNOSUPPORT
               ? "the client's address is not of this kind (IPv4, IPv6)"
               : strerror(error);
}

/* A way to one of the backends, and what went wrong with all that were tried, as one sentence. */
struct search {
    const struct backends *backends;
    const struct attempt *how;
    struct dial dial;
    const struct address *found;
    bool over; /* no other entry is worth a try */
    char *text;
    size_t size, used;
};

/* `proxy`: NULL, or the one of its addresses. */
static void complain(struct search *s, const struct address *a, const struct address *proxy,
                     const char *reason)
{
    int n = snprintf(s->text + s->used, s->size - s->used, "%sbackend %s: %s%s%s%s",
                     s->used > 0 ? "; " : "", a->text, proxy != NULL ? "proxy " : "",
                     proxy != NULL ? proxy->text : "", proxy != NULL ? ": " : "", reason);
    s->used = n > 0 && s->used + (size_t)n < s->size ? s->used + (size_t)n : s->size - 1;
}

/* Complains about all that have been dialled; `to`: NULL, or the server behind these proxies. */
static void complain_of_all(struct search *s, const struct address *to)
{
    const struct dial *d = &s->dial;
    for (size_t i = 0; i < d->count; i++) {
        const char *reason = explain(d->errors[i], s->how->as);
        s->over = s->over || d->errors[i] == ECANCELED;
        if (d->errors[i] != 0 && to != NULL)
            complain(s, to, d->to[i], reason);
        else if (d->errors[i] != 0)
            complain(s, d->to[i], NULL, reason);
    }
}

/* Of one address, or of one server behind a proxy. */
static int64_t deadline_of_one(const struct search *s)
{
    int64_t own = wire_deadline(s->how->seconds);
    return own < s->how->deadline ? own : s->how->deadline;
}

static bool is_used(const struct search *s, size_t n)
{
    return s->how->used != NULL && s->how->used[n];
}

static void note_use(struct search *s, size_t n)
{
    if (s->how->used != NULL)
        s->how->used[n] = true;
}

static int connect_to_path(struct search *s, size_t n)
{
    const struct address *a = &s->backends->addresses[n];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? errno : connect_path(fd, a, deadline_of_one(s));
    note_use(s, n);
    if (error == 0) {
        s->found = a;
        return fd;
    }
    complain(s, a, NULL, strerror(error));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* A proxy that cannot be reached cannot be for another server either. */
static int connect_through(struct search *s, const struct via *v, size_t n)
{
    const struct address *to = &s->backends->addresses[n];
    struct dial *d = &s->dial;
    char reason[128];
    size_t winner;
    d->deadline = deadline_of_one(s);
    note_use(s, n);
    dial_order(d, v->addresses, v->count, 0);
    int fd = dial_run(d, &winner);
    if (fd < 0) {
        complain_of_all(s, to);
        s->over = true;
        return -1;
    }
    enum tunnel_end end = tunnel_open(v, &v->targets[s->backends->entries[n]], fd, d->deadline,
                                      d->cancel_fd, reason, sizeof reason);
    if (end == TUNNEL_OPEN) {
        s->found = to;
        return fd;
    }
    complain(s, to, d->to[winner], reason);
    s->over = end == TUNNEL_CANCELLED;
    close(fd);
    return -1;
}

/* The addresses of one entry of `connect`, or of one of the hosts it leads to (MX). */
struct group {
    size_t begin, count;
};

static bool is_same_host(const struct backends *b, size_t i, size_t n)
{
    return b->entries[i] == b->entries[n] && b->hosts[i] == b->hosts[n];
}

static struct group group_of(const struct backends *b, size_t n)
{
    struct group g = {.begin = n, .count = 1};
    while (g.begin > 0 && is_same_host(b, g.begin - 1, n))
        g.begin--;
    while (g.begin + g.count < b->count && is_same_host(b, g.begin + g.count, n))
        g.count++;
    return g;
}

static size_t number_of(const struct search *s, const struct address *a)
{
    return (size_t)(a - s->backends->addresses);
}

static void leave_used_out(struct search *s)
{
    struct dial *d = &s->dial;
    size_t kept = 0;
    for (size_t i = 0; i < d->count; i++)
        if (!is_used(s, number_of(s, d->to[i])))
            d->to[kept++] = d->to[i];
    d->count = kept;
}

/* Those that were still silent when another answered have not had their chance. */
static int dial_group(struct search *s)
{
    struct dial *d = &s->dial;
    size_t winner;
    int fd = dial_run(d, &winner);
    for (size_t i = 0; i < d->count; i++)
        if (d->errors[i] != 0)
            note_use(s, number_of(s, d->to[i]));
    if (fd < 0) {
        complain_of_all(s, NULL);
        return -1;
    }
    s->found = d->to[winner];
    note_use(s, number_of(s, s->found));
    return fd;
}

/* Beginning with address `n`, which is one of them. */
static int connect_to_group(struct search *s, const struct group *g, size_t n)
{
    const struct backends *b = s->backends;
    bool alone = b->via != NULL || b->addresses[n].sa.ss_family == AF_UNIX;
    if (alone && is_used(s, n))
        return -1;
    if (alone)
        return b->via != NULL ? connect_through(s, b->via, n) : connect_to_path(s, n);
    dial_order(&s->dial, &b->addresses[g->begin], g->count, n - g->begin);
    leave_used_out(s);
    return dial_group(s);
}

int backends_connect(const struct backends *b, const struct attempt *how,
                     const struct address **chosen, char *error, size_t size)
{
    const struct disguise *as = how->as;
    struct caller caller = {.as = as,
                            .source = as != NULL ? address_unmapped(as->client) : b->local};
    struct search s = {.backends = b,
                       .how = how,
                       .dial = {.seconds = how->seconds,
                                .deadline = how->deadline,
                                .cancel_fd = how->cancel_fd,
                                .open = open_socket,
                                .ctx = &caller},
                       .text = error,
                       .size = size};
    size_t n = how->first % b->count;
    int fd = -1;
    clear_port(&caller.source);
    error[0] = '\0';
    for (size_t tried = 0; fd < 0 && tried < b->count && !s.over && wire_now() < how->deadline;) {
        const struct group g = group_of(b, n);
        fd = connect_to_group(&s, &g, n);
        tried += g.count;
        n = (g.begin + g.count) % b->count;
    }
    if (fd >= 0)
        *chosen = s.found;
    return fd;
}

/* ---- programs ---- */

int backends_start_program(const struct backends *b, int request_fd,
                           const struct session_facts *facts, unsigned seconds, int cancel_fd,
                           int *line_fd, char *error, size_t size)
{
    struct spawned p;
    int r = spawned_start(&p, request_fd, facts, wire_deadline(seconds), cancel_fd);
    if (r == 0) {
        *line_fd = p.line_fd;
        return p.stream_fd;
    }
    snprintf(error, size, "backend %s: %s", b->addresses[0].text, strerror(r));
    return -1;
}
