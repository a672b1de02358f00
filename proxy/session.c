/* SPDX-License-Identifier: ISC */
#include "proxy/session.h"

#include <ctype.h>
#include <stdarg.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/child.h"
#include "proxy/clientcert.h"
#include "proxy/handshake.h"
#include "proxy/identity.h"
#include "proxy/log.h"
#include "proxy/original.h"
#include "proxy/pace.h"
#include "proxy/pump.h"
#include "proxy/ruling.h"
#include "proxy/token.h"
#include "proxy/transport.h"
#include "proxy/turns.h"
#include "proxy/upstream.h"
#include "proxy/waypoint.h"

enum {
    GOODBYE_SECONDS = 10,          /* for the last bytes to a client */
    HEADER_SECONDS = 10,           /* for a balancer to say who the client is, and for us */
    REFUSED_SECONDS = 2,           /* for a client that was not served to close */
    SORRY_MAX = 200,               /* bytes of a reason that is told to a client */
    LINGER_MAX = 64 * 1024 * 1024, /* bytes of a client that talks on after we have closed */
};

struct session {
    struct pool *pool;
    const struct address *peer; /* the client */
    const struct address *via;  /* the balancer that has said so; NULL: there is none */
    struct address server;      /* where the client connected to */
    struct identity announced;  /* by the balancer */
    char id[IDENTITY_ID_MAX + 1];
    size_t id_len;                         /* 0: the session needs none */
    const struct address *backend_address; /* NULL until there is one */
    struct address original;               /* where a redirected client was going */
    int client_fd, backend_fd;             /* -1: none */
    int line_fd;                           /* to the spawner, until the session is over; -1 */
    int slot;                              /* of the pool's stats */
    struct wire client, backend;
    struct tls *tls;                 /* the client's */
    struct client_standing standing; /* what its certificate has come to */
    struct upstream upstream;        /* client = yes: TLS of the server */
    struct sasl_login login;         /* as whom we log in there, for dialogue.login */
    struct secret *token;            /* its secret, if a program has told it; NULL */
    struct turns turns;              /* the same: which servers have been tried */
    unsigned first;                  /* the same: with which it began */
    struct policy policy;
    struct dialogue dialogue;
    struct ruling ruling;
    int log_level;                     /* that of the configuration */
    bool told_handshake_rate;          /* in the log */
    struct session_facts facts;        /* its addresses, for dialogue.xclient */
    char literal[ADDRESS_LITERAL_MAX]; /* the client's address, for dialogue.client_facts */
    enum dialogue_end end;
    bool refused; /* never served: there were too many, or nobody knows who it is */
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
    char sni[128], alpn[32], id[IDENTITY_ID_MAX + 1], server[UPSTREAM_DESCRIPTION],
        certificate[CLIENT_STANDING_TEXT];
    const struct via *through = s->pool->backends.via;
    int64_t ms = wire_now() - s->began;
    if (s->tls != NULL)
        tls_get_info(s->tls, &tls);
    upstream_describe(&s->upstream, d->offered_tls, server, sizeof server);
    client_standing_describe(&s->standing, certificate);
    log_notice(
        "service=%s client=%s%s%s%s%s backend=%s%s%s tls=%s cipher=%s group=%s resumed=%s sni=%s "
        "alpn=%s%s outcome=%s step=\"%s\" mail=%u rcpt=%u accepted=%u in=%llu out=%llu "
        "seconds=%lld.%03lld%s%s%s%s%s%s",
        s->pool->service->name, s->peer->text, s->via != NULL ? " via=" : "",
        s->via != NULL ? s->via->text : "", s->id_len > 0 ? " id=" : "",
        as_word(s->id, id, sizeof id), s->backend_address != NULL ? s->backend_address->text : "-",
        through != NULL ? " through=" : "", through != NULL ? through->name : "", tls.version,
        tls.cipher, tls.group, tls.resumed ? "yes" : "no", as_word(tls.sni, sni, sizeof sni),
        as_word(tls.alpn, alpn, sizeof alpn), certificate, end_word(s->end), d->step,
        d->tally.senders, d->tally.recipients, d->tally.messages,
        (unsigned long long)s->client.received, (unsigned long long)s->client.sent,
        (long long)(ms / 1000), (long long)(ms % 1000), server, d->login != NULL ? " login=" : "",
        d->login == NULL       ? ""
        : d->logged_in != NULL ? d->logged_in
                               : "none",
        d->reason[0] != '\0' ? " reason=\"" : "", d->reason, d->reason[0] != '\0' ? "\"" : "");
}

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

