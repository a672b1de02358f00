/* SPDX-License-Identifier: ISC
 *
 * The client waits for a greeting while we ask the server for TLS, and it is we who greet it then.
 * Nothing that the server has said in clear reaches it where TLS comes about: not a greeting, not a
 * capability, not a refusal. And nothing of the client reaches the server in clear where TLS is
 * needed.
 *
 * What goes wrong before that is a temporary refusal with a sentence of our own, because a refusal
 * in clear may be an attacker's; the words for it are those of RFC 8460 §4.3. The client hears it
 * when there is no other server to go on with.
 */
#include "protocols/prelogin_request.h"

#include <stdio.h>

#include "protocols/dialogue.h"
#include "protocols/prelogin_exchange.h"
#include "protocols/prelogin_say.h"

/* ---- ending it before it has begun ---- */

static void tell_reason(struct prelogin *s)
{
    char sentence[LAST_WORD_MAX + 1];
    dialogue_sentence(s->d, sentence);
    prelogin_goodbye(s, sentence);
}

static enum dialogue_end quit(struct prelogin *s)
{
    prelogin_quit_backend(s);
    return DIALOGUE_REFUSED;
}

/* ---- asking for TLS ---- */

/* Whether there has been no server but this, and will be none: several share one time. */
static bool is_alone(const struct prelogin *s)
{
    return !s->d->others_left && s->met == 1;
}

/* The connection can no longer be used in clear, either. The reason stays for the log: it says why
 * there is no TLS. */
static enum dialogue_end begin_again(struct prelogin *s)
{
    s->d->step = "connecting to the backend again, for a session in clear";
    s->decided = is_alone(s);
    if (s->d->renew_backend(s->d))
        return prelogin_meet_backend(s);
    prelogin_goodbye(s, "Mail server cannot be reached, try again later");
    return DIALOGUE_LOST;
}

static enum dialogue_end shake_hands(struct prelogin *s)
{
    s->d->step = "TLS handshake with the backend";
    switch (s->d->secure(s->d)) {
    case OUTCOME_SECURED:
        return s->words->secured != NULL ? s->words->secured(s) : DIALOGUE_GO_ON;
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

/* The session stands as it was. */
static enum dialogue_end refused_tls(struct prelogin *s)
{
    char what[LAST_WORD_MAX + 1];
    snprintf(what, sizeof what, "starttls-not-supported: backend refuses %s", s->words->starttls);
    dialogue_because_of(s->d, what, s->reply.bytes, s->reply.len);
    if (dialogue_may_fall_back(s->d))
        return DIALOGUE_GO_ON;
    snprintf(what, sizeof what, "starttls-not-supported: mail server %s %s",
             s->d->offered_tls ? "refuses" : "does not offer", s->words->starttls);
    prelogin_goodbye(s, what);
    return quit(s);
}

static enum dialogue_end gave_no_answer(struct prelogin *s, enum heard heard, enum wire_status why)
{
    char what[64];
    if (dialogue_may_fall_back(s->d) && why != WIRE_CANCELLED) {
        dialogue_because(s->d, "validation-failure: backend gives no proper answer to %s",
                         s->words->starttls);
        return begin_again(s);
    }
    if (heard != HEARD_REPLY)
        return prelogin_give_up(s, heard, why);
    snprintf(what, sizeof what, "answered %s with what is no go-ahead", s->words->starttls);
    return prelogin_distrust_backend(s, what);
}

/* One line of OK is the go-ahead, and nothing else is. */
static enum dialogue_end ask_for_tls(struct prelogin *s)
{
    enum wire_status why;
    s->d->step = "asking the backend for TLS";
    enum heard heard = prelogin_try(s, s->words->starttls, FORM_LINE, &why);
    if (heard == HEARD_REPLY && s->status == ANSWER_OK)
        return shake_hands(s);
    if (heard == HEARD_REPLY && s->status == ANSWER_NO)
        return refused_tls(s);
    return gave_no_answer(s, heard, why);
}

/* Learns whether TLS is offered. Where it is needed it is asked for all the same, for whoever
 * removes the offer may also refuse. */
static enum dialogue_end upgrade(struct prelogin *s)
{
    struct dialogue *d = s->d;
    enum dialogue_end end = s->words->learn_offer(s);
    if (end != DIALOGUE_GO_ON)
        return end;
    d->heard_offer = true;
    bool wanted = d->offered_tls || d->policy->tls_level == TLS_LEVEL_ENCRYPT;
    return wanted ? ask_for_tls(s) : DIALOGUE_GO_ON;
}

/* ---- the story ---- */

/* A greeting that is for the client. One that is none is for the log, if there are others. */
static enum dialogue_end hear_greeting(struct prelogin *s)
{
    s->decided = is_alone(s);
    enum dialogue_end end = prelogin_hear_greeting(s);
    if (end == DIALOGUE_DONE && s->d->others_left)
        prelogin_quit_backend(s);
    return end;
}

static enum dialogue_end meet_server(struct prelogin *s)
{
    const struct dialogue *d = s->d;
    s->decided = false;
    s->last_word[0] = '\0';
    s->met++;
    s->passes_greeting = d->server_tls_active || d->policy->tls_level == TLS_LEVEL_NONE;
    if (s->passes_greeting)
        return hear_greeting(s);
    enum dialogue_end end = prelogin_meet_backend(s);
    return end == DIALOGUE_GO_ON ? upgrade(s) : end;
}

/* Every server whose turn comes, until one will do. */
static enum dialogue_end choose_server(struct prelogin *s)
{
    enum dialogue_end end;
    s->choosing = true;
    do
        end = meet_server(s);
    while (end != DIALOGUE_GO_ON && s->d->others_left && s->d->next_backend(s->d));
    s->choosing = false;
    return end;
}

/* What the last one deserves. A greeting that was meant for the client still is. */
static enum dialogue_end part(struct prelogin *s, enum dialogue_end end)
{
    if (s->last_word[0] != '\0')
        prelogin_goodbye(s, s->last_word);
    else
        (void)prelogin_pass_reply(s, &s->edited);
    return end;
}

enum dialogue_end prelogin_open_request(struct prelogin *s)
{
    enum dialogue_end end = choose_server(s);
    if (end != DIALOGUE_GO_ON)
        return part(s, end);
    s->decided = true;
    return s->passes_greeting ? prelogin_pass_reply(s, &s->edited) : s->words->welcome(s);
}
