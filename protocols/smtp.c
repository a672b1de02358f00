/* SPDX-License-Identifier: ISC
 *
 * SMTP (RFC 5321) and LMTP (RFC 2033) with STARTTLS (RFC 3207), in lock-step: one
 * command is read, forwarded, its whole reply read, edited if need be and sent back, before the
 * next command is taken from the client's buffer. A client that pipelines (RFC 2920) does not
 * notice: its group waits in the buffer, and our replies leave in one write when it is empty.
 * The acts of it are in files of their own: smtp_client.c waits for the client, smtp_exchange.c
 * asks the backend, smtp_say.c says what we say ourselves, smtp_message.c and smtp_auth.c serve
 * the commands that take more than a line. This one tells the story.
 *
 * There are two stories, and they differ in how they begin. Mostly we offer TLS to the client; the
 * backend behind us has none. The other way round (smtp_request.c) the client has none, and we
 * have asked the backend for TLS before the client says its first word.
 *
 * Nothing said in clear counts after TLS. What the client's wire still holds behind the STARTTLS
 * line belongs to the handshake, so a command slipped in there breaks it and reaches nobody
 * (CVE-2011-0411).
 *
 * Bugs: a SASL security layer (RFC 4954 §4, GSSAPI and DIGEST-MD5 may negotiate one) makes the
 * stream opaque and ends the session with 500; clients do not ask for one inside TLS.
 */
#include <string.h>

#include "protocols/dialogue.h"
#include "protocols/smtp_auth.h"
#include "protocols/smtp_client.h"
#include "protocols/smtp_exchange.h"
#include "protocols/smtp_login.h"
#include "protocols/smtp_message.h"
#include "protocols/smtp_request.h"
#include "protocols/smtp_say.h"
#include "protocols/smtp_trace.h"
#include "protocols/smtp_visit.h"
#include "protocols/smtp_xclient.h"

enum {
    REPLY_GREETING = 220,
    REPLY_TLS_GO_AHEAD = 220,
    REPLY_OUT_OF_ORDER = 503,
};

/* ---- the commands ---- */

/* Where TLS is needed, the offer is not hidden: there would be no way to get it. */
static bool has_tls_to_offer(const struct smtp *s)
{
    const struct policy *p = s->d->policy;
    return !s->requesting && (p->tls_level == TLS_LEVEL_ENCRYPT ||
                              (p->tls_level == TLS_LEVEL_MAY && !p->hide_starttls));
}

static bool tls_offered(const struct smtp *s)
{
    return has_tls_to_offer(s) && !s->d->tls_active && !s->authenticated;
}

/* Leaves the backend for a new connection. The client has had its greeting: the second one is not
 * passed on. */
static enum dialogue_end renew_backend(struct smtp *s)
{
    struct dialogue *d = s->d;
    dialogue_quit_backend(s->d);
    s->greeted_in_clear = false;
    if (!d->renew_backend(d)) {
        smtp_goodbye(s, "4.3.0", "Mail server is not available, try again later");
        return DIALOGUE_LOST;
    }
    if (d->policy->xclient) {
        d->xclient.proto = s->lmtp ? "LMTP" : "ESMTP";
        return smtp_introduce_client(s);
    }
    d->step = "reading the backend's second greeting";
    enum dialogue_end end = smtp_read_reply(s, d->policy->busy_seconds);
    if (end == DIALOGUE_GO_ON && s->reply.code != REPLY_GREETING)
        return smtp_distrust_backend(s, "did not greet a second time");
    return end;
}

/* Forwards EHLO, LHLO or HELO. RFC 5321 §4.1.4 allows them at any time, but OpenSMTPD answers 503
 * to the second one in a connection, and a client that has begun TLS must say it again (RFC 3207
 * §4.2). Such a backend gets a new connection, and hears it there as the first. */
static enum dialogue_end forward_hello(struct smtp *s, const struct command *c,
                                       const struct line *line)
{
    enum dialogue_end end = smtp_forward(s, line);
    if (end == DIALOGUE_GO_ON && s->reply.code == REPLY_OUT_OF_ORDER &&
        smtp_recall_hello(s, c->verb[0] != 'H')) /* what it knows us by is our own, of the login */
        return end;
    if (end != DIALOGUE_GO_ON || s->reply.code != REPLY_OUT_OF_ORDER || !s->greeted_in_clear ||
        s->greeted)
        return end;
    end = renew_backend(s);
    if (end != DIALOGUE_GO_ON)
        return end;
    s->d->step = "repeating the hello to a new connection";
    return smtp_forward(s, line);
}

