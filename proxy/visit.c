/* SPDX-License-Identifier: ISC */
#include "proxy/visit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocols/dialogue.h"
#include "proxy/child.h"
#include "proxy/demand.h"
#include "proxy/identity.h"
#include "proxy/original.h"
#include "proxy/transport.h"
#include "proxy/waypoint.h"

enum {
    WORDS_SECONDS = 10, /* for what is put into a socket of our own, or into an empty one */
    REASON_MAX = 512,
};

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
    v->dialogue.step = "sending the PROXY header";
    if (getsockname(v->backend_fd, (struct sockaddr *)&own.sa, &own.len) != 0)
        return false;
    size_t n = kind == IDENTITY_PROXY ? identity_write_v1(&facts, header)
                                      : identity_write_v2(&facts, header);
    return wire_put(&v->backend, header, n, deadline) == WIRE_OK &&
           wire_flush(&v->backend, deadline) == WIRE_OK;
}

static size_t number_of(const struct visit *v)
{
    return (size_t)(v->address - v->backends->addresses);
}

/* The tables of demands and destinations are in the same order. */
static const struct destination *destination_of(const struct visit *v)
{
    const struct service *s = v->pool->service;
    size_t n = v->backends->redirected ? (size_t)(demand_for(s, v->address) - s->demands)
                                       : v->backends->entries[number_of(v)];
    return &v->pool->destinations->items[n];
}

const char *visit_name(const struct visit *v)
{
    return v->to->name != NULL ? v->to->name : v->address->text;
}

/* Each server has its own, of bounded length. */
static void begin_tap(struct visit *v)
{
    const struct protocol *p = v->pool->service->protocol;
    tap_init(&v->tap, v->onlooker->dialogue, p != NULL ? p->may_show : NULL);
}

/* There is a connection, and nothing has been said on it: its turn begins. */
static bool begin_with_server(struct visit *v)
{
    struct transport t = transport_of_fd(&v->backend_fd);
    size_t n = number_of(v);
    wire_init(&v->backend, &t, -1);
    upstream_set(&v->upstream, v->to, waypoint_host_in(v->pool, v->backends, n), &v->policy);
    upstream_set_memory(&v->upstream, v->pool->memory, v->pool->service->name);
    turns_take(&v->turns, v->backends, &v->dialogue);
    if (!introduce_ourselves(v)) {
        dialogue_because(&v->dialogue, "the PROXY header could not be sent");
        return false;
    }
    tap_insert(&v->tap, &v->backend);
    return true;
}

/* A redirected client has one address, and who has several tries them itself. */
static int connect_redirected(struct visit *v, bool *used, char *error, size_t size)
{
    const struct backends *b = v->backends;
    struct address own;
    int fd = -1;
    for (size_t i = 0; fd < 0 && i < b->count; i++) {
        if (used[i])
            continue;
        used[i] = true;
        fd = original_connect(b, &b->addresses[i], (unsigned)v->pool->service->timeout_connect, -1,
                              &own, error, size);
        if (fd >= 0)
            v->address = &b->addresses[i];
    }
    return fd;
}

/* `used`, `deadline`: see struct attempt. */
static bool connect_server(struct visit *v, unsigned first, bool *used, int64_t deadline,
                           char *error, size_t size)
{
    const struct attempt how = {.first = first,
                                .seconds = (unsigned)v->pool->service->timeout_connect,
                                .deadline = deadline,
                                .cancel_fd = -1,
                                .used = used};
    v->backend_fd = v->backends->redirected
                        ? connect_redirected(v, used, error, size)
                        : backends_connect(v->backends, &how, &v->address, error, size);
    return v->backend_fd >= 0;
}

/* As a session does where it logs that another backend is used instead. */
static void arrive(struct visit *v, const char *error)
{
    const struct onlooker *o = v->onlooker;
    v->to = destination_of(v);
    if (error[0] != '\0')
        o->passes(o->ctx, error);
    o->arrives(o->ctx, v);
}

static void leave_server(struct visit *v)
{
    if (v->backend_fd >= 0)
        upstream_bye(&v->upstream);
    child_close(&v->backend_fd);
    wire_finish(&v->backend);
}

/* ---- the next one ---- */

static void judge(struct visit *v, enum dialogue_end end);

static bool may_go_on(const struct visit *v)
{
    return dialogue_client_knows_nothing(&v->dialogue) &&
           turns_are_left(&v->turns, v->backends, wire_now());
}

/* False: the visit is still about the one that was reached last. */
static bool connect_next(struct visit *v)
{
    char error[REASON_MAX];
    turns_move(&v->turns);
    if (!connect_server(v, 0, v->turns.used, v->turns.until, error, sizeof error)) {
        v->onlooker->passes(v->onlooker->ctx, error);
        return false;
    }
    upstream_drop(&v->upstream);
    v->upstream = (struct upstream){0};
    dialogue_forget_server(&v->dialogue);
    v->shook_hands = false;
    begin_tap(v);
    arrive(v, error);
    return true;
}

static bool go_to_next(struct visit *v)
{
    do {
        if (!may_go_on(v))
            return false;
        tap_end(&v->tap);
        judge(v, DIALOGUE_GO_ON);
        v->onlooker->moves_on(v->onlooker->ctx, v);
        leave_server(v);
        if (!connect_next(v))
            return false;
    } while (!begin_with_server(v));
    return true;
}

