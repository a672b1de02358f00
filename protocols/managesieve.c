/* SPDX-License-Identifier: ISC
 *
 * ManageSieve (RFC 5804) up to the login, as prelogin.h tells the story. managesieve_syntax.c knows
 * where lines end, managesieve_list.c edits lists of capabilities. Here are the words: how commands
 * and answers are read, and the table of verbs.
 *
 * A literal may hold anything, and stands at the beginning of a line. A server that refuses a
 * command may take the literal in it for commands, as Dovecot and Cyrus do before the login. So a
 * command is read with all its literals, and what goes to the backend is one line: strings are in
 * quotes, and hold no line end. A line of which nobody knows where it ends is answered with BYE.
 *
 * The client hears the capabilities with the greeting, and unasked after TLS (§2.2). They are the
 * backend's of that moment: it is asked again, or another connection has greeted us.
 *
 * A backend that has heard an attempt to log in in clear is left for another connection when TLS is
 * there. CAPABILITY and NOOP leave nothing behind.
 *
 * Bugs: what comes after the login is the backend's own, its capabilities too; so is what follows
 * UNAUTHENTICATE (§2.14.1). Servers that keep their capabilities to themselves after TLS (timsieved
 * of Cyrus 2.2) are waited for in vain.
 */
#include <stdio.h>
#include <string.h>

#include "protocols/dialogue.h"
#include "protocols/managesieve_list.h"
#include "protocols/managesieve_syntax.h"
#include "protocols/managesieve_visit.h"
#include "protocols/prelogin.h"
#include "protocols/prelogin_exchange.h"
#include "protocols/prelogin_login.h"
#include "protocols/prelogin_say.h"

/* ---- the list ---- */

static void edit_list(struct prelogin *s)
{
    const struct sieve_rules rules = {.offer_starttls = prelogin_offers_tls(s),
                                      .hide_login = prelogin_login_withheld(s),
                                      .hide = &s->d->policy->hide,
                                      .edits = &s->d->policy->edits};
    sieve_edit_list(&s->reply, &rules, &s->edited);
}

/* A list that must be there. `s->reply` is none. */
static enum dialogue_end lack_list(struct prelogin *s)
{
    dialogue_because_of(s->d, "backend does not tell its capabilities", s->reply.bytes,
                        s->reply.len);
    prelogin_goodbye(s, "Mail server gives no service, try again later");
    prelogin_quit_backend(s);
    return DIALOGUE_REFUSED;
}

/* The capabilities of now become s->edited. */
static enum dialogue_end ask_for_list(struct prelogin *s)
{
    enum dialogue_end end = prelogin_ask(s, "CAPABILITY", FORM_LIST);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->status != ANSWER_OK)
        return lack_list(s);
    edit_list(s);
    return DIALOGUE_GO_ON;
}

/* Whom Dovecot takes for somebody else it may offer something else. */
static enum dialogue_end introduced(struct prelogin *s)
{
    s->d->step = "asking the backend for its capabilities";
    return ask_for_list(s);
}

static enum dialogue_end upgraded(struct prelogin *s, bool renewed)
{
    s->d->step = "telling the capabilities after TLS";
    enum dialogue_end end = renewed ? DIALOGUE_GO_ON : ask_for_list(s);
    return end == DIALOGUE_GO_ON ? prelogin_pass_reply(s, &s->edited) : end;
}

/* The other way round: the server tells them unasked. */
static enum dialogue_end secured(struct prelogin *s)
{
    s->d->step = "reading the backend's capabilities after TLS";
    enum dialogue_end end = prelogin_read_reply(s, FORM_LIST);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->status != ANSWER_OK)
        return lack_list(s);
    edit_list(s);
    return DIALOGUE_GO_ON;
}

static enum dialogue_end learn_offer(struct prelogin *s)
{
    s->d->offered_tls = sieve_offers(&s->reply, "STARTTLS");
    return DIALOGUE_GO_ON;
}

/* What was said in clear is among it only where the session goes on in clear. */
static enum dialogue_end welcome(struct prelogin *s)
{
    return prelogin_pass_reply(s, &s->edited);
}

static bool takes_xclient(const struct prelogin *s)
{
    return sieve_offers(&s->reply, "XCLIENT");
}

/* ---- the commands ---- */

static enum dialogue_end do_capability(struct prelogin *s, const struct command *c,
                                       const struct line *line)
{
    if (c->args_len > 0)
        return prelogin_refuse(s, "CAPABILITY takes no argument");
    enum dialogue_end end = prelogin_forward(s, line, FORM_LIST);
    if (end != DIALOGUE_GO_ON)
        return end;
    edit_list(s);
    return prelogin_pass_answer(s, &s->edited);
}

static enum dialogue_end do_noop(struct prelogin *s, const struct command *c,
                                 const struct line *line)
{
    if (!sieve_is_harmless_string(c->args, c->args_len))
        return prelogin_refuse(s, "NOOP takes one string without control characters");
    enum dialogue_end end = prelogin_forward(s, line, FORM_LINE);
    return end == DIALOGUE_GO_ON ? prelogin_pass_answer(s, &s->reply) : end;
}