/* EHLO and LHLO: the reply is edited, and it is edited again after TLS, because a keyword of the
 * backend must not appear there either (RFC 3207 §4.2). */
static enum dialogue_end do_ehlo(struct smtp *s, const struct command *c, const struct line *line)
{
    if (s->lmtp != (c->verb[0] == 'L')) /* RFC 2033 §4.1: the one MUST NOT pass for the other */
        return smtp_refuse(s, 500, "5.5.1",
                           s->lmtp ? "This is LMTP: use LHLO" : "This is SMTP: use EHLO");
    enum dialogue_end end = forward_hello(s, c, line);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->reply.code / 100 == 3)
        return smtp_distrust_backend(s, "asked for data after a command that has none");
    if (!smtp_is_success(&s->reply))
        return smtp_pass_reply(s, &s->reply);
    if (s->reply.code != 250)
        return smtp_distrust_backend(s, "answered EHLO with a success that is not 250");

    const struct capability_rules rules = {.offer_starttls = tls_offered(s),
                                           .hide_auth = smtp_auth_hidden(s),
                                           .hide = &s->d->policy->hide,
                                           .edits = &s->d->policy->edits};
    reply_edit_capabilities(&s->reply, &rules, &s->edited, &s->told);
    s->greeted = true;
    smtp_trace_hello(s, c);
    smtp_forget_transaction(s);
    return smtp_pass_reply(s, &s->edited);
}

static enum dialogue_end do_helo(struct smtp *s, const struct command *c, const struct line *line)
{
    if (s->lmtp)
        return smtp_refuse(s, 500, "5.5.1", "This is LMTP: use LHLO");
    enum dialogue_end end = forward_hello(s, c, line);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->reply.code / 100 == 3)
        return smtp_distrust_backend(s, "asked for data after a command that has none");
    if (smtp_is_success(&s->reply)) {
        s->greeted = true;
        smtp_trace_hello(s, c);
        s->told = (struct capabilities){0};
        smtp_forget_transaction(s);
    }
    return smtp_pass_reply(s, &s->reply);
}

/* RSET shows at the same time that the backend is still there. */
static enum dialogue_end reset_backend(struct smtp *s, bool *refused)
{
    enum dialogue_end end = smtp_ask(s, "RSET\r\n");
    *refused = false;
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->reply.code == REPLY_CLOSING)
        return smtp_pass_reply(s, &s->reply);
    *refused = !smtp_is_success(&s->reply);
    return !*refused
               ? end
               : smtp_refuse(s, 454, "4.7.0", "TLS is not available: mail server refused RSET");
}

/* RFC 3207 §4. The backend is reset before the go-ahead, or replaced after the handshake, which is
 * the more complete reset; then it sees the client's new EHLO. */
static enum dialogue_end do_starttls(struct smtp *s, const struct command *c,
                                     const struct line *line)
{
    struct dialogue *d = s->d;
    (void)line;
    if (c->args_len > 0)
        return smtp_refuse(s, 501, "5.5.4", "STARTTLS takes no argument");
    if (d->tls_active)
        return smtp_refuse(s, 503, "5.5.1", "TLS is already active");
    if (!has_tls_to_offer(s))
        return smtp_refuse(s, 502, "5.5.1", "STARTTLS is not offered");
    if (s->authenticated) /* no RSET undoes an AUTH that was said in clear */
        return smtp_refuse(s, 503, "5.5.1", "Already authenticated");
    if (!d->tls_ready(d))
        return smtp_refuse(s, 454, "4.7.0", "TLS is not available at the moment");

    bool refused = false;
    enum dialogue_end end = d->policy->reconnect ? DIALOGUE_GO_ON : reset_backend(s, &refused);
    if (end != DIALOGUE_GO_ON || refused)
        return end;

    end = smtp_say(s, REPLY_TLS_GO_AHEAD, "2.0.0", "Ready to start TLS");
    if (end != DIALOGUE_GO_ON)
        return end;
    end = smtp_flush_client(s);
    if (end != DIALOGUE_GO_ON)
        return end;
    d->step = "TLS handshake";
    if (!d->start_tls(d))
        return DIALOGUE_LOST;

    /* RFC 3207 §4.2: what was learned in clear is forgotten. */
    s->told = (struct capabilities){0};
    s->greeted_in_clear = s->greeted;
    s->greeted = false;
    s->helo_len = 0;
    s->extended = false;
    s->decided = true;
    s->useless = 0;
    smtp_forget_transaction(s);
    if (d->unwelcome != NULL) /* who will hear nothing but refusals needs no other backend */
        return DIALOGUE_GO_ON;
    return d->policy->reconnect ? renew_backend(s) : DIALOGUE_GO_ON;
}

