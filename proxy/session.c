/* SPDX-License-Identifier: ISC */
#include "proxy/session.h"

#include <ctype.h>
#include <stdarg.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/handshake.h"
#include "proxy/log.h"
#include "proxy/pump.h"
#include "proxy/transport.h"
#include "proxy/upstream.h"

enum {
    GOODBYE_SECONDS = 10,          /* for the last bytes to a client */
    REFUSED_SECONDS = 2,           /* for a client that was not served to close */
    SORRY_MAX = 200,               /* bytes of a reason that is told to a client */
    LINGER_MAX = 64 * 1024 * 1024, /* bytes of a client that talks on after we have closed */
};

struct session {
    struct pool *pool;
    const struct address *peer;
    const struct address *backend_address; /* NULL until there is one */
    int client_fd, backend_fd;             /* -1: none */
    struct wire client, backend;
    struct tls *tls;          /* the client's */
    struct upstream upstream; /* client = yes: TLS of the server */
    struct policy policy;
    struct dialogue dialogue;
    enum dialogue_end end;
    bool refused; /* never served: there were too many */
    int64_t began;
};

static const char *end_word(enum dialogue_end end)
{
    switch (end) {
    case DIALOGUE_DONE:
    case DIALOGUE_PUMP:
        return "done";
    case DIALOGUE_REFUSED:
        return "refused";
    case DIALOGUE_LOST:
    case DIALOGUE_GO_ON:
        return "lost";
    }
    return "?";
}

__attribute__((format(printf, 3, 4))) static void
finish_with(struct session *s, enum dialogue_end end, const char *format, ...)
{
    va_list ap;
    s->end = end;
    va_start(ap, format);
    vsnprintf(s->dialogue.reason, sizeof s->dialogue.reason, format, ap);
    va_end(ap);
}

/* ---- the log line ---- */

/* A name that a peer sent, as one word without surprises. */
static const char *as_word(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; *text != '\0' && n + 1 < size; text++)
        out[n++] = isalnum((unsigned char)*text) || strchr("-_.:*@", *text) != NULL ? *text : '?';
    out[n] = '\0';
    return out;
}

static void summarize(const struct session *s)
{
    struct tls_info tls = {.version = "-", .cipher = "-", .group = "-", .sni = "-", .alpn = "-"};
    const struct dialogue *d = &s->dialogue;
    char sni[128], alpn[32], server[UPSTREAM_DESCRIPTION];
    int64_t ms = wire_now() - s->began;
    if (s->tls != NULL)
        tls_get_info(s->tls, &tls);
    upstream_describe(&s->upstream, d->offered_tls, server, sizeof server);
    log_notice("service=%s client=%s backend=%s tls=%s cipher=%s group=%s resumed=%s sni=%s "
               "alpn=%s outcome=%s step=\"%s\" mail=%u rcpt=%u accepted=%u in=%llu out=%llu "
               "seconds=%lld.%03lld%s%s%s%s",
               s->pool->service->name, s->peer->text,
               s->backend_address != NULL ? s->backend_address->text : "-", tls.version, tls.cipher,
               tls.group, tls.resumed ? "yes" : "no", as_word(tls.sni, sni, sizeof sni),
               as_word(tls.alpn, alpn, sizeof alpn), end_word(s->end), d->step, d->tally.senders,
               d->tally.recipients, d->tally.messages, (unsigned long long)s->client.received,
               (unsigned long long)s->client.sent, (long long)(ms / 1000), (long long)(ms % 1000),
               server, d->reason[0] != '\0' ? " reason=\"" : "", d->reason,
               d->reason[0] != '\0' ? "\"" : "");
}

/* ---- TLS ---- */

static bool handshake(struct session *s)
{
    int64_t deadline = wire_deadline((unsigned)s->pool->service->timeout_handshake);
    s->end = DIALOGUE_LOST;
    return handshake_run(s->tls, s->client_fd, "client", s->pool->cancel_fd, deadline,
                         s->dialogue.reason, sizeof s->dialogue.reason);
}

