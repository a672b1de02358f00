/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_login.h"

#include <stdio.h>
#include <string.h>

#include "protocols/dialogue.h"
#include "protocols/sasl.h"
#include "protocols/smtp_exchange.h"
#include "protocols/smtp_say.h"

enum {
    REPLY_HELLO = 250,
    REPLY_AUTH_DONE = 235,
    REPLY_AUTH_CONTINUE = 334,
    COMMAND_MAX = 512, /* bytes with CRLF: no initial response may make AUTH longer (RFC 4954 §4) */
    CHALLENGES_MAX = 8, /* no mechanism has more than three */
};

static const char log_in_step[] = "logging in to the backend";
static const char refused_remedy[] = "see protocolUsername and what stands in protocolPasswordFile "
                                     "or protocolTokenFile, or what protocolTokenProgram prints";
static const char none_remedy[] =
    "protocolAuthentication must name one that it offers, and the right kind of secret must be "
    "there: a password, or a token";

/* ---- the ends of an attempt ---- */

static enum dialogue_end turn_away(struct smtp *s, const char *text)
{
    smtp_goodbye(s, "4.7.0", text);
    dialogue_quit_backend(s->d);
    return DIALOGUE_REFUSED;
}

/* Servers repeat what they do not understand; a password or a token is not for the log. */
static void because_of_reply(struct smtp *s, const struct sasl *sasl, const char *mechanism)
{
    char what[80];
    if (sasl_is_repeated(sasl, s->reply.bytes, s->reply.len)) {
        dialogue_because(s->d, "login by %s was refused: %d, and words that repeat ours", mechanism,
                         s->reply.code);
        return;
    }
    snprintf(what, sizeof what, "login by %s was refused", mechanism);
    smtp_because_of_reply(s, what);
}

/* Whatever the code, the client is told 421: a password that is wrong can be mended, and no mail is
 * lost by it. */
static enum dialogue_end refused(struct smtp *s, const struct sasl *sasl, const char *mechanism)
{
    because_of_reply(s, sasl, mechanism);
    if (s->reply.code / 100 == 4)
        return turn_away(s, "Mail server cannot let us log in now, try again later");
    s->d->remedy = refused_remedy;
    return turn_away(s, "Mail server refuses our login, try again later");
}

static enum dialogue_end distrust(struct smtp *s, const char *mechanism, const char *why)
{
    dialogue_because(s->d, "login by %s was given up: %s", mechanism, why);
    return turn_away(s, "Login at the mail server has failed, try again later");
}

/* ---- the exchange ---- */

/* A verb with the mechanism, a response, or all of them on a line that is not kept. */
static enum dialogue_end send_line(struct smtp *s, const char *verb, const char *mechanism,
                                   const char *response)
{
    char line[sizeof "AUTH " + 32 + SASL_LINE_MAX];
    bool second = mechanism[0] != '\0' && response[0] != '\0';
    snprintf(line, sizeof line, "%s%s%s%s\r\n", verb, mechanism, second ? " " : "", response);
    enum dialogue_end end = smtp_ask(s, line);
    explicit_bzero(line, sizeof line);
    return end;
}

/* None of ours is empty, so "=" (RFC 4954 §4) is never needed. *waiting: it did not fit into the
 * command, and is to be said to an empty challenge. */
static enum dialogue_end begin(struct smtp *s, struct sasl *sasl, const char *mechanism,
                               const char **waiting)
{
    const char *why;
    *waiting = NULL;
    if (!sasl_client_begins(sasl))
        return send_line(s, "AUTH ", mechanism, "");
    const char *first = sasl_first(sasl, &why);
    if (first == NULL)
        return distrust(s, mechanism, why);
    if (strlen("AUTH  \r\n") + strlen(mechanism) + strlen(first) <= COMMAND_MAX)
        return send_line(s, "AUTH ", mechanism, first);
    *waiting = first;
    return send_line(s, "AUTH ", mechanism, "");
}

/* The text of a 334 of one line; false: it is something else. */
static bool read_challenge(const struct smtp *s, const char **text, size_t *len)
{
    const struct reply *r = &s->reply;
    *len = r->len;
    while (*len > 0 && strchr("\r\n", r->bytes[*len - 1]) != NULL)
        --*len;
    if (r->lines != 1 || *len < 3 || *len > SASL_LINE_MAX)
        return false;
    size_t skip = *len > 3 ? 4 : 3; /* "334" alone is what some servers mean by "334 " */
    *text = r->bytes + skip;
    *len -= skip;
    return true;
}

/* Cancels (RFC 4954 §4), so that the server does not wait. */
static enum dialogue_end cancel(struct smtp *s, const char *mechanism, const char *why)
{
    enum dialogue_end end = smtp_ask(s, "*\r\n");
    return end == DIALOGUE_GO_ON ? distrust(s, mechanism, why) : end;
}

