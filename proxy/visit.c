/* SPDX-License-Identifier: ISC */
#include "proxy/visit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/child.h"
#include "proxy/identity.h"
#include "proxy/transport.h"
#include "proxy/waypoint.h"

enum { WORDS_SECONDS = 10 }; /* for what is put into a socket of our own, or into an empty one */

static void decide(struct visit *v, enum visit_result result, const char *reason)
{
    v->result = result;
    snprintf(v->reason, sizeof v->reason, "%s", reason);
}

/* ---- the visitor ---- */

/* The wire over its end: what is told to it goes nowhere. */
static ssize_t visitor_read(void *ctx, void *buf, size_t len)
{
    struct visit *v = ctx;
    ssize_t n = recv(v->client_fds[1], buf, len, 0);
    v->asked = true;
    v->left = v->left || n == 0;
    return n >= 0 ? n : errno == EAGAIN ? TRANSPORT_WANT_READ : TRANSPORT_ERROR;
}

static ssize_t visitor_write(void *ctx, const void *buf, size_t len)
{
    (void)ctx;
    (void)buf;
    return (ssize_t)len;
}

static int visitor_flush(void *ctx)
{
    (void)ctx;
    return 0;
}

static bool visitor_pending(void *ctx)
{
    (void)ctx;
    return false;
}

/* It has said everything before anybody listens, and goes. */
static bool receive_visitor(struct visit *v)
{
    const struct protocol *p = v->pool->service->protocol;
    struct wire voice;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, v->client_fds) != 0)
        return false;
    struct transport mouth = transport_of_fd(&v->client_fds[0]);
    wire_init(&voice, &mouth, -1);
    if (p != NULL && p->visit != NULL)
        p->visit(&voice, v->policy.hostname, wire_deadline(WORDS_SECONDS));
    bool ok = wire_flush(&voice, wire_deadline(WORDS_SECONDS)) == WIRE_OK &&
              shutdown(v->client_fds[0], SHUT_WR) == 0;
    wire_finish(&voice);
    struct transport ear = transport_of_fd(&v->client_fds[1]);
    ear.ctx = v;
    ear.read = visitor_read;
    ear.write = visitor_write;
    ear.flush = visitor_flush;
    ear.pending = visitor_pending;
    wire_init(&v->client, &ear, -1);
    return ok;
}

/* ---- the server ---- */

/* A server behind a PROXY header waits for one: our own end of the connection is the client. */
static bool introduce_ourselves(struct visit *v)
{
    char header[IDENTITY_WRITE_MAX];
    struct address own = {.len = sizeof own.sa};
    const struct identity_facts facts = {.client = &own, .server = v->address};
    enum identity_kind kind = (enum identity_kind)v->pool->service->identity;
    int64_t deadline = wire_deadline(WORDS_SECONDS);
    if (kind != IDENTITY_PROXY && kind != IDENTITY_PROXY2)
        return true;
    if (getsockname(v->backend_fd, (struct sockaddr *)&own.sa, &own.len) != 0)
        return false;
    size_t n = kind == IDENTITY_PROXY ? identity_write_v1(&facts, header)
                                      : identity_write_v2(&facts, header);
    if (wire_put(&v->backend, header, n, deadline) == WIRE_OK &&
        wire_flush(&v->backend, deadline) == WIRE_OK)
        return true;
    decide(v, VISIT_NO_ANSWER, "the PROXY header could not be sent");
    return false;
}

static bool reach_server(struct visit *v, unsigned first)
{
    char error[400];
    const struct attempt how = {.first = first,
                                .seconds = (unsigned)v->pool->service->timeout_connect,
                                .deadline = WIRE_FOREVER,
                                .cancel_fd = -1};
    v->backend_fd = backends_connect(v->backends, &how, &v->address, error, sizeof error);
    if (v->backend_fd < 0) {
        decide(v, VISIT_NO_ANSWER, error);
        return false;
    }
    struct transport t = transport_of_fd(&v->backend_fd);
    size_t n = (size_t)(v->address - v->backends->addresses);
    wire_init(&v->backend, &t, -1);
    v->to = &v->pool->destinations->items[v->backends->entries[n]];
    upstream_set(&v->upstream, v->to, waypoint_host_in(v->pool, v->backends, n), &v->policy);
    upstream_set_memory(&v->upstream, v->pool->memory, v->pool->service->name);
    if (!introduce_ourselves(v))
        return false;
    tap_insert(&v->tap, &v->backend);
    return true;
}