/* Begins TLS on the client's wire: what that still holds belongs to the handshake. */
static bool start_tls(struct session *s)
{
    const char *early;
    size_t n = wire_buffered(&s->client, &early);
    s->tls = tls_create(s->pool->tls, s->client_fd);
    tls_feed(s->tls, early, n);
    wire_consume(&s->client, n);
    if (!handshake(s))
        return false;
    struct transport t = transport_of_tls(s->tls, s->client_fd);
    wire_set_transport(&s->client, &t);
    s->dialogue.tls_active = true;
    return true;
}

static bool dialogue_start_tls(struct dialogue *d)
{
    return start_tls(d->session);
}

/* Without a keeper that can load the keys a handshake would fail; STARTTLS is answered 454. */
static bool dialogue_tls_ready(struct dialogue *d)
{
    const struct session *s = d->session;
    return s->pool->tls != NULL && atomic_load(&s->pool->stats->keys_ready);
}

/* implicitTls = auto: a client that speaks first, with a TLS record, wants TLS; one that waits
 * for the greeting gets it after the wait. */
static bool client_begins_with_tls(const struct session *s)
{
    enum { TLS_HANDSHAKE_RECORD = 22 };
    struct pollfd fds[2] = {{.fd = s->client_fd, .events = POLLIN}};
    unsigned char first;
    int64_t deadline = wire_now() + s->pool->service->implicit_tls_wait_ms;
    return wire_poll(fds, 1, s->pool->cancel_fd, deadline) == WIRE_OK &&
           recv(s->client_fd, &first, 1, MSG_PEEK) == 1 && first == TLS_HANDSHAKE_RECORD;
}

static bool begins_with_tls(const struct session *s)
{
    if (s->pool->service->client)
        return false; /* its word is for the server */
    switch ((enum implicit_tls)s->pool->service->implicit_tls) {
    case IMPLICIT_NO:
        return false;
    case IMPLICIT_YES:
        return true;
    case IMPLICIT_AUTO:
        return client_begins_with_tls(s);
    }
    return false;
}

/* ---- the acts ---- */

/* In the protocol's words; who speaks no protocol is just closed. */
static void tell_sorry(struct session *s, const char *text)
{
    const struct protocol *p = s->pool->service->protocol;
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    if (p == NULL)
        return;
    p->sorry(&s->client, s->pool->policy.hostname, text, deadline);
    (void)wire_flush(&s->client, deadline);
}

/* Whoever has been reached before is asked again. */
static unsigned first_backend(const struct session *s)
{
    if (s->backend_address != NULL)
        return (unsigned)(s->backend_address - s->pool->backends.addresses);
    return s->pool->service->failover == FAILOVER_RR ? atomic_fetch_add(&s->pool->stats->turn, 1)
                                                     : 0;
}

static const struct destination *destination_of(const struct session *s)
{
    size_t n = (size_t)(s->backend_address - s->pool->backends.addresses);
    return &s->pool->destinations->items[s->pool->backends.entries[n]];
}

static bool connect_backend(struct session *s)
{
    const struct service *service = s->pool->service;
    unsigned first = first_backend(s);
    char error[200];
    s->dialogue.step = "connecting to the backend";
    s->backend_fd = backends_connect(&s->pool->backends, first, (unsigned)service->timeout_connect,
                                     s->pool->cancel_fd, &s->backend_address, error, sizeof error);
    if (s->backend_fd < 0) {
        finish_with(s, DIALOGUE_LOST, "%s", error);
        return false;
    }
    struct transport t = transport_of_fd(&s->backend_fd);
    wire_init(&s->backend, &t, s->pool->cancel_fd);
    if (service->client)
        upstream_set(&s->upstream, destination_of(s), &s->policy);
    return true;
}