static enum dialogue_end do_mail(struct smtp *s, const struct command *c, const struct line *line)
{
    enum dialogue_end end = smtp_relay(s, line);
    if (end == DIALOGUE_GO_ON && smtp_is_success(&s->reply)) {
        s->d->tally.senders++;
        s->decided = true;
        smtp_forget_transaction(s);
        s->utf8 = smtp_mail_asks_utf8(c);
    }
    return end;
}

static enum dialogue_end do_rcpt(struct smtp *s, const struct command *c, const struct line *line)
{
    (void)c;
    enum dialogue_end end = smtp_relay(s, line);
    if (end == DIALOGUE_GO_ON && smtp_is_success(&s->reply)) {
        s->d->tally.recipients++;
        s->recipients++;
    }
    return end;
}

/* ---- the rest ---- */

static enum dialogue_end do_rset(struct smtp *s, const struct command *c, const struct line *line)
{
    (void)c;
    enum dialogue_end end = smtp_relay(s, line);
    if (end == DIALOGUE_GO_ON && smtp_is_success(&s->reply))
        smtp_forget_transaction(s);
    return end;
}

/* QUIT gets its 221 even from a backend that is gone, or says something else: the client has all it
 * wanted. */
static enum dialogue_end do_quit(struct smtp *s, const struct command *c, const struct line *line)
{
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    bool stale = dialogue_is_out_of_turn(s->d);
    enum wire_status why;
    (void)c;
    if (dialogue_put_line(s->d, line, deadline) == WIRE_OK)
        (void)wire_flush(s->d->backend, deadline);
    bool good = smtp_hear_reply(s, deadline, &why) == SMTP_HEARD_REPLY && !stale &&
                s->reply.code / 100 != 3;
    enum wire_status status = good ? wire_put(s->d->client, s->reply.bytes, s->reply.len, deadline)
                                   : wire_printf(s->d->client, deadline, "221 Bye\r\n");
    if (status != WIRE_OK)
        dialogue_because(s->d, "client %s", wire_status_text(status));
    return DIALOGUE_DONE; /* the session sends it, together with the end of the connection */
}

/* The backend trusts our address with these; nobody else may use that (never an open relay). */
static enum dialogue_end do_forbidden(struct smtp *s, const struct command *c,
                                      const struct line *line)
{
    (void)c;
    (void)line;
    return smtp_refuse(s, 550, "5.7.0", "Not permitted");
}

/* TURN and ATRN change roles, XEXCH50 carries octets that only Exchange can count,
 * X-ANONYMOUSTLS starts a TLS of its own: none can cross a proxy that stays in step. */
static enum dialogue_end do_unimplemented(struct smtp *s, const struct command *c,
                                          const struct line *line)
{
    (void)c;
    (void)line;
    return smtp_refuse(s, 502, "5.5.1", "Command not implemented");
}

static enum dialogue_end do_relay(struct smtp *s, const struct command *c, const struct line *line)
{
    (void)c;
    return smtp_relay(s, line);
}

enum {
    BEFORE_TLS = 1, /* allowed where TLS is needed and not yet there (RFC 3207 §4) */
    HELLO = 2,      /* needs a new EHLO after TLS */
    USELESS = 4,    /* brings no mail nearer */
    NOW = 8,        /* its reply is not held back in a pipelined group (RFC 2920 §3.2) */
    OWN_GATE = 16,  /* its handler refuses for itself */
    NAMES = 32,     /* its argument is how the client calls itself */
    LEAVES = 64,    /* is answered whatever the policy */
};

