/* SPDX-License-Identifier: ISC */
#include "proxy/session_inner.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/child.h"
#include "proxy/log.h"
#include "proxy/original.h"
#include "proxy/transport.h"
#include "proxy/waypoint.h"

/* ---- who the client is, for the server ---- */

/* For the backend's log and ours: the balancer's, or a new one. */
static void choose_id(struct session *s)
{
    unsigned char random[8];
    s->id_len = s->announced.id_len;
    memcpy(s->id, s->announced.id, s->id_len);
    if (s->id_len > 0 || getrandom(random, sizeof random, 0) != sizeof random)
        return;
    for (size_t i = 0; i < sizeof random; i++)
        s->id_len += (size_t)snprintf(s->id + s->id_len, 3, "%02x", random[i]);
}

static size_t write_header_v2(struct session *s, char out[IDENTITY_WRITE_MAX])
{
    struct tls_info tls;
    struct tls_certificates certificates;
    struct identity_facts facts = {.client = s->peer, .server = &s->server};
    if (s->dialogue.tls_active) {
        tls_get_info(s->tls, &tls);
        tls_get_certificates(s->tls, &certificates);
        facts.tls = &tls;
        facts.certificates = &certificates;
    }
    if (s->id_len == 0)
        choose_id(s);
    facts.name = s->standing.name;
    facts.id = s->id;
    facts.id_len = s->id_len;
    return identity_write_v2(&facts, out);
}

static size_t write_header(struct session *s, char out[IDENTITY_WRITE_MAX])
{
    const struct identity_facts facts = {.client = s->peer, .server = &s->server};
    switch ((enum identity_kind)s->pool->service->identity) {
    case IDENTITY_NONE:
    case IDENTITY_TRANSPARENT:
    case IDENTITY_XCLIENT: /* the dialogue tells it */
    case IDENTITY_ENV:     /* the program knows it before it starts */
        return 0;
    case IDENTITY_PROXY:
        return identity_write_v1(&facts, out);
    case IDENTITY_PROXY2:
        return write_header_v2(s, out);
    }
    return 0;
}

/* Before anything else on the backend's wire, and in a write of its own: some receivers read it in
 * one piece. */
static bool introduce_client(struct session *s)
{
    char header[IDENTITY_WRITE_MAX];
    size_t len = write_header(s, header);
    int64_t deadline = wire_deadline(HEADER_SECONDS);
    enum wire_status status = wire_put(&s->backend, header, len, deadline);
    if (status == WIRE_OK && len > 0)
        status = wire_flush(&s->backend, deadline);
    if (status != WIRE_OK)
        session_finish_with(s, DIALOGUE_LOST,
                            "backend %s could not be told who the client is: it %s",
                            s->backend_address->text, wire_status_text(status));
    return status == WIRE_OK;
}

/* ---- a token ---- */

static bool dialogue_take_secret(struct dialogue *d)
{
    struct session *s = d->session;
    return credentials_take_token(&s->credentials, s->pool, &s->facts, d);
}

static void dialogue_drop_secret(struct dialogue *d)
{
    struct session *s = d->session;
    credentials_drop_token(&s->credentials);
}

/* ---- the way to it ---- */

/* Whoever has been reached before is asked again: the client has seen its greeting. */
static unsigned first_backend(const struct session *s)
{
    if (s->pool->backends.redirected)
        return 0;
    if (s->backend_address != NULL)
        return (unsigned)(s->backend_address - s->pool->backends.addresses);
    return s->pool->service->failover == FAILOVER_RR ? atomic_fetch_add(&s->pool->stats->turn, 1)
                                                     : 0;
}

/* The tables of demands and destinations are in the same order. */
static const struct destination *destination_of(const struct session *s)
{
    const struct service *service = s->pool->service;
    if (s->pool->backends.redirected)
        return &s->pool->destinations->items[demand_for(service, &s->original) - service->demands];
    size_t n = (size_t)(s->backend_address - s->pool->backends.addresses);
    return &s->pool->destinations->items[s->pool->backends.entries[n]];
}

/* NULL: the resolver does not watch this destination. */
static const struct route_host *host_of(const struct session *s)
{
    if (s->pool->backends.redirected)
        return NULL;
    return waypoint_host(s->pool, (size_t)(s->backend_address - s->pool->backends.addresses));
}

static int connect_original(struct session *s, char *error, size_t size)
{
    const struct pool *p = s->pool;
    struct address own;
    s->backend_address = &s->original;
    int fd = original_connect(&p->backends, &s->original, (unsigned)p->service->timeout_connect,
                              p->cancel_fd, &own, error, size);
    if (fd >= 0)
        stats_go_out(p->stats, s->admission->slot, own.text);
    return fd;
}