static void heed_address_rules(struct session *s)
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
              as_word(word, word, sizeof word));
    heed_rules(s, MOMENT_HELO, name, n);
}

static bool shakes_hands_too_often(const struct session *s)
{
    return pace_is_exceeded(s->pool, s->pool->handshakes_rate, "maxHandshakesRate", s->peer);
}

/* ---- who the client is ---- */

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
            finish_with(s, DIALOGUE_REFUSED,
                        "no PROXY header from a balancer: peer began otherwise");
            return false;
        case IDENTITY_MORE:
            break;
        }
        enum wire_status status = wire_fill(&s->client, deadline);
        if (status != WIRE_OK) {
            finish_with(s, DIALOGUE_LOST, "no PROXY header from a balancer: peer %s",
                        wire_status_text(status));
            return false;
        }
    }
}

/* LOCAL, UNKNOWN and the like come from the balancer itself, so it is the client. */
static bool identify_client(struct session *s)
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
        finish_with(s, DIALOGUE_LOST, "backend %s could not be told who the client is: it %s",
                    s->backend_address->text, wire_status_text(status));
    return status == WIRE_OK;
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
    note_tls(s);
    judge_client(s);
    return true;
}

static bool dialogue_start_tls(struct dialogue *d)
{
    return start_tls(d->session);
}

/* Without a keeper that can load the keys a handshake would fail; STARTTLS is answered 454. So it
 * is where a client has begun TLS too often. */
