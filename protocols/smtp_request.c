/* SPDX-License-Identifier: ISC
 *
 * The client waits for a greeting while we ask the server for TLS, and it is we who greet it then.
 * Nothing that the server has said in clear reaches it: not the greeting, not a keyword, not a
 * refusal. And nothing of the client reaches the server in clear where TLS is needed: we say EHLO
 * in our own name, and the client's EHLO is the first that the server hears under TLS.
 *
 * What goes wrong before that is a 421 with a sentence of our own. A refusal in clear may be an
 * attacker's, so it must not make the client give its mail up; the words for it are those of
 * RFC 8460 §4.3. The client hears it when there is no other server to go on with (RFC 5321 §5.1):
 * until then it has heard nothing.
 */
#include "protocols/smtp_request.h"

#include <stdio.h>

#include "protocols/dialogue.h"
#include "protocols/smtp_exchange.h"
#include "protocols/smtp_login.h"
#include "protocols/smtp_say.h"

enum {
    REPLY_HELLO = 250,
    REPLY_TLS_GO_AHEAD = 220,
};

/* ---- ending it before it has begun ---- */

static void tell_reason(struct smtp *s)
{
    char sentence[LAST_WORD_MAX + 1];
    dialogue_sentence(s->d, sentence);
    smtp_goodbye(s, "4.7.5", sentence);
}

/* RFC 3207 §4.1: whom the server does not satisfy says QUIT. */
static enum dialogue_end quit(struct smtp *s)
{
    dialogue_quit_backend(s->d);
    return DIALOGUE_REFUSED;
}

static enum dialogue_end turn_away(struct smtp *s, const char *enhanced, const char *text)
{
    smtp_goodbye(s, enhanced, text);
    return quit(s);
}

/* ---- meeting the server ---- */

static enum dialogue_end say_hello(struct smtp *s, const char *verb)
{
    char command[300];
    s->d->step = "greeting the backend";
    snprintf(command, sizeof command, "%s %.255s\r\n", verb, s->d->policy->hostname);
    enum dialogue_end end = smtp_ask(s, command);
    if (end == DIALOGUE_GO_ON && s->reply.code < 400 && s->reply.code != REPLY_HELLO)
        return smtp_distrust_backend(s, "answered our EHLO or HELO with a code that is not 250");
    return end;
}

static enum dialogue_end refused_hello(struct smtp *s)
{
    smtp_because_of_reply(s, "backend refuses our EHLO or HELO");
    return turn_away(s, "4.3.0", "Mail server does not let us in, try again later");
}

/* Learns whether TLS is offered. A server that knows no EHLO offers nothing; but where TLS is
 * needed it is asked for all the same, for whoever removes the keyword may also refuse the EHLO. */
static enum dialogue_end introduce(struct smtp *s)
{
    enum dialogue_end end = say_hello(s, s->lmtp ? "LHLO" : "EHLO");
    if (end != DIALOGUE_GO_ON)
        return end;
    s->d->offered_tls = s->reply.code == REPLY_HELLO && reply_offers(&s->reply, "STARTTLS");
    s->d->heard_offer = s->reply.code / 100 != 4;
    s->greeted_in_clear = s->reply.code == REPLY_HELLO; /* once may be all that it takes */
    if (s->reply.code == REPLY_HELLO)
        return DIALOGUE_GO_ON;
    if (s->reply.code / 100 == 4)
        return refused_hello(s);
    if (s->lmtp || s->d->policy->tls_level != TLS_LEVEL_ENCRYPT)
        return DIALOGUE_GO_ON; /* the client will hear that from the server itself */
    end = say_hello(s, "HELO");
    return end != DIALOGUE_GO_ON || s->reply.code == REPLY_HELLO ? end : refused_hello(s);
}

/* ---- asking for TLS ---- */

/* Whether there has been no server but this, and will be none: several share one time. */
static bool is_alone(const struct smtp *s)
{
    return !s->d->others_left && s->met == 1;
}

/* The connection can no longer be used in clear, either. The reason stays for the log: it says why
 * there is no TLS. */
static enum dialogue_end begin_again(struct smtp *s)
{
    s->d->step = "connecting to the backend again, for a session in clear";
    s->decided = is_alone(s);
    s->greeted_in_clear = false;
    if (s->d->renew_backend(s->d))
        return smtp_meet_backend(s);
    smtp_goodbye(s, "4.3.0", "Mail server cannot be reached, try again later");
    return DIALOGUE_LOST;
}

static enum dialogue_end shake_hands(struct smtp *s)
{
    s->d->step = "TLS handshake with the backend";
    switch (s->d->secure(s->d)) {
    case OUTCOME_SECURED:
        s->greeted_in_clear = false;
        return DIALOGUE_GO_ON;
    case OUTCOME_UNTRUSTED:
        tell_reason(s);
        return quit(s);
    case OUTCOME_BROKEN:
        break;
    }
    if (dialogue_may_fall_back(s->d))
        return begin_again(s);
    tell_reason(s);
    return DIALOGUE_LOST;
}