/* `used`: see struct attempt. */
static int connect_socket(struct session *s, unsigned first, bool *used, int64_t deadline,
                          char *error, size_t size)
{
    const struct pool *p = s->pool;
    const struct disguise as = {.client = s->peer, .sockets = &s->pool->transparent};
    const struct attempt how = {
        .as = p->service->identity == IDENTITY_TRANSPARENT ? &as : NULL,
        .first = first,
        .seconds = (unsigned)p->service->timeout_connect,
        .deadline = deadline,
        .cancel_fd = p->cancel_fd,
        .used = used,
    };
    s->dialogue.step = "connecting to the backend";
    if (p->backends.redirected)
        return connect_original(s, error, size);
    int fd = backends_connect(&p->backends, &how, &s->backend_address, error, size);
    if (fd >= 0 && error[0] != '\0')
        log_notice("service=%s client=%s %s; backend=%s is used instead", p->service->name,
                   s->peer->text, error, s->backend_address->text);
    return fd;
}

static int start_program(struct session *s, char *error, size_t size)
{
    const struct pool *p = s->pool;
    struct session_facts facts;
    struct tls_info tls;
    s->dialogue.step = "starting the program";
    if (s->dialogue.tls_active)
        tls_get_info(s->tls, &tls);
    session_facts_set(&facts, s->peer, &s->server, s->dialogue.tls_active ? &tls : NULL);
    if (s->standing.judged)
        session_facts_set_client(&facts, s->standing.verdict.cause, s->standing.subject,
                                 s->standing.issuer, s->standing.name != NULL);
    int fd = backends_start_program(&p->backends, p->spawn_fds[0], &facts,
                                    (unsigned)p->service->timeout_connect, p->cancel_fd,
                                    &s->line_fd, error, size);
    if (fd >= 0)
        s->backend_address = &p->backends.addresses[0];
    return fd;
}

/* Its turn begins. */
static void begin_turn(struct session *s)
{
    upstream_set(&s->upstream, destination_of(s), host_of(s), &s->policy);
    upstream_set_memory(&s->upstream, s->pool->memory, s->pool->service->name);
    turns_take(&s->turns, &s->pool->backends, &s->dialogue);
}

/* There is a connection to the backend, and nothing has been said on it. */
static bool begin_with_backend(struct session *s)
{
    struct transport t = transport_of_fd(&s->backend_fd);
    wire_init(&s->backend, &t, s->pool->cancel_fd);
    if (s->pool->service->client)
        begin_turn(s);
    return introduce_client(s);
}

static bool connect_backend(struct session *s, unsigned first, bool *used, int64_t deadline)
{
    char error[256];
    s->backend_fd = s->pool->backends.program
                        ? start_program(s, error, sizeof error)
                        : connect_socket(s, first, used, deadline, error, sizeof error);
    if (s->backend_fd >= 0)
        return begin_with_backend(s);
    session_finish_with(s, DIALOGUE_LOST, "%s", error);
    return false;
}

/* It would never come to an end: we would go where we come from. */
static bool is_our_own(struct session *s)
{
    if (!stats_is_own(s->pool->stats, s->pool->n_slots, s->peer->text))
        return false;
    session_finish_with(
        s, DIALOGUE_REFUSED,
        "%s: this is our own connection: the packet filter must not redirect those of the "
        "workers' user (setuid)",
        s->original.text);
    return true;
}

/* What follows depends on where it was going, if it was redirected. */
static bool find_original(struct session *s)
{
    struct dialogue *d = &s->dialogue;
    const struct pool *p = s->pool;
    char text[LAST_WORD_MAX + 1];
    if (!p->backends.redirected ||
        (original_find(s->client_fd, &s->server, &p->backends, &p->listeners, &s->original,
                       d->reason, sizeof d->reason) &&
         !is_our_own(s)))
        return true;
    s->end = DIALOGUE_REFUSED;
    dialogue_sentence(d, text);
    session_tell_sorry(s, text);
    return false;
}

/* What the resolver knows is looked at once a session: its addresses stay what they are. */
static bool find_way(struct session *s)
{
    static const struct refusal null_mx = {.code = 554,
                                           .enhanced = "5.1.10",
                                           .text = "The domain does not accept mail (null MX)",
                                           .reason = "null MX: the domain does not accept mail"};
    char text[LAST_WORD_MAX + 1], reason[sizeof s->dialogue.reason];
    int64_t deadline = wire_deadline((unsigned)s->pool->service->timeout_connect);
    s->dialogue.step = "finding out where the backend is";
    switch (waypoint_take(s->pool, deadline, reason, sizeof reason)) {
    case WAY_FOUND:
        return true;
    case WAY_NULL_MX:
        session_turn_away(s, &null_mx);
        return false;
    case WAY_NONE:
        break;
    }
    session_finish_with(s, DIALOGUE_LOST, "%s", reason);
    dialogue_sentence(&s->dialogue, text);
    session_tell_sorry(s, text);
    return false;
}

/* ---- the next one ---- */

/* One that has spoken early may be heard to its end, and still listen. */
static bool client_is_gone(const struct session *s)
{
    char c;
    ssize_t n = recv(s->client_fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0)
        return wire_buffered(&s->client, NULL) == 0;
    return n < 0 && errno != EAGAIN && errno != EINTR;
}

