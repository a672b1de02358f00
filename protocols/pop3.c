/* SPDX-License-Identifier: ISC
 *
 * POP3 (RFC 1939) with CAPA (RFC 2449) and STLS (RFC 2595 §4), in lock-step up to the login: one
 * command is read, forwarded, its whole answer read, edited if need be and sent back, before the
 * next command is taken from the client's buffer. Behind the login nothing can be edited and
 * nothing has to be understood: bytes are passed.
 * The acts of it are in files of their own: pop3_client.c waits for the client, pop3_exchange.c
 * asks the backend, pop3_say.c says what we say ourselves, pop3_login.c serves the commands by
 * which one logs in, pop3_reply.c edits. This one tells the story.
 *
 * There are two stories, and they differ in how they begin. Mostly we offer TLS to the client; the
 * backend behind us has none. The other way round (pop3_request.c) the client has none, and we have
 * asked the backend for TLS before the client says its first word.
 *
 * Nothing said in clear counts after TLS. What the client's wire still holds behind the STLS line
 * belongs to the handshake. There is no command that would make a backend forget a USER or a LANG:
 * one that has heard more than CAPA in clear is left for another connection.
 *
 * Bugs: commands before the login that no RFC knows are refused, because nobody knows where their
 * answers end. CAPA after the login is the backend's own.
 */
#include <string.h>

#include "protocols/dialogue.h"
#include "protocols/pop3_client.h"
#include "protocols/pop3_exchange.h"
#include "protocols/pop3_login.h"
#include "protocols/pop3_request.h"
#include "protocols/pop3_say.h"
#include "protocols/pop3_visit.h"
#include "protocols/pop3_xclient.h"

/* ---- the commands ---- */

/* Where TLS is needed, the offer is not hidden: there would be no way to get it. */
static bool has_tls_to_offer(const struct pop3 *s)
{
    const struct policy *p = s->d->policy;
    return !s->requesting && (p->tls_level == TLS_LEVEL_ENCRYPT ||
                              (p->tls_level == TLS_LEVEL_MAY && !p->hide_starttls));
}

static bool tls_offered(const struct pop3 *s)
{
    return has_tls_to_offer(s) && !s->d->tls_active;
}

/* A backend without CAPA says so for itself, unless we have something to offer: STLS must not be
 * without CAPA (RFC 2595 §4). Nor may CAPA have gone when TLS is there: fetchmail gives up then. */
static bool needs_list(const struct pop3 *s)
{
    return tls_offered(s) || s->upgraded || keyword_is_any_added(&s->d->policy->edits);
}

static enum dialogue_end do_capa(struct pop3 *s, const struct command *c, const struct line *line)
{
    const struct pop3_rules rules = {.offer_stls = tls_offered(s),
                                     .hide_login = pop3_login_withheld(s),
                                     .hide = &s->d->policy->hide,
                                     .edits = &s->d->policy->edits};
    (void)c;
    enum dialogue_end end = pop3_forward(s, line, POP3_LIST);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->status == POP3_CONTINUE)
        return pop3_distrust_backend(s, "asked for more after a command that is complete");
    if (s->status == POP3_OK)
        pop3_edit_capabilities(&s->reply, &rules, &s->edited);
    else if (needs_list(s))
        pop3_write_capabilities(&rules, &s->edited);
    else
        return pop3_pass_reply(s, &s->reply);
    return pop3_pass_reply(s, &s->edited);
}

/* Leaves the backend for a new connection. The client has had its greeting: the second one is not
 * passed on. */
static enum dialogue_end renew_backend(struct pop3 *s)
{
    struct dialogue *d = s->d;
    dialogue_quit_backend(d);
    s->touched = false;
    if (!d->renew_backend(d)) {
        pop3_goodbye(s, "Mail server is not available, try again later");
        return DIALOGUE_LOST;
    }
    return d->policy->xclient ? pop3_introduce_client(s) : pop3_meet_backend(s);
}

/* RFC 2595 §4. A backend that has gone is noticed before the go-ahead. */
static enum dialogue_end do_stls(struct pop3 *s, const struct command *c, const struct line *line)
{
    struct dialogue *d = s->d;
    (void)line;
    if (c->args_len > 0)
        return pop3_refuse(s, "STLS takes no argument");
    if (d->tls_active)
        return pop3_refuse(s, "TLS is already active");
    if (!has_tls_to_offer(s))
        return pop3_refuse(s, "STLS is not offered");
    if (!d->tls_ready(d))
        return pop3_refuse(s, "[SYS/TEMP] TLS is not available at the moment");
    if (wire_readable(d->backend))
        return pop3_hear_backend(s);