/* 4xx or 5xx: the session stands as it was (RFC 3207 §4). After a 421 there is none. */
static enum dialogue_end refused_tls(struct smtp *s)
{
    smtp_because_of_reply(s, "starttls-not-supported: backend refuses STARTTLS");
    if (!dialogue_may_fall_back(s->d))
        return turn_away(s, "4.7.4",
                         s->d->offered_tls
                             ? "starttls-not-supported: mail server refuses STARTTLS"
                             : "starttls-not-supported: mail server does not offer STARTTLS");
    return s->reply.code == REPLY_CLOSING ? begin_again(s) : DIALOGUE_GO_ON;
}

/* One line that says 220 is the go-ahead, and nothing else is: of a longer reply or another code
 * nobody can say whether the server begins TLS behind it. */
static enum dialogue_end ask_for_tls(struct smtp *s)
{
    enum wire_status why;
    s->d->step = "asking the backend for TLS";
    enum smtp_heard heard = smtp_try(s, "STARTTLS\r\n", &why);
    if (heard == SMTP_HEARD_REPLY && s->reply.code == REPLY_TLS_GO_AHEAD && s->reply.lines == 1)
        return shake_hands(s);
    if (heard == SMTP_HEARD_REPLY && s->reply.code >= 400)
        return refused_tls(s);
    if (dialogue_may_fall_back(s->d) && why != WIRE_CANCELLED) {
        dialogue_because(s->d, "validation-failure: backend gives no proper answer to STARTTLS");
        return begin_again(s);
    }
    if (heard == SMTP_HEARD_REPLY)
        return smtp_distrust_backend(s, "answered STARTTLS with what is not one line of 220");
    return smtp_give_up(s, heard, why);
}

static enum dialogue_end upgrade(struct smtp *s)
{
    const struct dialogue *d = s->d;
    enum dialogue_end end = introduce(s);
    if (end == DIALOGUE_GO_ON && (d->offered_tls || d->policy->tls_level == TLS_LEVEL_ENCRYPT))
        end = ask_for_tls(s);
    return end;
}

/* ---- the story ---- */

/* A refusal that is not the last word: another server may do, or would have, at another time. */
static bool is_to_be_kept(const struct smtp *s)
{
    int code = s->reply.code;
    return code >= 400 && (s->d->others_left || (code >= 500 && s->may_come_back));
}

/* A greeting that is for the client. One that is none is for the log, if there are others. */
static enum dialogue_end hear_greeting(struct smtp *s)
{
    s->decided = is_alone(s);
    s->d->step = "reading the backend's greeting";
    enum dialogue_end end = smtp_read_reply(s, s->d->policy->busy_seconds);
    if (end != DIALOGUE_GO_ON || !is_to_be_kept(s))
        return end;
    s->may_come_back = s->may_come_back || s->reply.code < 500;
    smtp_because_of_reply(s, "backend gives no service");
    return quit(s);
}

static enum dialogue_end meet_server(struct smtp *s)
{
    const struct dialogue *d = s->d;
    s->decided = s->greeted_in_clear = false;
    s->last_word.enhanced = NULL;
    s->met++;
    s->passes_greeting =
        d->login == NULL && (d->server_tls_active || d->policy->tls_level == TLS_LEVEL_NONE);
    if (s->passes_greeting)
        return hear_greeting(s);
    enum dialogue_end end = smtp_meet_backend(s);
    if (end == DIALOGUE_GO_ON && !d->server_tls_active)
        end = upgrade(s);
    return end == DIALOGUE_GO_ON ? smtp_log_in(s) : end;
}

/* Every server whose turn comes, until one will do. */
static enum dialogue_end choose_server(struct smtp *s)
{
    enum dialogue_end end;
    bool is_left = true;
    s->choosing = true;
    do {
        end = meet_server(s);
        s->may_come_back = s->may_come_back || s->last_word.enhanced != NULL;
        if (end == DIALOGUE_GO_ON || s->chosen || !s->d->others_left)
            break;
        is_left = s->d->next_backend(s->d);
    } while (is_left);
    s->may_come_back = s->may_come_back || !is_left; /* who was left could not be reached */
    s->choosing = false;
    return end;
}

/* What the last one deserves. A greeting that was meant for the client still is: its code, too, if
 * that is what all of them have said. */
static enum dialogue_end part(struct smtp *s, enum dialogue_end end)
{
    const struct last_word *word = &s->last_word;
    if (word->enhanced != NULL)
        smtp_goodbye(s, word->enhanced, word->text);
    else if (s->may_come_back && s->reply.code >= 500)
        tell_reason(s);
    else
        (void)smtp_pass_reply(s, &s->reply);
    return end;
}

/* The client's part begins. What the server has told us counts for nothing. */
static enum dialogue_end welcome(struct smtp *s)
{
    enum wire_status status =
        wire_printf(s->d->client, wire_deadline(s->d->policy->idle_seconds), "220 %.255s %s\r\n",
                    s->d->policy->hostname, s->lmtp ? "LMTP" : "ESMTP");
    return status == WIRE_OK ? DIALOGUE_GO_ON : smtp_lost_client(s, status);
}

enum dialogue_end smtp_open_request(struct smtp *s)
{
    enum dialogue_end end = choose_server(s);
    if (end != DIALOGUE_GO_ON)
        return part(s, end);
    s->decided = true;
    return s->passes_greeting ? smtp_pass_reply(s, &s->reply) : welcome(s);
}