static bool reach_server(struct visit *v)
{
    char error[REASON_MAX];
    if (!connect_server(v, 0, v->turns.used, turns_first_deadline(&v->turns, v->backends), error,
                        sizeof error)) {
        decide(v, VISIT_NO_ANSWER, error);
        return false;
    }
    arrive(v, error);
    return begin_with_server(v) || go_to_next(v);
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

/* TLS from the first byte: nothing has been said yet by anybody. */
static bool is_secured_at_once(struct visit *v)
{
    if (v->pool->service->implicit_tls != IMPLICIT_YES)
        return true;
    v->dialogue.step = "shaking hands";
    return secure(&v->dialogue) == OUTCOME_SECURED;
}

static bool next_backend(struct dialogue *d)
{
    struct visit *v = d->session;
    while (go_to_next(v))
        if (is_secured_at_once(v))
            return true;
    return false;
}

/* As in a session: to the same address, of which everything stays true but its TLS. */
static bool renew_backend(struct dialogue *d)
{
    struct visit *v = d->session;
    bool others[BACKENDS_MAX];
    char error[REASON_MAX];
    unsigned first = (unsigned)number_of(v);
    turns_only(others, first);
    leave_server(v);
    upstream_drop(&v->upstream);
    d->server_tls_active = d->server_verified = false;
    tap_note(&v->tap, "another connection");
    if (connect_server(v, first, others, WIRE_FOREVER, error, sizeof error))
        return begin_with_server(v);
    snprintf(d->reason, sizeof d->reason, "%.255s", error);
    return false;
}

/* The spawner's log is told of no client, for there is none. */
static bool take_secret(struct dialogue *d)
{
    static const struct session_facts nobody;
    struct visit *v = d->session;
    return credentials_take_token(&v->credentials, v->pool, &nobody, d);
}

static void drop_secret(struct dialogue *d)
{
    struct visit *v = d->session;
    credentials_drop_token(&v->credentials);
}

/* ---- what has come of it ---- */

static void judge_failed_tls(struct visit *v)
{
    bool tried = v->upstream.tls != NULL && tls_error(v->upstream.tls)[0] != '\0';
    decide(v, v->outcome == OUTCOME_UNTRUSTED || tried ? VISIT_NOT_MET : VISIT_NO_ANSWER,
           v->dialogue.reason);
}

/* DIALOGUE_GO_ON: the dialogue goes on, with the next server; that this one was refused shows then
 * in that it was told QUIT. */
static void judge(struct visit *v, enum dialogue_end end)
{
    const struct dialogue *d = &v->dialogue;
    char reason[REASON_MAX];
    const struct protocol *p = v->pool->service->protocol;
    bool mute = p == NULL || p->visit == NULL; /* all that can be seen of it is that it goes */
    bool tls_failed = v->shook_hands && v->outcome != OUTCOME_SECURED;
    bool refused = end == DIALOGUE_REFUSED || (end == DIALOGUE_GO_ON && d->said_quit);
    if (mute && v->left)
        decide(v, VISIT_MET, "");
    else if (end == DIALOGUE_PUMP || (end == DIALOGUE_DONE && v->asked))
        decide(v, VISIT_MET, d->reason);
    else if (tls_failed && !v->asked)
        judge_failed_tls(v);
    else if (refused && (d->heard_offer || d->logging_in) && !v->asked)
        decide(v, VISIT_NOT_MET, d->reason);
    else {
        snprintf(reason, sizeof reason, "%s, while %s",
                 d->reason[0] != '\0' ? d->reason : "the server ended the session", d->step);
        decide(v, VISIT_NO_ANSWER, reason);
    }
}

static enum dialogue_end talk(struct visit *v)
{
    const struct protocol *p = v->pool->service->protocol;
    struct dialogue *d = &v->dialogue;
    d->step = "shaking hands";
    if (!is_secured_at_once(v) && !next_backend(d))
        return DIALOGUE_LOST;
    return p != NULL ? p->request(d) : DIALOGUE_PUMP;
}

/* ---- all ---- */

static void begin(struct visit *v, const struct pool *pool)
{
    int64_t now = wire_now();
    v->dialogue =
        (struct dialogue){.client = &v->client,
                          .backend = &v->backend,
                          .policy = &v->policy,
                          .step = "connecting to the server",
                          .pretls_deadline = wire_deadline((unsigned)pool->service->timeout_pretls),
                          .login = pool->login != NULL ? &v->credentials.login : NULL,
                          .secure = secure,
                          .renew_backend = renew_backend,
                          .next_backend = next_backend,
                          .take_secret = take_secret,
                          .drop_secret = drop_secret,
                          .session = v};
    if (pool->login != NULL)
        v->credentials.login = pool->login->words;
    turns_begin(&v->turns, now, v->dialogue.pretls_deadline);
}

void visit_run(struct visit *v, const struct pool *pool, const struct backends *backends,
               const struct onlooker *onlooker)
{
    *v = (struct visit){.pool = pool,
                        .backends = backends,
                        .onlooker = onlooker,
                        .policy = pool->policy,
                        .client_fds = {-1, -1},
                        .backend_fd = -1};
    begin(v, pool);
    begin_tap(v);
    if (!receive_visitor(v)) {
        decide(v, VISIT_NO_ANSWER, strerror(errno));
    } else {
        enum dialogue_end end = reach_server(v) ? talk(v) : DIALOGUE_LOST;
        if (v->address != NULL)
            judge(v, end);
    }
    leave_server(v);
    tap_end(&v->tap);
}

void visit_finish(struct visit *v)
{
    upstream_drop(&v->upstream);
    credentials_drop_token(&v->credentials);
    wire_finish(&v->client);
    wire_finish(&v->backend);
    child_close(&v->client_fds[0]);
    child_close(&v->client_fds[1]);
}
