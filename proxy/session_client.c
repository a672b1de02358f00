/* SPDX-License-Identifier: ISC */
#include "proxy/session_inner.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/handshake.h"
#include "proxy/log.h"
#include "proxy/pace.h"
#include "proxy/transport.h"

/* ---- what the administrator says to this client ---- */

static void heed(struct session *s, const struct rule *rule)
{
    s->dialogue.policy = ruling_policy(&s->ruling);
    log_set_level(ruling_log_level(&s->ruling, s->log_level));
    if (rule != NULL)
        log_info("service=%s client=%s rule=%s action=%s", s->pool->service->name, s->peer->text,
                 rule->where, rule_action_name(rule->action));
}

static void heed_rules(struct session *s, enum rule_moment moment, const char *text, size_t len)
{
    heed(s, ruling_ask(&s->ruling, moment, text, len));
}

void session_heed_address_rules(struct session *s)
{
    char host[ADDRESS_HOST_MAX];
    address_numeric(s->peer, host);
    heed_rules(s, MOMENT_ADDRESS, host, strlen(host));
}

/* How the client calls itself is the first word, as most servers see it. */
static void dialogue_hello(struct dialogue *d, const char *name, size_t len)
{
    struct session *s = d->session;
    char word[128];
    size_t n = 0;
    while (n < len && name[n] != ' ' && name[n] != '\t')
        n++;
    snprintf(word, sizeof word, "%.*s", (int)n, name);
    log_debug("service=%s client=%s helo=%s", s->pool->service->name, s->peer->text,
              session_word(word, word, sizeof word));
    heed_rules(s, MOMENT_HELO, name, n);
}

bool session_shakes_hands_too_often(const struct session *s)
{
    return pace_is_exceeded(s->pool, s->pool->handshakes_rate, "maxHandshakesRate", s->peer);
}

/* ---- who it is ---- */

/* A balancer begins with a header. What follows it is the client's and stays in the wire. */
static bool hear_balancer(struct session *s)
{
    int64_t deadline = wire_deadline(HEADER_SECONDS);
    if (deadline > s->dialogue.pretls_deadline)
        deadline = s->dialogue.pretls_deadline;
    s->dialogue.step = "reading the PROXY header";
    for (;;) {
        const char *data;
        size_t used, len = wire_buffered(&s->client, &data);
        switch (identity_read(data, len, &s->announced, &used)) {
        case IDENTITY_OK:
            wire_consume(&s->client, used);
            return true;
        case IDENTITY_BAD:
            session_finish_with(s, DIALOGUE_REFUSED,
                                "no PROXY header from a balancer: peer began otherwise");
            return false;
        case IDENTITY_MORE:
            break;
        }
        enum wire_status status = wire_fill(&s->client, deadline);
        if (status != WIRE_OK) {
            session_finish_with(s, DIALOGUE_LOST, "no PROXY header from a balancer: peer %s",
                                wire_status_text(status));
            return false;
        }
    }
}

/* LOCAL, UNKNOWN and the like come from the balancer itself, so it is the client. */
bool session_identify_client(struct session *s)
{
    (void)address_of_socket(s->client_fd, &s->server);
    if (!network_list_has(&s->pool->service->balancers, s->peer))
        return true;
    if (!hear_balancer(s))
        return false;
    if (s->announced.known) {
        s->via = s->peer;
        s->peer = &s->announced.source;
        s->server = s->announced.destination;
    }
    return true;
}

/* ---- TLS ---- */

static bool handshake(struct session *s)
{
    int64_t deadline = wire_deadline((unsigned)s->pool->service->timeout_handshake);
    s->end = DIALOGUE_LOST;
    return handshake_run(s->tls, s->client_fd, "client", s->pool->cancel_fd, deadline,
                         s->dialogue.reason, sizeof s->dialogue.reason);
}

/* Strings live as long as the TLS session. */
static void note_tls(struct session *s)
{
    struct tls_info info;
    tls_get_info(s->tls, &info);
    const char *sni = strcmp(info.sni, "-") == 0 ? "" : info.sni;
    ruling_forget_hello(&s->ruling);
    heed_rules(s, MOMENT_SNI, sni, strlen(sni));
    s->dialogue.client_facts.tls_version = info.version;
    s->dialogue.client_facts.tls_cipher = info.cipher;
    s->dialogue.client_facts.tls_bits = info.cipher_bits;
}