static enum dialogue_end do_logout(struct prelogin *s, const struct command *c,
                                   const struct line *line)
{
    if (c->args_len > 0)
        return prelogin_refuse(s, "LOGOUT takes no argument");
    return prelogin_do_quit(s, c, line);
}

static const struct verb verbs[] = {
    {"AUTHENTICATE", "relaying AUTHENTICATE", prelogin_do_sasl, 0},
    {"CAPABILITY", "relaying CAPABILITY", do_capability, BEFORE_TLS},
    {"CHECKSCRIPT", "refusing CHECKSCRIPT", prelogin_do_too_early, OWN_GATE},
    {"DELETESCRIPT", "refusing DELETESCRIPT", prelogin_do_too_early, OWN_GATE},
    {"GETSCRIPT", "refusing GETSCRIPT", prelogin_do_too_early, OWN_GATE},
    {"HAVESPACE", "refusing HAVESPACE", prelogin_do_too_early, OWN_GATE},
    {"LISTSCRIPTS", "refusing LISTSCRIPTS", prelogin_do_too_early, OWN_GATE},
    {"LOGOUT", "relaying LOGOUT", do_logout, BEFORE_TLS | LEAVES},
    {"NOOP", "relaying NOOP", do_noop, BEFORE_TLS},
    {"PUTSCRIPT", "refusing PUTSCRIPT", prelogin_do_too_early, OWN_GATE},
    {"RENAMESCRIPT", "refusing RENAMESCRIPT", prelogin_do_too_early, OWN_GATE},
    {"SETACTIVE", "refusing SETACTIVE", prelogin_do_too_early, OWN_GATE},
    {"STARTTLS", "preparing STARTTLS", prelogin_do_starttls, BEFORE_TLS},
    {"UNAUTHENTICATE", "refusing UNAUTHENTICATE", prelogin_do_too_early, OWN_GATE},
    {"XCLIENT", "refusing XCLIENT", prelogin_do_forbidden, OWN_GATE},
    {NULL, "refusing a command", prelogin_do_unknown, OWN_GATE},
};

/* ---- how the client is read ---- */

/* Whatever comes next, nobody knows whether it is a command. */
static enum dialogue_end end_unclear(struct prelogin *s, const char *text)
{
    return prelogin_refuse_and_close(s, false, text);
}

/* A bare LF that is to be mended is, as in dialogue_put_line. */
static void keep_piece(struct prelogin *s, const struct line *piece)
{
    bool mend = !piece->crlf && s->d->policy->bare_newline == BARE_NEWLINE_NORMALIZE;
    reply_append(&s->command, piece->data, mend ? piece->text_len : piece->len);
    if (mend)
        reply_append(&s->command, "\r\n", 2);
}

/* One piece of a line, and the literal behind it. Together they may be as long as one line. */
static enum dialogue_end take_piece(struct prelogin *s, int64_t deadline, bool *whole)
{
    struct line piece;
    size_t max = s->d->policy->max_command, literal;
    bool behind_literal = s->command.len > 0;
    enum wire_status status = wire_getline(s->d->client, max - s->command.len, deadline, &piece);
    if (status == WIRE_TOOLONG)
        return end_unclear(s, "Command too long");
    if (status != WIRE_OK)
        return prelogin_lost_client(s, status);
    if (!dialogue_ends_clearly(s->d, &piece))
        return end_unclear(s, "Lines end with <CR><LF> and hold neither elsewhere");
    keep_piece(s, &piece);
    switch (sieve_read_piece(piece.data, piece.text_len, SIEVE_CLIENT, behind_literal, &literal)) {
    case SIEVE_ENDS:
        *whole = true;
        return DIALOGUE_GO_ON;
    case SIEVE_BAD:
        return end_unclear(s, "Syntax error");
    case SIEVE_GOES_ON:
        break;
    }
    if (s->command.len > max || literal > max - s->command.len)
        return end_unclear(s, "Command too long");
    status = dialogue_take_bytes(s->d->client, literal, deadline, &s->command);
    return status == WIRE_OK ? DIALOGUE_GO_ON : prelogin_lost_client(s, status);
}

/* s->command, and `line`, which borrows from it, become what the backend may be told. */
static void write_in_quotes(struct prelogin *s, struct line *line)
{
    struct reply out = {0};
    size_t end = sieve_append_in_quotes(&out, s->command.bytes, s->command.len);
    reply_finish(&s->command);
    s->command = out;
    *line = (struct line){
        .data = out.bytes, .len = out.len, .text_len = out.len - end, .crlf = end == 2};
}

static enum dialogue_end take_line(struct prelogin *s, int64_t deadline, struct line *line)
{
    enum dialogue_end end = DIALOGUE_GO_ON;
    bool whole = false;
    reply_clear(&s->command);
    while (end == DIALOGUE_GO_ON && !whole)
        end = take_piece(s, deadline, &whole);
    if (end == DIALOGUE_GO_ON)
        write_in_quotes(s, line);
    return end;
}