static bool dialogue_tls_ready(struct dialogue *d)
{
    struct session *s = d->session;
    if (s->pool->tls == NULL || !atomic_load(&s->pool->stats->keys_ready))
        return false;
    if (!shakes_hands_too_often(s))
        return true;
    if (!s->told_handshake_rate)
        log_notice("service=%s client=%s STARTTLS is answered 454: more than maxHandshakesRate",
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

/* ---- a token ---- */

static void drop_token(struct session *s)
{
    if (s->token == NULL)
        return;
    secret_destroy(s->token);
    s->token = NULL;
    s->login.secret = NULL;
}

static bool is_stopping(const struct session *s)
{
    struct pollfd nothing[1];
    return wire_poll(nothing, 0, s->pool->cancel_fd, wire_now()) == WIRE_CANCELLED;
}

static bool dialogue_take_secret(struct dialogue *d)
{
    static const char remedy[] =
        "run it by hand as its user (execUser) and without a terminal: it must print the token as "
        "its only line, and end with status 0";
    struct session *s = d->session;
    char why[160];
    struct token_request r = {.request_fd = s->pool->spawn_fds[0],
                              .facts = &s->facts,
                              .deadline = wire_deadline((unsigned)s->pool->service->timeout_busy),
                              .cancel_fd = s->pool->cancel_fd};
    if (r.deadline > d->pretls_deadline)
        r.deadline = d->pretls_deadline;
    drop_token(s);
    s->token = token_fetch(&r, why, sizeof why);
    if (s->token == NULL) {
        snprintf(d->reason, sizeof d->reason, "no token: protocolTokenProgram %s", why);
        d->remedy = is_stopping(s) ? NULL : remedy;
        return false;
    }
    s->login.secret = secret_text(s->token);
    return true;
}

static void dialogue_drop_secret(struct dialogue *d)
{
    drop_token(d->session);
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

/* Where every session is a new start, the keys are loaded while we come this far: before the first
 * word of ours, so that there still is one for a server that has none. */
static bool keys_are_loaded(struct session *s, bool tls_first)
{
    struct pool *p = s->pool;
    bool ok = p->await_keys == NULL || p->await_keys(p->await_ctx);
    p->await_keys = NULL;
    if (ok)
        return true;
    finish_with(s, DIALOGUE_REFUSED, "the keys cannot be loaded");
    if (!tls_first)
        tell_sorry(s, "Mail server is not configured, try again later");
    return false;
}

/* In place of a greeting. */
static void turn_away(struct session *s, const struct refusal *r)
{
    const struct protocol *p = s->pool->service->protocol;
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    s->refused = true;
    finish_with(s, DIALOGUE_REFUSED, "%s", r->reason);
    if (p == NULL || p->refuse == NULL) {
        tell_sorry(s, r->text);
        return;
    }
    p->refuse(&s->client, s->pool->policy.hostname, r, deadline);
    (void)wire_flush(&s->client, deadline);
}

static int connect_original(struct session *s, char *error, size_t size)
{
    const struct pool *p = s->pool;
    struct address own;
    s->backend_address = &s->original;
    int fd = original_connect(&p->backends, &s->original, (unsigned)p->service->timeout_connect,
                              p->cancel_fd, &own, error, size);
    if (fd >= 0)
        stats_go_out(p->stats, s->slot, own.text);
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
    return backends_connect(&p->backends, &how, &s->backend_address, error, size);
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
    struct dialogue *d = &s->dialogue;
    int64_t now = wire_now();
    upstream_set(&s->upstream, destination_of(s), host_of(s), &s->policy);
    upstream_set_memory(&s->upstream, s->pool->memory, s->pool->service->name);
    d->others_left = turns_are_left(&s->turns, &s->pool->backends, now);
    d->pretls_deadline = turns_deadline(&s->turns, &s->pool->backends, now);
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

static bool connect_backend(struct session *s, unsigned first, bool *used)
{
    char error[256];
    s->backend_fd = s->pool->backends.program
                        ? start_program(s, error, sizeof error)
                        : connect_socket(s, first, used, WIRE_FOREVER, error, sizeof error);
    if (s->backend_fd >= 0)
        return begin_with_backend(s);
    finish_with(s, DIALOGUE_LOST, "%s", error);
    return false;
}

/* It would never come to an end: we would go where we come from. */
static bool is_our_own(struct session *s)
{
    if (!stats_is_own(s->pool->stats, s->peer->text))
        return false;
    finish_with(s, DIALOGUE_REFUSED,
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
    char text[SORRY_MAX + 1];
    if (!p->backends.redirected ||
        (original_find(s->client_fd, &s->server, &p->backends, &p->listeners, &s->original,
                       d->reason, sizeof d->reason) &&
         !is_our_own(s)))
        return true;
    s->end = DIALOGUE_REFUSED;
    snprintf(text, sizeof text, "%.*s", SORRY_MAX, d->reason);
    tell_sorry(s, text);
    return false;
}

/* What the resolver knows is looked at once a session: its addresses stay what they are. */
static bool find_way(struct session *s)
{
    static const struct refusal null_mx = {.code = 554,
                                           .enhanced = "5.1.10",
                                           .text = "The domain does not accept mail (null MX)",
                                           .reason = "null MX: the domain does not accept mail"};
    char text[SORRY_MAX + 1], reason[sizeof s->dialogue.reason];
    int64_t deadline = wire_deadline((unsigned)s->pool->service->timeout_connect);
    s->dialogue.step = "finding out where the backend is";
    switch (waypoint_take(s->pool, deadline, reason, sizeof reason)) {
    case WAY_FOUND:
        return true;
    case WAY_NULL_MX:
        turn_away(s, &null_mx);
        return false;
    case WAY_NONE:
        break;
    }
    finish_with(s, DIALOGUE_LOST, "%s", reason);
    snprintf(text, sizeof text, "%.*s", SORRY_MAX, reason);
    tell_sorry(s, text);
    return false;
}

/* ---- the next server ---- */

/* One that has spoken early may be heard to its end, and still listen. */
static bool client_is_gone(const struct session *s)
{
    char c;
    ssize_t n = recv(s->client_fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0)
        return wire_buffered(&s->client, NULL) == 0;
    return n < 0 && errno != EAGAIN && errno != EINTR;
}

static bool has_heard_nothing(const struct session *s)
{
    return s->client.sent == 0 && s->client.out_len == 0;
}

static bool may_go_on(const struct session *s)
{
    struct pollfd nothing[1];
    return s->pool->service->client && has_heard_nothing(s) &&
           turns_are_left(&s->turns, &s->pool->backends, wire_now()) && !client_is_gone(s) &&
           wire_poll(nothing, 0, s->pool->cancel_fd, wire_now()) == WIRE_TIMEOUT;
}

/* What is known of it stays for the log. */
static void leave_backend(struct session *s)
{
    if (s->backend_fd >= 0)
        upstream_bye(&s->upstream);
    child_close(&s->backend_fd);
    child_close(&s->line_fd);
    wire_finish(&s->backend);
}

/* For the memory of the master (tlsmemory.h). */
static void note_offer(const struct session *s)
{
    if (s->upstream.to != NULL && s->upstream.to->name != NULL && s->dialogue.heard_offer)
        stats_offer(s->pool->stats, (size_t)(s->upstream.to - s->pool->destinations->items),
                    s->dialogue.offered_tls || s->upstream.secured ? OFFER_MADE : OFFER_MISSING);
}

/* Nothing that is true of one server is of the next. */
static void forget_server(struct session *s)
{
    struct dialogue *d = &s->dialogue;
    note_offer(s);
    upstream_drop(&s->upstream);
    s->upstream = (struct upstream){0};
    d->server_tls_active = d->server_verified = false;
    d->offered_tls = d->heard_offer = false;
    d->reason[0] = '\0';
    d->remedy = NULL;
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
        leave_backend(s);
        if (!connect_next(s))
            return false;
    } while (!begin_with_backend(s));
    return true;
}

static bool reach_backend(struct session *s)
{
    if (!find_original(s) || !find_way(s))
        return false;
    s->first = first_backend(s);
    if (connect_backend(s, s->first, s->turns.used) || (s->backend_fd >= 0 && go_to_next(s)))
        return true;
    tell_sorry(s, "Mail server cannot be reached, try again later");
    return false;
}

/* With client = yes to the same address: what may go in clear to the one may not to another. */
static bool dialogue_renew_backend(struct dialogue *d)
{
    struct session *s = d->session;
    bool others[BACKENDS_MAX];
    unsigned first = first_backend(s);
    turns_only(others, first);
    leave_backend(s);
    upstream_drop(&s->upstream);
    d->server_tls_active = d->server_verified = false;
    return connect_backend(s, first, s->pool->service->client ? others : NULL);
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
    d->server_verified = outcome == OUTCOME_SECURED && upstream_is_verified(&s->upstream);
    if (s->upstream.remedy[0] != '\0')
        d->remedy = s->upstream.remedy;
    return outcome;
}

/* The client has been told to come back; only the administrator can mend it. */
static void tell_remedy(const struct session *s)
{
    if (s->dialogue.remedy != NULL)
        log_error("service=%s client=%s is not served: %s; %s", s->pool->service->name,
                  s->peer->text, s->dialogue.reason, s->dialogue.remedy);
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
static bool secure_at_once(struct session *s)
{
    struct dialogue *d = &s->dialogue;
    char text[SORRY_MAX + 1];
    if (is_secured_at_once(s) || dialogue_next_backend(d))
        return true;
    s->end = d->server_tls_active ? DIALOGUE_REFUSED : DIALOGUE_LOST;
    snprintf(text, sizeof text, "%.*s", SORRY_MAX, d->reason);
    tell_sorry(s, text);
    tell_remedy(s);
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

/* In the words that a dialogue passes on. */
static void name_places(struct session *s)
{
    struct xclient_facts *x = &s->dialogue.xclient;
    address_smtp_literal(s->peer, s->literal);
    s->dialogue.client_facts.address = s->literal;
    session_facts_set(&s->facts, s->peer, &s->server, NULL);
    x->address = s->facts.remote_ip;
    x->port = s->facts.remote_port;
    x->server_address = s->facts.local_ip;
    x->server_port = s->facts.local_port;
}

static void serve(struct session *s)
{
    const struct protocol *p = s->pool->service->protocol;
    name_places(s);
    if (p == NULL)
        s->end = DIALOGUE_PUMP;
    else
        s->end = s->pool->service->client ? p->request(&s->dialogue) : p->serve(&s->dialogue);
    if (s->end == DIALOGUE_PUMP)
        run_pump(s);
    if (s->end == DIALOGUE_DONE && s->dialogue.unwelcome != NULL)
        s->end = DIALOGUE_REFUSED;
    tell_remedy(s);
}

/* Code 0: the client is welcome, so far. */
static struct admittance ask_admission(const struct session *s, const struct admission *admission)
{
    struct admittance a = admission->ask(admission->ctx, s->peer);
    if (a.refusal.code == 0)
        a.refusal = s->dialogue.policy->refusal;
    return a;
}

/* A client that comes or begins TLS too often is not worth a handshake; others that are refused are
 * told so under TLS. False: it is over. */
static bool begin_with_tls(struct session *s, const struct admittance *a)
{
    if (a->comes_too_often || shakes_hands_too_often(s)) {
        s->refused = true;
        finish_with(s, DIALOGUE_REFUSED, "%s",
                    a->comes_too_often ? a->refusal.reason
                                       : "Too many TLS handshakes in a short time");
        return false;
    }
    s->dialogue.step = "TLS handshake";
    return keys_are_loaded(s, true) && start_tls(s);
}

static void run(struct session *s, const struct admission *admission)
{
    if (!identify_client(s))
        return;
    heed_address_rules(s);
    log_info("service=%s client=%s%s%s connected", s->pool->service->name, s->peer->text,
             s->via != NULL ? " via=" : "", s->via != NULL ? s->via->text : "");
    struct admittance a = ask_admission(s, admission);
    s->refused = a.refusal.code != 0;
    if (begins_with_tls(s) && !begin_with_tls(s, &a))
        return;
    if (a.refusal.code == 0)
        a.refusal = s->dialogue.policy->refusal; /* the name it asked for may be refused */
    if (a.refusal.code != 0) {
        turn_away(s, &a.refusal);
        return;
    }
    if (s->dialogue.unwelcome != NULL && s->pool->service->protocol == NULL) {
        s->end = DIALOGUE_REFUSED;
        return;
    }
    if (!reach_backend(s) || !keys_are_loaded(s, false))
        return;
    if (!secure_at_once(s))
        return;
    serve(s);
}

/* ---- closing ---- */

/* Lets the client read our last words: closing while its bytes wait unread would reset the
 * connection and destroy them on the way. */
static void linger(struct session *s)
{
    char nothing[8 * 1024];
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
    child_close(&s->line_fd);
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

/* May the client hear words in clear, or under TLS, now? Not while a handshake is due. */
static bool is_between_words(const struct session *s)
{
    bool due = s->pool->service->implicit_tls == IMPLICIT_YES && !s->pool->service->client;
    return s->dialogue.tls_active || (s->tls == NULL && !due);
}

/* Called when memory is out, and the process exits after it. */
static void last_words(void *ctx)
{
    struct session *s = ctx;
    finish_with(s, DIALOGUE_LOST, "out of memory");
    if (is_between_words(s)) {
        (void)wire_flush(&s->client, wire_deadline(GOODBYE_SECONDS));
        tell_sorry(s, "Out of memory, try again later");
    }
    close_both(s);
    summarize(s);
}

void session_run(struct pool *pool, int fd, const struct address *peer,
                 const struct admission *admission)
{
    struct session s = {.pool = pool,
                        .peer = peer,
                        .client_fd = fd,
                        .backend_fd = -1,
                        .line_fd = -1,
                        .slot = admission->slot,
                        .end = DIALOGUE_LOST,
                        .policy = pool->policy,
                        .refused = true,
                        .began = wire_now()};
    s.dialogue = (struct dialogue){
        .client = &s.client,
        .backend = &s.backend,
        .policy = &s.policy,
        .hello = dialogue_hello,
        .step = "beginning",
        .pretls_deadline = s.began + (int64_t)pool->service->timeout_pretls * 1000,
        .login = pool->login != NULL ? &s.login : NULL,
        .clock = time,
        .tls_ready = dialogue_tls_ready,
        .start_tls = dialogue_start_tls,
        .secure = dialogue_secure,
        .renew_backend = dialogue_renew_backend,
        .next_backend = dialogue_next_backend,
        .take_secret = dialogue_take_secret,
        .drop_secret = dialogue_drop_secret,
        .session = &s,
    };
    if (pool->login != NULL)
        s.login = pool->login->words;
    turns_begin(&s.turns, s.began, s.dialogue.pretls_deadline);
    s.ruling = (struct ruling){.rules = &pool->service->rules, .common = &s.policy};
    s.log_level = log_level();
    memory_set_last_words(last_words, &s);
    struct transport t = transport_of_fd(&s.client_fd);
    wire_init(&s.client, &t, pool->cancel_fd);
    run(&s, admission);
    memory_set_last_words(NULL, NULL);
    close_both(&s);
    summarize(&s);
    note_offer(&s);
    log_set_level(s.log_level);
    tls_destroy(s.tls);
    upstream_drop(&s.upstream);
    drop_token(&s);
    wire_finish(&s.client);
    wire_finish(&s.backend);
}