    enum dialogue_end end = pop3_say(s, "+OK", "Begin TLS");
    if (end == DIALOGUE_GO_ON)
        end = pop3_flush_client(s);
    if (end != DIALOGUE_GO_ON)
        return end;
    d->step = "TLS handshake";
    if (!d->start_tls(d))
        return DIALOGUE_LOST;
    s->upgraded = s->decided = true;
    s->useless = 0;
    if (d->unwelcome != NULL) /* who will hear nothing but refusals needs no other backend */
        return DIALOGUE_GO_ON;
    return d->policy->reconnect || s->touched ? renew_backend(s) : DIALOGUE_GO_ON;
}

/* LANG and UTF8 (RFC 6856): LANG alone is answered with a list. */
static enum dialogue_end do_relay(struct pop3 *s, const struct command *c, const struct line *line)
{
    bool lists = strcmp(c->verb, "LANG") == 0 && c->args_len == 0;
    s->touched = true;
    enum dialogue_end end = pop3_forward(s, line, lists ? POP3_LIST : POP3_LINE);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->status == POP3_CONTINUE)
        return pop3_distrust_backend(s, "asked for more after a command that is complete");
    return pop3_pass_reply(s, &s->reply);
}

/* QUIT gets its +OK even from a backend that is gone, or says something else: the client has all it
 * wanted. */
static enum dialogue_end do_quit(struct pop3 *s, const struct command *c, const struct line *line)
{
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    bool stale = dialogue_is_out_of_turn(s->d);
    enum wire_status why;
    (void)c;
    if (dialogue_put_line(s->d, line, deadline) == WIRE_OK)
        (void)wire_flush(s->d->backend, deadline);
    bool good = pop3_hear_reply(s, POP3_LINE, deadline, &why) == POP3_HEARD_REPLY && !stale &&
                s->status != POP3_CONTINUE;
    enum wire_status status = good ? wire_put(s->d->client, s->reply.bytes, s->reply.len, deadline)
                                   : wire_printf(s->d->client, deadline, "+OK Bye\r\n");
    if (status != WIRE_OK)
        dialogue_because(s->d, "client %s", wire_status_text(status));
    return DIALOGUE_DONE; /* the session sends it, together with the end of the connection */
}

/* Dovecot trusts our address with this; nobody else may use it. */
static enum dialogue_end do_forbidden(struct pop3 *s, const struct command *c,
                                      const struct line *line)
{
    (void)c;
    (void)line;
    return pop3_refuse(s, "Not permitted");
}

static enum dialogue_end do_too_early(struct pop3 *s, const struct command *c,
                                      const struct line *line)
{
    (void)c;
    (void)line;
    return pop3_refuse(s, "Log in first");
}

static enum dialogue_end do_unknown(struct pop3 *s, const struct command *c,
                                    const struct line *line)
{
    (void)c;
    (void)line;
    return pop3_refuse(s, "Unknown command");
}

enum {
    BEFORE_TLS = 1, /* allowed where TLS is needed and not yet there */
    OWN_GATE = 2,   /* its handler refuses for itself */
    LEAVES = 4,     /* is answered whatever the policy */
};

static const struct verb {
    const char *name, *step;
    pop3_handler *handle;
    unsigned flags;
} verbs[] = {
    {"APOP", "relaying APOP", pop3_do_pass, 0},
    {"AUTH", "relaying AUTH", pop3_do_auth, 0},
    {"CAPA", "relaying CAPA", do_capa, BEFORE_TLS},
    {"DELE", "refusing DELE", do_too_early, OWN_GATE},
    {"LANG", "relaying LANG", do_relay, 0},
    {"LIST", "refusing LIST", do_too_early, OWN_GATE},
    {"NOOP", "refusing NOOP", do_too_early, OWN_GATE},
    {"PASS", "relaying PASS", pop3_do_pass, 0},
    {"QUIT", "relaying QUIT", do_quit, BEFORE_TLS | LEAVES},
    {"RETR", "refusing RETR", do_too_early, OWN_GATE},
    {"RSET", "refusing RSET", do_too_early, OWN_GATE},
    {"STAT", "refusing STAT", do_too_early, OWN_GATE},
    {"STLS", "preparing STLS", do_stls, BEFORE_TLS},
    {"TOP", "refusing TOP", do_too_early, OWN_GATE},
    {"UIDL", "refusing UIDL", do_too_early, OWN_GATE},
    {"USER", "relaying USER", pop3_do_user, 0},
    {"UTF8", "relaying UTF8", do_relay, 0},
    {"XCLIENT", "refusing XCLIENT", do_forbidden, OWN_GATE},
    {NULL, "refusing a command", do_unknown, OWN_GATE},
};

