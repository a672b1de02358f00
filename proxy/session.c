/* SPDX-License-Identifier: ISC */
#include "proxy/session.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/child.h"
#include "proxy/log.h"
#include "proxy/pump.h"
#include "proxy/session_inner.h"
#include "proxy/transport.h"

enum {
    REFUSED_SECONDS = 2,           /* for a client that was not served to close */
    LINGER_MAX = 64 * 1024 * 1024, /* bytes of a client that talks on after we have closed */
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

void session_finish_with(struct session *s, enum dialogue_end end, const char *format, ...)
{
    va_list ap;
    s->end = end;
    va_start(ap, format);
    vsnprintf(s->dialogue.reason, sizeof s->dialogue.reason, format, ap);
    va_end(ap);
}

/* ---- the log line ---- */

const char *session_word(const char *text, char *out, size_t size)
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
        session_word(s->id, id, sizeof id),
        s->backend_address != NULL ? s->backend_address->text : "-",
        through != NULL ? " through=" : "", through != NULL ? through->name : "", tls.version,
        tls.cipher, tls.group, tls.resumed ? "yes" : "no", session_word(tls.sni, sni, sizeof sni),
        session_word(tls.alpn, alpn, sizeof alpn), certificate, end_word(s->end), d->step,
        d->tally.senders, d->tally.recipients, d->tally.messages,
        (unsigned long long)s->client.received, (unsigned long long)s->client.sent,
        (long long)(ms / 1000), (long long)(ms % 1000), server, d->login != NULL ? " login=" : "",
        d->login == NULL       ? ""
        : d->logged_in != NULL ? d->logged_in
                               : "none",
        d->reason[0] != '\0' ? " reason=\"" : "", d->reason, d->reason[0] != '\0' ? "\"" : "");
}

/* ---- the acts ---- */

/* Where every session is a new start, the keys are loaded while we come this far: before the first
 * word of ours, so that there still is one for a server that has none. */
static bool keys_are_loaded(struct session *s, bool tls_first)
{
    struct pool *p = s->pool;
    bool ok = p->await_keys == NULL || p->await_keys(p->await_ctx);
    p->await_keys = NULL;
    if (ok)
        return true;
    session_finish_with(s, DIALOGUE_REFUSED, "the keys cannot be loaded");
    if (!tls_first)
        session_tell_sorry(s, "Mail server is not configured, try again later");
    return false;
}

/* The client has been told to come back; only the administrator can mend it. */
static void tell_remedy(const struct session *s)
{
    if (s->dialogue.remedy != NULL)
        log_error("service=%s client=%s is not served: %s; %s", s->pool->service->name,
                  s->peer->text, s->dialogue.reason, s->dialogue.remedy);
}

static void end_client(void *ctx)
{
    struct session *s = ctx;
    if (s->tls != NULL) {
        tls_bye(s->tls);
        (void)wire_flush(&s->client, wire_deadline(GOODBYE_SECONDS));
    }
    (void)shutdown(s->client_fd, SHUT_WR);
}