/* Who is to be turned away hears so from the dialogue (RFC 3207 §4.1); without one nobody can say
 * it. A bad certificate of a client that is served all the same is worth a line. */
static void judge_client(struct session *s)
{
    const struct client_demand *demand = s->pool->service->client_demand;
    const struct verdict *verdict = &s->standing.verdict;
    struct dialogue *d = &s->dialogue;
    struct cert_keys keys;
    if (demand == NULL)
        return;
    client_demand_judge(demand, s->tls, &s->standing, &keys);
    heed(s, ruling_ask_certificate(&s->ruling, &keys));
    d->client_facts.verified = s->standing.name;
    d->xclient.login = s->standing.name;
    d->unwelcome = client_standing_refusal(demand, &s->standing);
    if (d->unwelcome != NULL)
        snprintf(d->reason, sizeof d->reason, "client certificate: %.200s", verdict->sentence);
    else if (verdict->cause != VERDICT_OK && verdict->cause != VERDICT_NO_CERTIFICATE)
        log_info("service=%s client=%s client certificate: %s", s->pool->service->name,
                 s->peer->text, verdict->sentence);
}

bool session_start_tls(struct session *s)
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
    note_tls(s);
    judge_client(s);
    return true;
}

static bool dialogue_start_tls(struct dialogue *d)
{
    return session_start_tls(d->session);
}

/* Without a keeper that can load the keys a handshake would fail; the command for TLS is refused.
 * So it is where a client has begun TLS too often. */
static bool dialogue_tls_ready(struct dialogue *d)
{
    struct session *s = d->session;
    if (s->pool->tls == NULL || !atomic_load(&s->pool->stats->keys_ready))
        return false;
    if (!session_shakes_hands_too_often(s))
        return true;
    if (!s->told_handshake_rate)
        log_notice("service=%s client=%s TLS is refused: more than maxHandshakesRate",
                   s->pool->service->name, s->peer->text);
    s->told_handshake_rate = true;
    return false;
}

/* implicitTls = auto: a client that speaks first, with a TLS record, wants TLS; one that waits
 * for the greeting gets it after the wait. */
static bool client_begins_with_tls(const struct session *s)
{
    enum { TLS_HANDSHAKE_RECORD = 22 };
    struct pollfd fds[2] = {{.fd = s->client_fd, .events = POLLIN}};
    unsigned char first;
    int64_t deadline = wire_now() + s->pool->service->implicit_tls_wait_ms;
    const char *early; /* came with a balancer's header */
    if (wire_buffered(&s->client, &early) > 0)
        return *early == TLS_HANDSHAKE_RECORD;
    return wire_poll(fds, 1, s->pool->cancel_fd, deadline) == WIRE_OK &&
           recv(s->client_fd, &first, 1, MSG_PEEK) == 1 && first == TLS_HANDSHAKE_RECORD;
}

bool session_begins_with_tls(const struct session *s)
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

/* ---- words of ours ---- */

void session_tell_sorry(struct session *s, const char *text)
{
    const struct protocol *p = s->pool->service->protocol;
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    if (p == NULL)
        return;
    p->sorry(&s->client, s->pool->policy.hostname, text, deadline);
    (void)wire_flush(&s->client, deadline);
}

void session_turn_away(struct session *s, const struct refusal *r)
{
    const struct protocol *p = s->pool->service->protocol;
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    s->refused = true;
    session_finish_with(s, DIALOGUE_REFUSED, "%s", r->reason);
    if (p == NULL || p->refuse == NULL) {
        session_tell_sorry(s, r->text);
        return;
    }
    p->refuse(&s->client, s->pool->policy.hostname, r, deadline);
    (void)wire_flush(&s->client, deadline);
}

void session_set_client_calls(struct dialogue *d)
{
    d->hello = dialogue_hello;
    d->tls_ready = dialogue_tls_ready;
    d->start_tls = dialogue_start_tls;
}