static bool reach_backend(struct session *s)
{
    if (connect_backend(s))
        return true;
    tell_sorry(s, "Mail server cannot be reached, try again later");
    return false;
}

static bool dialogue_renew_backend(struct dialogue *d)
{
    struct session *s = d->session;
    const struct destination *before = s->upstream.to;
    upstream_drop(&s->upstream);
    d->server_tls_active = false;
    close(s->backend_fd);
    s->backend_fd = -1;
    wire_finish(&s->backend);
    if (!connect_backend(s))
        return false;
    if (s->upstream.to == before)
        return true;
    /* What may go in clear to the one may not to the other. */
    finish_with(s, DIALOGUE_LOST, "backend cannot be reached a second time");
    return false;
}

static enum tls_outcome dialogue_secure(struct dialogue *d)
{
    struct session *s = d->session;
    int64_t deadline = wire_deadline((unsigned)s->pool->service->timeout_handshake);
    if (deadline > d->pretls_deadline)
        deadline = d->pretls_deadline;
    enum tls_outcome outcome =
        upstream_secure(&s->upstream, &s->backend, deadline, d->reason, sizeof d->reason);
    d->server_tls_active = outcome != OUTCOME_BROKEN;
    return outcome;
}

/* TLS from the first byte towards the server: nothing has been said yet by anybody. */
static bool secure_at_once(struct session *s)
{
    struct dialogue *d = &s->dialogue;
    char text[SORRY_MAX + 1];
    d->step = "TLS handshake with the backend";
    enum tls_outcome outcome = dialogue_secure(d);
    if (outcome == OUTCOME_SECURED)
        return true;
    s->end = outcome == OUTCOME_UNTRUSTED ? DIALOGUE_REFUSED : DIALOGUE_LOST;
    snprintf(text, sizeof text, "%.*s", SORRY_MAX, d->reason);
    tell_sorry(s, text);
    return false;
}

static void end_client(void *ctx)
{
    struct session *s = ctx;
    if (s->tls != NULL) {
        tls_bye(s->tls);
        (void)tls_flush(s->tls);
    }
    (void)shutdown(s->client_fd, SHUT_WR);
}

static void end_backend(void *ctx)
{
    struct session *s = ctx;
    upstream_bye(&s->upstream);
    (void)shutdown(s->backend_fd, SHUT_WR);
}

static void run_pump(struct session *s)
{
    const struct pump p = {.client = &s->client,
                           .backend = &s->backend,
                           .idle_seconds = (unsigned)s->pool->service->timeout_idle,
                           .end_client = end_client,
                           .end_backend = end_backend,
                           .ctx = s};
    s->dialogue.step = "passing bytes";
    switch (pump_run(&p)) {
    case PUMP_DONE:
        s->end = DIALOGUE_DONE;
        break;
    case PUMP_TRUNCATED:
        finish_with(s, DIALOGUE_LOST, "client closed without a TLS close_notify (truncated?)");
        break;
    case PUMP_BACKEND_TRUNCATED:
        finish_with(s, DIALOGUE_LOST, "backend closed without a TLS close_notify (truncated?)");
        break;
    case PUMP_TIMEOUT:
        finish_with(s, DIALOGUE_LOST, "nothing moved for %d seconds",
                    s->pool->service->timeout_idle);
        break;
    case PUMP_CANCELLED:
        finish_with(s, DIALOGUE_LOST, "cut off because ehlock is stopping");
        break;
    case PUMP_LOST_CLIENT:
        finish_with(s, DIALOGUE_LOST, "client lost the connection");
        break;
    case PUMP_LOST_BACKEND:
        finish_with(s, DIALOGUE_LOST, "backend lost the connection");
        break;
    }
}

static void serve(struct session *s)
{
    const struct protocol *p = s->pool->service->protocol;
    if (p == NULL)
        s->end = DIALOGUE_PUMP;
    else
        s->end = s->pool->service->client ? p->request(&s->dialogue) : p->serve(&s->dialogue);
    if (s->end == DIALOGUE_PUMP)
        run_pump(s);
}