static void end_backend(void *ctx)
{
    struct session *s = ctx;
    upstream_bye(&s->upstream);
    (void)wire_flush(&s->backend, wire_deadline(GOODBYE_SECONDS));
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
        session_finish_with(s, DIALOGUE_LOST,
                            "client closed without a TLS close_notify (truncated?)");
        break;
    case PUMP_BACKEND_TRUNCATED:
        session_finish_with(s, DIALOGUE_LOST,
                            "backend closed without a TLS close_notify (truncated?)");
        break;
    case PUMP_TIMEOUT:
        session_finish_with(s, DIALOGUE_LOST, "nothing moved for %d seconds",
                            s->pool->service->timeout_idle);
        break;
    case PUMP_CANCELLED:
        session_finish_with(s, DIALOGUE_LOST, "cut off because ehlock is stopping");
        break;
    case PUMP_LOST_CLIENT:
        session_finish_with(s, DIALOGUE_LOST, "client lost the connection");
        break;
    case PUMP_LOST_BACKEND:
        session_finish_with(s, DIALOGUE_LOST, "backend lost the connection");
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
static struct admittance ask_admission(const struct session *s)
{
    struct admittance a = s->admission->ask(s->admission->ctx, s->peer);
    if (a.refusal.code == 0)
        a.refusal = s->dialogue.policy->refusal;
    return a;
}

/* A client that comes or begins TLS too often is not worth a handshake; others that are refused are
 * told so under TLS. False: it is over. */
static bool begin_with_tls(struct session *s, const struct admittance *a)
{
    if (a->comes_too_often || session_shakes_hands_too_often(s)) {
        s->refused = true;
        session_finish_with(s, DIALOGUE_REFUSED, "%s",
                            a->comes_too_often ? a->refusal.reason
                                               : "Too many TLS handshakes in a short time");
        return false;
    }
    s->dialogue.step = "TLS handshake";
    return keys_are_loaded(s, true) && session_start_tls(s);
}

static void run(struct session *s)
{
    if (!session_identify_client(s))
        return;
    session_heed_address_rules(s);
    log_info("service=%s client=%s%s%s connected", s->pool->service->name, s->peer->text,
             s->via != NULL ? " via=" : "", s->via != NULL ? s->via->text : "");
    struct admittance a = ask_admission(s);
    s->refused = a.refusal.code != 0;
    if (session_begins_with_tls(s) && !begin_with_tls(s, &a))
        return;
    if (a.refusal.code == 0)
        a.refusal = s->dialogue.policy->refusal; /* the name it asked for may be refused */
    if (a.refusal.code != 0) {
        session_turn_away(s, &a.refusal);
        return;
    }
    if (s->dialogue.unwelcome != NULL && s->pool->service->protocol == NULL) {
        s->end = DIALOGUE_REFUSED;
        return;
    }
    if (!session_reach_server(s) || !keys_are_loaded(s, false))
        return;
    if (!session_secure_at_once(s)) {
        tell_remedy(s);
        return;
    }
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
    if (s->admission->leave != NULL)
        s->admission->leave(s->admission->ctx);
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
    session_finish_with(s, DIALOGUE_LOST, "out of memory");
    if (is_between_words(s)) {
        (void)wire_flush(&s->client, wire_deadline(GOODBYE_SECONDS));
        session_tell_sorry(s, "Out of memory, try again later");
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
                        .admission = admission,
                        .end = DIALOGUE_LOST,
                        .policy = pool->policy,
                        .refused = true,
                        .began = wire_now()};
    s.dialogue = (struct dialogue){
        .client = &s.client,
        .backend = &s.backend,
        .policy = &s.policy,
        .step = "beginning",
        .pretls_deadline = s.began + (int64_t)pool->service->timeout_pretls * 1000,
        .login = pool->login != NULL ? &s.credentials.login : NULL,
        .clock = time,
        .session = &s,
    };
    session_set_client_calls(&s.dialogue);
    session_set_server_calls(&s.dialogue);
    if (pool->login != NULL)
        s.credentials.login = pool->login->words;
    turns_begin(&s.turns, s.began, s.dialogue.pretls_deadline);
    s.ruling = (struct ruling){.rules = &pool->service->rules, .common = &s.policy};
    s.log_level = log_level();
    memory_set_last_words(last_words, &s);
    struct transport t = transport_of_fd(&s.client_fd);
    wire_init(&s.client, &t, pool->cancel_fd);
    run(&s);
    memory_set_last_words(NULL, NULL);
    close_both(&s);
    summarize(&s);
    session_note_offer(&s);
    log_set_level(s.log_level);
    tls_destroy(s.tls);
    upstream_drop(&s.upstream);
    credentials_drop_token(&s.credentials);
    wire_finish(&s.client);
    wire_finish(&s.backend);
}
