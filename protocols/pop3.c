/* SPDX-License-Identifier: ISC
 *
 * POP3 (RFC 1939) with CAPA (RFC 2449) and STLS (RFC 2595 §4) up to the login, as prelogin.h tells
 * the story. pop3_login.c serves the commands by which one logs in, pop3_reply.c edits. Here are
 * the words: how commands and answers are read, and the table of verbs.
 *
 * A backend that has heard more than CAPA in clear, a USER or a LANG, is left for another
 * connection when TLS is there.
 *
 * Bugs: commands before the login that no RFC knows are refused, because nobody knows where their
 * answers end. CAPA after the login is the backend's own.
 */
#include <string.h>

#include "protocols/dialogue.h"
#include "protocols/pop3_login.h"
#include "protocols/pop3_reply.h"
#include "protocols/pop3_visit.h"
#include "protocols/prelogin.h"
#include "protocols/prelogin_exchange.h"
#include "protocols/prelogin_login.h"
#include "protocols/prelogin_say.h"

/* ---- the commands ---- */

/* A backend without CAPA says so for itself, unless we have something to offer: STLS must not be
 * without CAPA (RFC 2595 §4). Nor may CAPA have gone when TLS is there: fetchmail gives up then. */
static bool needs_list(const struct prelogin *s)
{
    return prelogin_offers_tls(s) || s->upgraded || keyword_is_any_added(&s->d->policy->edits);
}

static enum dialogue_end do_capa(struct prelogin *s, const struct command *c,
                                 const struct line *line)
{
    const struct pop3_rules rules = {.offer_stls = prelogin_offers_tls(s),
                                     .hide_login = prelogin_login_withheld(s),
                                     .hide = &s->d->policy->hide,
                                     .edits = &s->d->policy->edits};
    (void)c;
    enum dialogue_end end = prelogin_forward(s, line, FORM_LIST);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->status == ANSWER_OK)
        pop3_edit_capabilities(&s->reply, &rules, &s->edited);
    else if (needs_list(s))
        pop3_write_capabilities(&rules, &s->edited);
    else
        return prelogin_pass_answer(s, &s->reply);
    return prelogin_pass_reply(s, &s->edited);
}

/* LANG and UTF8 (RFC 6856): LANG alone is answered with a list. */
static enum dialogue_end do_relay(struct prelogin *s, const struct command *c,
                                  const struct line *line)
{
    bool lists = strcmp(c->verb, "LANG") == 0 && c->args_len == 0;
    s->touched = true;
    enum dialogue_end end = prelogin_forward(s, line, lists ? FORM_LIST : FORM_LINE);
    return end == DIALOGUE_GO_ON ? prelogin_pass_answer(s, &s->reply) : end;
}

static const struct verb verbs[] = {
    {"APOP", "relaying APOP", pop3_do_pass, 0},
    {"AUTH", "relaying AUTH", prelogin_do_sasl, 0},
    {"CAPA", "relaying CAPA", do_capa, BEFORE_TLS},
    {"DELE", "refusing DELE", prelogin_do_too_early, OWN_GATE},
    {"LANG", "relaying LANG", do_relay, 0},
    {"LIST", "refusing LIST", prelogin_do_too_early, OWN_GATE},
    {"NOOP", "refusing NOOP", prelogin_do_too_early, OWN_GATE},
    {"PASS", "relaying PASS", pop3_do_pass, 0},
    {"QUIT", "relaying QUIT", prelogin_do_quit, BEFORE_TLS | LEAVES},
    {"RETR", "refusing RETR", prelogin_do_too_early, OWN_GATE},
    {"RSET", "refusing RSET", prelogin_do_too_early, OWN_GATE},
    {"STAT", "refusing STAT", prelogin_do_too_early, OWN_GATE},
    {"STLS", "preparing STLS", prelogin_do_starttls, BEFORE_TLS},
    {"TOP", "refusing TOP", prelogin_do_too_early, OWN_GATE},
    {"UIDL", "refusing UIDL", prelogin_do_too_early, OWN_GATE},
    {"USER", "relaying USER", pop3_do_user, 0},
    {"UTF8", "relaying UTF8", do_relay, 0},
    {"XCLIENT", "refusing XCLIENT", prelogin_do_forbidden, OWN_GATE},
    {NULL, "refusing a command", prelogin_do_unknown, OWN_GATE},
};

/* ---- how it is read and written ---- */

static enum wire_status put(struct wire *client, const char *prefix, const char *text,
                            int64_t deadline)
{
    return wire_printf(client, deadline, "%s %s\r\n", prefix, text);
}

/* Refused, and the session goes on behind it. */
static enum dialogue_end skip_long_line(struct prelogin *s)
{
    enum wire_status status =
        wire_skip_line(s->d->client, SKIP_MAX, dialogue_client_deadline(s->d, s->decided));
    if (status == WIRE_TOOLONG)
        return prelogin_refuse_and_close(s, false, "Endless line");
    if (status != WIRE_OK)
        return prelogin_lost_client(s, status);
    return prelogin_refuse(s, "Line too long");
}