static enum dialogue_end take_command(struct prelogin *s, int64_t deadline, struct command *c,
                                      struct line *line)
{
    enum dialogue_end end = take_line(s, deadline, line);
    if (end != DIALOGUE_GO_ON || sieve_parse_command(line->data, line->text_len, c))
        return end;
    c->verb[0] = '\0';
    return prelogin_refuse(s, "Syntax error, command unrecognized");
}

static enum dialogue_end take_answer(struct prelogin *s, struct line *line, bool *bad)
{
    enum dialogue_end end = take_line(s, dialogue_client_deadline(s->d, s->decided), line);
    if (end == DIALOGUE_GO_ON)
        *bad = !sieve_is_answer(line->data, line->text_len);
    return end;
}

static const char *mind_mechanism(const struct command *c)
{
    return sieve_mind_mechanism(c->args, c->args_len);
}

/* ---- how the backend is read ---- */

/* One line with its literals, which is then what s->reply holds from `start` on. */
static enum heard hear_line(struct prelogin *s, size_t start, int64_t deadline,
                            enum wire_status *why)
{
    for (;;) {
        struct line piece;
        size_t literal;
        bool behind_literal = s->reply.len > start;
        enum heard heard = prelogin_hear_line(s, deadline, &piece, why);
        if (heard != HEARD_REPLY)
            return heard;
        switch (
            sieve_read_piece(piece.data, piece.text_len, SIEVE_SERVER, behind_literal, &literal)) {
        case SIEVE_ENDS:
            return HEARD_REPLY;
        case SIEVE_BAD:
            return HEARD_NONSENSE;
        case SIEVE_GOES_ON:
            break;
        }
        heard = prelogin_hear_bytes(s, literal, deadline, why);
        if (heard != HEARD_REPLY)
            return heard;
    }
}

static enum heard hear(struct prelogin *s, enum form form, int64_t deadline, enum wire_status *why)
{
    size_t start;
    reply_clear(&s->reply);
    do {
        start = s->reply.len;
        enum heard heard = hear_line(s, start, deadline, why);
        if (heard != HEARD_REPLY)
            return heard;
        s->status = sieve_answer_of(s->reply.bytes + start, s->reply.len - start);
    } while (form == FORM_LIST && s->status == ANSWER_CONTINUE);
    bool sound = s->status != ANSWER_NONSENSE &&
                 (s->status != ANSWER_CONTINUE || sieve_is_challenge(s->reply.bytes, s->reply.len));
    return sound ? HEARD_REPLY : HEARD_NONSENSE;
}

/* ---- the protocol ---- */

static enum wire_status put(struct wire *client, const char *prefix, const char *text,
                            int64_t deadline)
{
    struct reply line = {0};
    reply_append(&line, prefix, strlen(prefix));
    reply_append(&line, " ", 1);
    sieve_append_quoted(&line, text, strlen(text));
    reply_append(&line, "\r\n", 2);
    enum wire_status status = wire_put(client, line.bytes, line.len, deadline);
    reply_finish(&line);
    return status;
}

static const struct prelogin_words words = {
    .protocol = &protocol_managesieve,
    .name = "ManageSieve",
    .starttls = "STARTTLS",
    .quit = "LOGOUT",
    .cancel = "\"*\"",
    .bad_answer = "Authentication data is not base64",
    .greeting = FORM_LIST,
    .goodbye = ANSWER_BYE,
    .prefixes = {[SAY_OK] = "OK",
                 [SAY_NO] = "NO",
                 [SAY_TRY_LATER] = "NO (TRYLATER)",
                 [SAY_NEEDS_TLS] = "NO (ENCRYPT-NEEDED)"},
    .verbs = verbs,
    .put = put,
    .take_command = take_command,
    .take_answer = take_answer,
    .mind_mechanism = mind_mechanism,
    .hear = hear,
    .edit_greeting = edit_list,
    .takes_xclient = takes_xclient,
    .introduced = introduced,
    .upgraded = upgraded,
    .secured = secured,
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

/* BYE may take the place of a greeting (§1.2), and of any answer; TRYLATER: §1.3. */
static void sorry(struct wire *client, const char *hostname, const char *text, int64_t deadline)
{
    char sentence[1024];
    snprintf(sentence, sizeof sentence, "%.255s %s", hostname, text);
    (void)put(client, "BYE (TRYLATER)", sentence, deadline);
}

static void refuse(struct wire *client, const char *hostname, const struct refusal *r,
                   int64_t deadline)
{
    (void)hostname;
    (void)put(client, r->code / 100 == 4 ? "BYE (TRYLATER)" : "BYE", r->text, deadline);
}

const struct protocol protocol_managesieve = {
    .name = "managesieve",
    .rfc = "RFC 5804",
    .port = 4190,
    .tls_port = 0, /* IANA has none */
    .server_first = true,
    .alpn = "managesieve",
    .serve = serve,
    .request = request,
    .sorry = sorry,
    .refuse = refuse,
    .visit = sieve_visit,
    .may_show = sieve_may_show,
    .may_add = sieve_may_add,
};