static enum dialogue_end answer_challenge(struct smtp *s, struct sasl *sasl, const char *mechanism,
                                          const char **waiting)
{
    const char *text, *why = "server sent a challenge of several lines, or too long a one";
    size_t len;
    if (!read_challenge(s, &text, &len))
        return cancel(s, mechanism, why);
    const char *response = *waiting;
    if (response != NULL && len > 0)
        return cancel(s, mechanism, "server sent a challenge to a mechanism that has none yet");
    if (response == NULL)
        response = sasl_respond(sasl, text, len, &why);
    *waiting = NULL;
    return response != NULL ? send_line(s, "", "", response) : cancel(s, mechanism, why);
}

static enum dialogue_end run(struct smtp *s, struct sasl *sasl, const char *mechanism)
{
    const char *waiting;
    unsigned challenges = 0;
    enum dialogue_end end = begin(s, sasl, mechanism, &waiting);
    while (end == DIALOGUE_GO_ON && s->reply.code == REPLY_AUTH_CONTINUE) {
        if (++challenges > CHALLENGES_MAX)
            return cancel(s, mechanism, "server sends challenges without end");
        end = answer_challenge(s, sasl, mechanism, &waiting);
    }
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->reply.code >= 400)
        return refused(s, sasl, mechanism);
    if (s->reply.code != REPLY_AUTH_DONE)
        return smtp_distrust_backend(s, "answered AUTH with a code that has no meaning there");
    if (!sasl_is_complete(sasl) || waiting != NULL)
        return distrust(s, mechanism, "server says 235 before the mechanism is complete");
    s->d->logged_in = mechanism;
    return DIALOGUE_GO_ON;
}

/* ---- before it ---- */

/* What is offered in clear has never been looked at: it is anybody's. */
static enum dialogue_end ask_for_mechanisms(struct smtp *s)
{
    char command[300];
    snprintf(command, sizeof command, "%s %.255s\r\n", s->lmtp ? "LHLO" : "EHLO",
             s->d->policy->hostname);
    enum dialogue_end end = smtp_ask(s, command);
    if (end != DIALOGUE_GO_ON || s->reply.code == REPLY_HELLO)
        return end;
    smtp_because_of_reply(s, "backend refuses our EHLO or LHLO under TLS");
    return turn_away(s, "Mail server does not let us in, try again later");
}

static enum dialogue_end choose(struct smtp *s, const char **mechanism)
{
    const char *offered;
    size_t len;
    if (!reply_find(&s->reply, "AUTH", &offered, &len))
        len = 0;
    while (len > 0 && strchr(" =", *offered) != NULL) { /* '=': the old spelling */
        offered++;
        len--;
    }
    *mechanism = sasl_choose(s->d->login, offered, len);
    if (*mechanism != NULL)
        return DIALOGUE_GO_ON;
    if (len > 0)
        dialogue_because_of(
            s->d, "server offers none of the mechanisms that are wanted, but others", offered, len);
    else
        dialogue_because(s->d, "server offers no mechanism to log in");
    s->d->remedy = none_remedy;
    return turn_away(s, "Mail server offers no way to log in that we want, try again later");
}

static enum dialogue_end attempt(struct smtp *s, const char *mechanism)
{
    struct sasl *sasl = sasl_begin(s->d->login, mechanism);
    enum dialogue_end end = run(s, sasl, mechanism);
    sasl_end(sasl);
    return end;
}

/* Tokens are good for an hour or so: whoever makes them is asked when one is needed, and no sooner.
 */
static enum dialogue_end attempt_with_secret(struct smtp *s, const char *mechanism)
{
    if (s->d->login->secret != NULL)
        return attempt(s, mechanism);
    s->d->step = "taking a token to log in with";
    if (!s->d->take_secret(s->d))
        return turn_away(s, "Login at the mail server is not possible now, try again later");
    s->d->step = log_in_step;
    enum dialogue_end end = attempt(s, mechanism);
    s->d->drop_secret(s->d);
    wire_wipe_sent(s->d->backend);
    return end;
}

enum dialogue_end smtp_log_in(struct smtp *s)
{
    const char *mechanism;
    if (s->d->login == NULL)
        return DIALOGUE_GO_ON;
    s->d->step = log_in_step;
    s->d->logging_in = true;
    if (!s->d->server_tls_active || !s->d->server_verified) {
        dialogue_because(s->d, "no login: the server has not been verified");
        return turn_away(s, "Mail server cannot be verified, try again later");
    }
    enum dialogue_end end = ask_for_mechanisms(s);
    s->chosen = end == DIALOGUE_GO_ON; /* a password that is wrong here is wrong elsewhere */
    if (end == DIALOGUE_GO_ON)
        end = choose(s, &mechanism);
    if (end != DIALOGUE_GO_ON)
        return end;
    s->own_hello = s->reply; /* taken */
    s->reply = (struct reply){0};
    return attempt_with_secret(s, mechanism);
}

bool smtp_recall_hello(struct smtp *s, bool extended)
{
    struct reply *r = &s->own_hello;
    if (r->code == 0)
        return false;
    if (!extended) {
        const char *end = memchr(r->bytes, '\n', r->len);
        r->len = end != NULL ? (size_t)(end - r->bytes) + 1 : r->len;
        r->lines = 1;
        if (r->len > 4 && r->bytes[3] == '-')
            r->bytes[3] = ' ';
    }
    reply_finish(&s->reply);
    s->reply = *r; /* taken */
    *r = (struct reply){0};
    return true;
}