static void leave_server(struct visit *v)
{
    if (v->backend_fd >= 0)
        upstream_bye(&v->upstream);
    child_close(&v->backend_fd);
    wire_finish(&v->backend);
}

/* ---- what the dialogue is given ---- */

static enum tls_outcome secure(struct dialogue *d)
{
    struct visit *v = d->session;
    v->outcome = upstream_secure(&v->upstream, d, (unsigned)v->pool->service->timeout_handshake);
    v->shook_hands = true;
    tap_note(&v->tap, d->server_tls_active ? "TLS from here" : "the TLS handshake has failed");
    if (d->server_tls_active)
        tap_insert(&v->tap, &v->backend);
    return v->outcome;
}

static bool renew_backend(struct dialogue *d)
{
    struct visit *v = d->session;
    const struct destination *before = v->to;
    unsigned first = (unsigned)(v->address - v->backends->addresses);
    leave_server(v);
    upstream_drop(&v->upstream);
    d->server_tls_active = false;
    tap_note(&v->tap, "another connection");
    if (!reach_server(v, first))
        snprintf(d->reason, sizeof d->reason, "%.255s", v->reason);
    else if (v->to != before) /* as in a session: its level may be another one */
        snprintf(d->reason, sizeof d->reason, "backend cannot be reached a second time");
    else
        return true;
    return false;
}

/* ---- what has come of it ---- */

static void judge_failed_tls(struct visit *v)
{
    bool tried = v->upstream.tls != NULL && tls_error(v->upstream.tls)[0] != '\0';
    decide(v, v->outcome == OUTCOME_UNTRUSTED || tried ? VISIT_NOT_MET : VISIT_NO_ANSWER,
           v->dialogue.reason);
}

static void judge(struct visit *v, enum dialogue_end end)
{
    const struct dialogue *d = &v->dialogue;
    char reason[512];
    const struct protocol *p = v->pool->service->protocol;
    bool mute = p == NULL || p->visit == NULL; /* all that can be seen of it is that it goes */
    bool tls_failed = v->shook_hands && v->outcome != OUTCOME_SECURED;
    if (mute && v->left)
        decide(v, VISIT_MET, "");
    else if (end == DIALOGUE_PUMP || (end == DIALOGUE_DONE && v->asked))
        decide(v, VISIT_MET, d->reason);
    else if (tls_failed && !v->asked)
        judge_failed_tls(v);
    else if (end == DIALOGUE_REFUSED && d->heard_offer && !v->asked)
        decide(v, VISIT_NOT_MET, d->reason);
    else {
        snprintf(reason, sizeof reason, "%s, while %s",
                 d->reason[0] != '\0' ? d->reason : "the server ended the session", d->step);
        decide(v, VISIT_NO_ANSWER, reason);
    }
}

static enum dialogue_end talk(struct visit *v)
{
    const struct service *s = v->pool->service;
    struct dialogue *d = &v->dialogue;
    d->step = "shaking hands";
    if (s->implicit_tls == IMPLICIT_YES && secure(d) != OUTCOME_SECURED)
        return DIALOGUE_LOST;
    return s->protocol != NULL ? s->protocol->request(d) : DIALOGUE_PUMP;
}

/* ---- all ---- */

void visit_run(struct visit *v, const struct pool *pool, const struct backends *backends, FILE *out)
{
    const struct protocol *p = pool->service->protocol;
    *v = (struct visit){.pool = pool,
                        .backends = backends,
                        .policy = pool->policy,
                        .client_fds = {-1, -1},
                        .backend_fd = -1};
    v->dialogue =
        (struct dialogue){.client = &v->client,
                          .backend = &v->backend,
                          .policy = &v->policy,
                          .pretls_deadline = wire_deadline((unsigned)pool->service->timeout_pretls),
                          .secure = secure,
                          .renew_backend = renew_backend,
                          .session = v};
    tap_init(&v->tap, out, p != NULL ? p->may_show : NULL);
    if (!receive_visitor(v))
        decide(v, VISIT_NO_ANSWER, strerror(errno));
    else if (reach_server(v, 0))
        judge(v, talk(v));
    leave_server(v);
    tap_end(&v->tap);
}

void visit_finish(struct visit *v)
{
    upstream_drop(&v->upstream);
    wire_finish(&v->client);
    wire_finish(&v->backend);
    child_close(&v->client_fds[0]);
    child_close(&v->client_fds[1]);
}