static const struct verb *find_verb(const char *name)
{
    const struct verb *v = verbs;
    while (v->name != NULL && strcmp(v->name, name) != 0)
        v++;
    return v;
}

static enum dialogue_end turn_away(struct pop3 *s, const struct refusal *r)
{
    enum dialogue_end end = pop3_refuse_and_close(s, r->code / 100 == 4, r->text);
    dialogue_because(s->d, "%s", r->reason);
    return end;
}

static enum dialogue_end handle(struct pop3 *s, const struct line *line)
{
    struct dialogue *d = s->d;
    struct command c;
    if (!dialogue_ends_clearly(d, line))
        return pop3_refuse(s, "Lines end with <CR><LF> and hold neither elsewhere");
    if (!command_parse(line->data, line->text_len, &c))
        return pop3_refuse(s, "Syntax error, command unrecognized");

    const struct verb *v = find_verb(c.verb);
    d->step = v->step;
    if (v->flags & LEAVES)
        return v->handle(s, &c, line);
    if (d->policy->refusal.code != 0)
        return turn_away(s, &d->policy->refusal);
    if (d->unwelcome != NULL) {
        d->step = "refusing a client without a good certificate";
        return pop3_refuse(s, d->unwelcome);
    }
    if (!(v->flags & (BEFORE_TLS | OWN_GATE)) && pop3_lacks_tls(s))
        return pop3_refuse(s, "Must issue a STLS command first");
    return v->handle(s, &c, line);
}

/* Every command is one that has brought no login. */
static enum dialogue_end next_command(struct pop3 *s)
{
    struct line line;
    int64_t deadline = dialogue_client_deadline(s->d, s->decided);
    s->d->step = "waiting for a command";
    enum dialogue_end end = pop3_wait_for_client(s, deadline);
    if (end != DIALOGUE_GO_ON)
        return end;
    enum wire_status status =
        wire_getline(s->d->client, s->d->policy->max_command, deadline, &line);
    if (status != WIRE_OK && status != WIRE_TOOLONG)
        return pop3_lost_client(s, status);
    s->useless++;
    end = status == WIRE_OK ? handle(s, &line) : pop3_skip_long_line(s);
    if (end == DIALOGUE_GO_ON && s->useless > s->d->policy->max_useless) {
        dialogue_because(s->d, "client sent more than %u commands without a login",
                         s->d->policy->max_useless);
        pop3_goodbye(s, "Too many commands without a login");
        return DIALOGUE_REFUSED;
    }
    return end;
}

static enum dialogue_end next_commands(struct pop3 *s, enum dialogue_end end)
{
    while (end == DIALOGUE_GO_ON)
        end = next_command(s);
    reply_finish(&s->reply);
    reply_finish(&s->edited);
    return end;
}

/* The greeting comes before the command, and is passed on when that has been believed. */
static enum dialogue_end begin(struct pop3 *s)
{
    if (!s->d->policy->xclient)
        return pop3_pass_greeting(s);
    enum dialogue_end end = pop3_introduce_client(s);
    return end == DIALOGUE_GO_ON ? pop3_pass_reply(s, &s->edited) : end;
}

static enum dialogue_end pop3_serve(struct dialogue *d)
{
    struct pop3 s = {.d = d, .decided = d->tls_active};
    return next_commands(&s, begin(&s));
}

static enum dialogue_end pop3_request(struct dialogue *d)
{
    struct pop3 s = {.d = d, .requesting = true};
    return next_commands(&s, pop3_open_request(&s));
}

/* RFC 3206 §4. */
static void sorry(struct wire *client, const char *hostname, const char *text, int64_t deadline)
{
    (void)wire_printf(client, deadline, "-ERR [SYS/TEMP] %.255s %s\r\n", hostname, text);
}

static void refuse(struct wire *client, const char *hostname, const struct refusal *r,
                   int64_t deadline)
{
    (void)hostname;
    (void)wire_printf(client, deadline, "-ERR [SYS/%s] %s\r\n",
                      r->code / 100 == 4 ? "TEMP" : "PERM", r->text);
}

const struct protocol protocol_pop3 = {
    .name = "pop3",
    .rfc = "RFC 2595",
    .port = 110,
    .tls_port = 995,
    .server_first = true,
    .alpn = "pop3",
    .serve = pop3_serve,
    .request = pop3_request,
    .sorry = sorry,
    .refuse = refuse,
    .visit = pop3_visit,
    .may_show = pop3_may_show,
    .may_add = pop3_may_add,
};