static enum dialogue_end take_command(struct prelogin *s, int64_t deadline, struct command *c,
                                      struct line *line)
{
    enum wire_status status = wire_getline(s->d->client, s->d->policy->max_command, deadline, line);
    c->verb[0] = '\0';
    if (status == WIRE_TOOLONG)
        return skip_long_line(s);
    if (status != WIRE_OK)
        return prelogin_lost_client(s, status);
    if (!dialogue_ends_clearly(s->d, line))
        return prelogin_refuse(s, "Lines end with <CR><LF> and hold neither elsewhere");
    if (command_parse(line->data, line->text_len, c))
        return DIALOGUE_GO_ON;
    c->verb[0] = '\0';
    return prelogin_refuse(s, "Syntax error, command unrecognized");
}

static enum dialogue_end take_answer(struct prelogin *s, struct line *line, bool *bad)
{
    int64_t deadline = dialogue_client_deadline(s->d, s->decided);
    enum wire_status status = wire_getline(s->d->client, s->d->policy->max_command, deadline, line);
    if (status == WIRE_OK && dialogue_ends_clearly(s->d, line))
        return DIALOGUE_GO_ON;
    *bad = true;
    if (status == WIRE_TOOLONG)
        status = wire_skip_line(s->d->client, SKIP_MAX, deadline);
    return status == WIRE_OK ? DIALOGUE_GO_ON : prelogin_lost_client(s, status);
}

/* AUTH alone, which was never in an RFC, is answered with a list by some servers and with one line
 * by others: whoever forwards it does not know what to wait for. CAPA tells the mechanisms. */
static const char *mind_mechanism(const struct command *c)
{
    if (c->args_len == 0)
        return "AUTH needs a mechanism";
    return command_binds_channel(c) ? "Mechanism is not available" : NULL;
}

static enum heard hear(struct prelogin *s, enum form form, int64_t deadline, enum wire_status *why)
{
    struct line line;
    reply_clear(&s->reply);
    enum heard heard = prelogin_hear_line(s, deadline, &line, why);
    if (heard != HEARD_REPLY)
        return heard;
    s->status = pop3_status_of(line.data, line.text_len);
    if (s->status == ANSWER_NONSENSE)
        return HEARD_NONSENSE;
    if (form == FORM_LINE || s->status != ANSWER_OK)
        return HEARD_REPLY;
    do
        heard = prelogin_hear_line(s, deadline, &line, why);
    while (heard == HEARD_REPLY && !pop3_is_end(line.data, line.text_len));
    return heard;
}

static void edit_greeting(struct prelogin *s)
{
    pop3_edit_greeting(s->reply.bytes, s->reply.len, prelogin_login_withheld(s), &s->edited);
}

static bool takes_xclient(const struct prelogin *s)
{
    return pop3_greeting_takes_xclient(s->reply.bytes, s->reply.len);
}

/* A server that knows no CAPA offers nothing. */
static enum dialogue_end learn_offer(struct prelogin *s)
{
    s->d->step = "asking the backend for its capabilities";
    enum dialogue_end end = prelogin_ask(s, "CAPA", FORM_LIST);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->status == ANSWER_CONTINUE)
        return prelogin_distrust_backend(s, "answered CAPA with what is no list");
    s->d->offered_tls = pop3_offers(&s->reply, "STLS"); /* -ERR has no list behind it */
    return DIALOGUE_GO_ON;
}

/* What the server has told us counts for nothing. */
static enum dialogue_end welcome(struct prelogin *s)
{
    enum wire_status status = wire_printf(s->d->client, wire_deadline(s->d->policy->idle_seconds),
                                          "+OK %.255s POP3\r\n", s->d->policy->hostname);
    return status == WIRE_OK ? DIALOGUE_GO_ON : prelogin_lost_client(s, status);
}

/* ---- the protocol ---- */

static const struct prelogin_words words = {
    .protocol = &protocol_pop3,
    .name = "POP3",
    .starttls = "STLS",
    .quit = "QUIT",
    .cancel = "*",
    .bad_answer = "Authentication line is too long or has bare newlines",
    .greeting = FORM_LINE,
    .goodbye = ANSWER_NO,
    .prefixes = {[SAY_OK] = "+OK",
                 [SAY_NO] = "-ERR",
                 [SAY_TRY_LATER] = "-ERR [SYS/TEMP]",
                 [SAY_NEEDS_TLS] = "-ERR"},
    .verbs = verbs,
    .put = put,
    .take_command = take_command,
    .take_answer = take_answer,
    .mind_mechanism = mind_mechanism,
    .hear = hear,
    .edit_greeting = edit_greeting,
    .takes_xclient = takes_xclient,
    .learn_offer = learn_offer,
    .welcome = welcome,
};

static enum dialogue_end serve(struct dialogue *d)
{
    return prelogin_serve(d, &words);
}

static enum dialogue_end request(struct dialogue *d)
{
    return prelogin_request(d, &words);
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
    .serve = serve,
    .request = request,
    .sorry = sorry,
    .refuse = refuse,
    .visit = pop3_visit,
    .may_show = pop3_may_show,
    .may_add = pop3_may_add,
};