static const struct verb {
    const char *name, *step;
    smtp_handler *handle;
    unsigned flags;
} verbs[] = {
    {"ATRN", "refusing ATRN", do_unimplemented, OWN_GATE},
    {"AUTH", "relaying AUTH", smtp_do_auth, HELLO | NOW},
    {"BDAT", "relaying BDAT", smtp_do_bdat, OWN_GATE},
    {"DATA", "relaying DATA", smtp_do_data, HELLO | NOW},
    {"EHLO", "relaying EHLO", do_ehlo, BEFORE_TLS | USELESS | NOW | NAMES},
    {"EXPN", "relaying EXPN", do_relay, HELLO | USELESS | NOW},
    {"HELO", "relaying HELO", do_helo, BEFORE_TLS | USELESS | NOW | NAMES},
    {"HELP", "relaying HELP", do_relay, BEFORE_TLS | USELESS | NOW},
    {"LHLO", "relaying LHLO", do_ehlo, BEFORE_TLS | USELESS | NOW | NAMES},
    {"MAIL", "relaying MAIL", do_mail, HELLO},
    {"NOOP", "relaying NOOP", do_relay, BEFORE_TLS | USELESS | NOW},
    {"QUIT", "relaying QUIT", do_quit, BEFORE_TLS | NOW | LEAVES},
    {"RCPT", "relaying RCPT", do_rcpt, HELLO},
    {"RSET", "relaying RSET", do_rset, BEFORE_TLS | USELESS},
    {"STARTTLS", "preparing STARTTLS", do_starttls, BEFORE_TLS | NOW},
    {"TURN", "refusing TURN", do_unimplemented, OWN_GATE},
    {"VRFY", "relaying VRFY", do_relay, HELLO | USELESS | NOW},
    {"X-ANONYMOUSTLS", "refusing X-ANONYMOUSTLS", do_unimplemented, OWN_GATE},
    {"X-EXPS", "relaying X-EXPS", smtp_do_auth, HELLO | NOW},
    {"XCLIENT", "refusing XCLIENT", do_forbidden, OWN_GATE},
    {"XEXCH50", "refusing XEXCH50", do_unimplemented, OWN_GATE},
    {"XFORWARD", "refusing XFORWARD", do_forbidden, OWN_GATE},
    {NULL, "relaying a command", do_relay, HELLO | USELESS | NOW},
};

static const struct verb *find_verb(const char *name)
{
    const struct verb *v = verbs;
    while (v->name != NULL && strcmp(v->name, name) != 0)
        v++;
    return v;
}

/* A line that is no command: its reply is not held back either (RFC 2920 §3.2). */
static enum dialogue_end refuse_now(struct smtp *s, const char *text)
{
    enum dialogue_end end = smtp_refuse(s, 500, "5.5.2", text);
    return end == DIALOGUE_GO_ON ? smtp_flush_client(s) : end;
}

static enum dialogue_end turn_away(struct smtp *s, const struct refusal *r)
{
    enum dialogue_end end = smtp_refuse_and_close(s, r->code, r->enhanced, r->text);
    dialogue_because(s->d, "%s", r->reason);
    return end;
}

/* RFC 3207 §4.1: whom TLS has not shown to be one of those who are served gets 554 to everything
 * but QUIT, and nothing of it reaches the backend. */
static enum dialogue_end refuse_unwelcome(struct smtp *s)
{
    s->d->step = "refusing a client without a good certificate";
    enum dialogue_end end = smtp_refuse(s, 554, "5.7.0", s->d->unwelcome);
    return end == DIALOGUE_GO_ON ? smtp_flush_client(s) : end;
}

static enum dialogue_end handle(struct smtp *s, const struct line *line)
{
    struct dialogue *d = s->d;
    struct command c;
    if (!dialogue_ends_clearly(s->d, line))
        return refuse_now(s, "Lines end with <CR><LF> and hold neither elsewhere");
    if (!command_parse(line->data, line->text_len, &c))
        return refuse_now(s, "Syntax error, command unrecognized");

    const struct verb *v = find_verb(c.verb);
    d->step = v->step;
    if ((v->flags & NAMES) && d->hello != NULL)
        d->hello(d, c.args, c.args_len);
    if (d->policy->refusal.code != 0 && !(v->flags & LEAVES))
        return turn_away(s, &d->policy->refusal);
    if (d->unwelcome != NULL && !(v->flags & LEAVES))
        return refuse_unwelcome(s);
    if (!(v->flags & (BEFORE_TLS | OWN_GATE)) && smtp_lacks_tls(s))
        return smtp_refuse(s, 530, "5.7.0", "Must issue a STARTTLS command first");
    const char *lacking = smtp_lacks_hello(s);
    if ((v->flags & HELLO) && lacking != NULL)
        return smtp_refuse(s, 503, "5.5.1", lacking);
    unsigned before = s->useless;
    enum dialogue_end end = v->handle(s, &c, line);
    if ((v->flags & USELESS) && s->useless == before)
        s->useless++;
    if (end != DIALOGUE_GO_ON || !(v->flags & NOW))
        return end;
    return smtp_flush_client(s);
}