static bool may_go_on(const struct session *s)
{
    struct pollfd nothing[1];
    return s->pool->service->client && dialogue_client_knows_nothing(&s->dialogue) &&
           turns_are_left(&s->turns, &s->pool->backends, wire_now()) && !client_is_gone(s) &&
           wire_poll(nothing, 0, s->pool->cancel_fd, wire_now()) == WIRE_TIMEOUT;
}

/* What is known of it stays for the log. */
static void leave_server(struct session *s)
{
    if (s->backend_fd >= 0)
        upstream_bye(&s->upstream);
    child_close(&s->backend_fd);
    child_close(&s->line_fd);
    wire_finish(&s->backend);
}

void session_note_offer(const struct session *s)
{
    if (s->upstream.to != NULL && s->upstream.to->name != NULL && s->dialogue.heard_offer)
        stats_offer(s->pool->stats, (size_t)(s->upstream.to - s->pool->destinations->items),
                    s->dialogue.offered_tls || s->upstream.secured ? OFFER_MADE : OFFER_MISSING);
}

static void forget_server(struct session *s)
{
    session_note_offer(s);
    upstream_drop(&s->upstream);
    s->upstream = (struct upstream){0};
    dialogue_forget_server(&s->dialogue);
}

/* False: the session is still about the one that was reached last. */
static bool connect_next(struct session *s)
{
    char error[256];
    const char *step = s->dialogue.step;
    turns_move(&s->turns);
    s->backend_fd = connect_socket(s, s->first, s->turns.used, s->turns.until, error, sizeof error);
    if (s->backend_fd < 0) {
        s->dialogue.step = step;
        log_notice("service=%s client=%s no other server can be reached: %s",
                   s->pool->service->name, s->peer->text, error);
        return false;
    }
    forget_server(s);
    return true;
}

static bool go_to_next(struct session *s)
{
    do {
        if (!may_go_on(s))
            return false;
        const char *remedy = s->dialogue.remedy;
        log_notice("service=%s client=%s backend=%s is left for another: %s (step \"%s\")%s%s",
                   s->pool->service->name, s->peer->text,
                   s->backend_address != NULL ? s->backend_address->text : "-", s->dialogue.reason,
                   s->dialogue.step, remedy != NULL ? "; " : "", remedy != NULL ? remedy : "");
        leave_server(s);
        if (!connect_next(s))
            return false;
    } while (!begin_with_backend(s));
    return true;
}

static int64_t first_deadline(const struct session *s)
{
    const struct pool *p = s->pool;
    return p->service->client ? turns_first_deadline(&s->turns, &p->backends) : WIRE_FOREVER;
}

bool session_reach_server(struct session *s)
{
    if (!find_original(s) || !find_way(s))
        return false;
    s->first = first_backend(s);
    if (connect_backend(s, s->first, s->turns.used, first_deadline(s)) ||
        (s->backend_fd >= 0 && go_to_next(s)))
        return true;
    session_tell_sorry(s, "Mail server cannot be reached, try again later");
    return false;
}

/* With client = yes to the same address: what may go in clear to the one may not to another. */
static bool dialogue_renew_backend(struct dialogue *d)
{
    struct session *s = d->session;
    bool others[BACKENDS_MAX];
    unsigned first = first_backend(s);
    turns_only(others, first);
    leave_server(s);
    upstream_drop(&s->upstream);
    d->server_tls_active = d->server_verified = false;
    return connect_backend(s, first, s->pool->service->client ? others : NULL, WIRE_FOREVER);
}

/* ---- TLS ---- */

static enum tls_outcome dialogue_secure(struct dialogue *d)
{
    struct session *s = d->session;
    return upstream_secure(&s->upstream, d, (unsigned)s->pool->service->timeout_handshake);
}

/* TLS from the first byte towards the server: nothing has been said yet by anybody. */
static bool is_secured_at_once(struct session *s)
{
    if (!s->pool->service->client || s->pool->service->implicit_tls != IMPLICIT_YES)
        return true;
    s->dialogue.step = "TLS handshake with the backend";
    return dialogue_secure(&s->dialogue) == OUTCOME_SECURED;
}

static bool dialogue_next_backend(struct dialogue *d)
{
    struct session *s = d->session;
    while (go_to_next(s))
        if (is_secured_at_once(s))
            return true;
    return false;
}

/* The last one that was reached is the one that the client hears about. */
bool session_secure_at_once(struct session *s)
{
    struct dialogue *d = &s->dialogue;
    char text[LAST_WORD_MAX + 1];
    if (is_secured_at_once(s) || dialogue_next_backend(d))
        return true;
    s->end = d->server_tls_active ? DIALOGUE_REFUSED : DIALOGUE_LOST;
    dialogue_sentence(d, text);
    session_tell_sorry(s, text);
    return false;
}

void session_set_server_calls(struct dialogue *d)
{
    d->secure = dialogue_secure;
    d->renew_backend = dialogue_renew_backend;
    d->next_backend = dialogue_next_backend;
    d->take_secret = dialogue_take_secret;
    d->drop_secret = dialogue_drop_secret;
}