static void run(struct session *s, const char *refusal)
{
    bool tls_first = begins_with_tls(s);
    if (refusal != NULL && !tls_first) {
        finish_with(s, DIALOGUE_REFUSED, "%s", refusal);
        tell_sorry(s, refusal);
        return;
    }
    if (tls_first) {
        s->dialogue.step = "TLS handshake";
        if (!start_tls(s))
            return;
    }
    if (refusal != NULL) {
        finish_with(s, DIALOGUE_REFUSED, "%s", refusal);
        tell_sorry(s, refusal);
        return;
    }
    if (!reach_backend(s))
        return;
    if (s->pool->service->client && s->pool->service->implicit_tls == IMPLICIT_YES &&
        !secure_at_once(s))
        return;
    serve(s);
}

/* ---- closing ---- */

/* Lets the client read our last words: closing while its bytes wait unread would reset the
 * connection and destroy them on the way. */
static void linger(struct session *s)
{
    static char nothing[16 * 1024];
    unsigned seconds = (unsigned)s->pool->service->timeout_close;
    int64_t deadline =
        wire_deadline(s->refused && seconds > REFUSED_SECONDS ? REFUSED_SECONDS : seconds);
    size_t total = 0;
    struct pollfd fds[2] = {{.fd = s->client_fd, .events = POLLIN}};
    while (total < LINGER_MAX && wire_poll(fds, 1, s->pool->cancel_fd, deadline) == WIRE_OK) {
        ssize_t n = recv(s->client_fd, nothing, sizeof nothing, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return;
        if (n > 0)
            total += (size_t)n;
    }
}

static void close_both(struct session *s)
{
    if (s->backend_fd >= 0) {
        upstream_bye(&s->upstream);
        close(s->backend_fd);
    }
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    if (s->dialogue.tls_active) {
        tls_last_words(s->tls);
        (void)wire_hand_over(&s->client, deadline);
        tls_bye(s->tls);
    }
    if (s->dialogue.tls_active || s->client.out_len > 0)
        (void)wire_flush(&s->client, deadline);
    if (shutdown(s->client_fd, SHUT_WR) == 0)
        linger(s);
    close(s->client_fd);
}

/* For the memory of the master (tlsmemory.h). */
static void note_offer(const struct session *s)
{
    if (s->upstream.to != NULL && s->dialogue.heard_offer)
        stats_offer(s->pool->stats, (size_t)(s->upstream.to - s->pool->destinations->items),
                    s->dialogue.offered_tls || s->upstream.secured ? OFFER_MADE : OFFER_MISSING);
}

void session_run(struct pool *pool, int fd, const struct address *client, const char *refusal)
{
    struct session s = {.pool = pool,
                        .peer = client,
                        .client_fd = fd,
                        .backend_fd = -1,
                        .end = DIALOGUE_LOST,
                        .policy = pool->policy,
                        .refused = refusal != NULL,
                        .began = wire_now()};
    s.dialogue = (struct dialogue){
        .client = &s.client,
        .backend = &s.backend,
        .policy = &s.policy,
        .step = "beginning",
        .pretls_deadline = s.began + (int64_t)pool->service->timeout_pretls * 1000,
        .tls_ready = dialogue_tls_ready,
        .start_tls = dialogue_start_tls,
        .secure = dialogue_secure,
        .renew_backend = dialogue_renew_backend,
        .session = &s,
    };
    struct transport t = transport_of_fd(&s.client_fd);
    wire_init(&s.client, &t, pool->cancel_fd);
    log_info("service=%s client=%s connected", pool->service->name, client->text);
    run(&s, refusal);
    close_both(&s);
    summarize(&s);
    note_offer(&s);
    tls_destroy(s.tls);
    upstream_drop(&s.upstream);
    wire_finish(&s.client);
    wire_finish(&s.backend);
}