static enum dialogue_end next_command(struct smtp *s)
{
    struct line line;
    int64_t deadline = dialogue_client_deadline(s->d, s->decided);
    s->d->step = "waiting for a command";
    enum dialogue_end end = smtp_wait_for_client(s, deadline);
    if (end != DIALOGUE_GO_ON)
        return end;
    enum wire_status status =
        wire_getline(s->d->client, s->d->policy->max_command, deadline, &line);
    if (status == WIRE_TOOLONG)
        end = smtp_skip_long_line(s);
    else if (status != WIRE_OK)
        return smtp_lost_client(s, status);
    else
        end = handle(s, &line);
    if (end == DIALOGUE_GO_ON && s->useless > s->d->policy->max_useless) {
        dialogue_because(s->d, "client sent more than %u commands without a message",
                         s->d->policy->max_useless);
        smtp_goodbye(s, "4.7.0", "Too many commands without a message");
        return DIALOGUE_REFUSED;
    }
    return end;
}

static enum dialogue_end next_commands(struct smtp *s, enum dialogue_end end)
{
    while (end == DIALOGUE_GO_ON)
        end = next_command(s);
    reply_finish(&s->reply);
    reply_finish(&s->edited);
    reply_finish(&s->own_hello);
    return end;
}

/* The client hears the greeting that is meant for it. */
static enum dialogue_end begin(struct smtp *s)
{
    if (!s->d->policy->xclient)
        return smtp_pass_greeting(s);
    enum dialogue_end end = smtp_introduce_client(s);
    return end == DIALOGUE_GO_ON ? smtp_pass_reply(s, &s->reply) : end;
}

static enum dialogue_end serve(struct dialogue *d, bool lmtp)
{
    struct smtp s = {.d = d, .lmtp = lmtp, .decided = d->tls_active};
    return next_commands(&s, begin(&s));
}

static enum dialogue_end request(struct dialogue *d, bool lmtp)
{
    struct smtp s = {.d = d, .lmtp = lmtp, .requesting = true};
    return next_commands(&s, smtp_open_request(&s));
}

static enum dialogue_end smtp_serve(struct dialogue *d)
{
    return serve(d, false);
}

static enum dialogue_end smtp_request(struct dialogue *d)
{
    return request(d, false);
}

static enum dialogue_end lmtp_serve(struct dialogue *d)
{
    return serve(d, true);
}

static enum dialogue_end lmtp_request(struct dialogue *d)
{
    return request(d, true);
}

static void sorry(struct wire *client, const char *hostname, const char *text, int64_t deadline)
{
    (void)wire_printf(client, deadline, "421 4.3.2 %.255s %s\r\n", hostname, text);
}

/* RFC 5321 §3.1: a session that is not to be is opened with 554, or with 421 if the client shall
 * come back. */
static void refuse(struct wire *client, const char *hostname, const struct refusal *r,
                   int64_t deadline)
{
    bool temporary = r->code / 100 == 4;
    (void)wire_printf(client, deadline, "%d %s %.255s%s%s\r\n", temporary ? REPLY_CLOSING : 554,
                      r->enhanced, temporary ? hostname : "", temporary ? " " : "", r->text);
}

const struct protocol protocol_smtp = {
    .name = "smtp",
    .rfc = "RFC 3207",
    .port = 25,
    .tls_port = 465,
    .server_first = true,
    .alpn = "smtp esmtp",
    .serve = smtp_serve,
    .request = smtp_request,
    .sorry = sorry,
    .refuse = refuse,
    .visit = smtp_visit,
    .may_show = smtp_may_show,
    .may_add = reply_may_add,
};

const struct protocol protocol_lmtp = {
    .name = "lmtp",
    .rfc = "RFC 2033, RFC 3207",
    .port = 24,
    .tls_port = 0,
    .server_first = true,
    .alpn = "lmtp",
    .serve = lmtp_serve,
    .request = lmtp_request,
    .sorry = sorry,
    .refuse = refuse,
    .visit = lmtp_visit,
    .may_show = smtp_may_show,
    .may_add = reply_may_add,
};
