/* SPDX-License-Identifier: ISC
 *
 * The client waits for a greeting while we ask the server for TLS, and it is we who greet it then.
 * Nothing that the server has said in clear reaches it: not the greeting with its timestamp, not a
 * capability, not a refusal. And nothing of the client reaches the server in clear where TLS is
 * needed.
 *
 * What goes wrong before that is an -ERR [SYS/TEMP] with a sentence of our own, because a refusal
 * in clear may be an attacker's; the words for it are those of RFC 8460 §4.3. The client hears it
 * when there is no other server to go on with.
 */
#include "protocols/pop3_request.h"

#include "protocols/dialogue.h"
#include "protocols/pop3_exchange.h"
#include "protocols/pop3_say.h"

/* ---- ending it before it has begun ---- */

static void tell_reason(struct pop3 *s)
{
    char sentence[LAST_WORD_MAX + 1];
    dialogue_sentence(s->d, sentence);
    pop3_goodbye(s, sentence);
}

static enum dialogue_end quit(struct pop3 *s)
{
    dialogue_quit_backend(s->d);
    return DIALOGUE_REFUSED;
}

/* ---- asking for TLS ---- */

/* Whether there has been no server but this, and will be none: several share one time. */
static bool is_alone(const struct pop3 *s)
{
    return !s->d->others_left && s->met == 1;
}

static bool may_fall_back(const struct pop3 *s)
{
    const struct policy *p = s->d->policy;
    return p->tls_level == TLS_LEVEL_MAY && p->fall_back;
}

/* The connection can no longer be used in clear, either. The reason stays for the log: it says why
 * there is no TLS. */
static enum dialogue_end begin_again(struct pop3 *s)
{
    s->d->step = "connecting to the backend again, for a session in clear";
    s->decided = is_alone(s);
    if (s->d->renew_backend(s->d))
        return pop3_meet_backend(s);
    pop3_goodbye(s, "Mail server cannot be reached, try again later");
    return DIALOGUE_LOST;
}

static enum dialogue_end shake_hands(struct pop3 *s)
{
    s->d->step = "TLS handshake with the backend";
    switch (s->d->secure(s->d)) {
    case OUTCOME_SECURED:
        return DIALOGUE_GO_ON;
    case OUTCOME_UNTRUSTED:
        tell_reason(s);
        return quit(s);
    case OUTCOME_BROKEN:
        break;
    }
    if (may_fall_back(s))
        return begin_again(s);
    tell_reason(s);
    return DIALOGUE_LOST;
}

/* The session stands as it was. */
static enum dialogue_end refused_tls(struct pop3 *s)
{
    dialogue_because_of(s->d, "starttls-not-supported: backend refuses STLS", s->reply.bytes,
                        s->reply.len);
    if (may_fall_back(s))
        return DIALOGUE_GO_ON;
    pop3_goodbye(s, s->d->offered_tls ? "starttls-not-supported: mail server refuses STLS"
                                      : "starttls-not-supported: mail server does not offer STLS");
    return quit(s);
}

/* One line of +OK is the go-ahead, and nothing else is. */
static enum dialogue_end ask_for_tls(struct pop3 *s)
{
    enum wire_status why;
    s->d->step = "asking the backend for TLS";
    enum pop3_heard heard = pop3_try(s, "STLS\r\n", POP3_LINE, &why);
    if (heard == POP3_HEARD_REPLY && s->status == POP3_OK)
        return shake_hands(s);
    if (heard == POP3_HEARD_REPLY && s->status == POP3_ERR)
        return refused_tls(s);
    if (may_fall_back(s) && why != WIRE_CANCELLED) {
        dialogue_because(s->d, "validation-failure: backend gives no proper answer to STLS");
        return begin_again(s);
    }
    if (heard == POP3_HEARD_REPLY)
        return pop3_distrust_backend(s, "answered STLS with what is no go-ahead");
    return pop3_give_up(s, heard, why);
}

/* Learns whether TLS is offered. A server that knows no CAPA offers nothing; but where TLS is
 * needed it is asked for all the same, for whoever removes the one may also refuse the other. */
static enum dialogue_end upgrade(struct pop3 *s)
{
    struct dialogue *d = s->d;
    d->step = "asking the backend for its capabilities";
    enum dialogue_end end = pop3_ask(s, "CAPA\r\n", POP3_LIST);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->status == POP3_CONTINUE)
        return pop3_distrust_backend(s, "answered CAPA with what is no list");
    d->offered_tls = pop3_offers(&s->reply, "STLS"); /* -ERR has no list behind it */
    d->heard_offer = true;
    bool wanted = d->offered_tls || d->policy->tls_level == TLS_LEVEL_ENCRYPT;
    return wanted ? ask_for_tls(s) : DIALOGUE_GO_ON;
}

/* ---- the story ---- */

/* A greeting that is for the client. One that is none is for the log, if there are others. */
static enum dialogue_end hear_greeting(struct pop3 *s)
{
    s->decided = is_alone(s);
    enum dialogue_end end = pop3_hear_greeting(s);
    if (end == DIALOGUE_DONE && s->d->others_left)
        dialogue_quit_backend(s->d);
    return end;
}

static enum dialogue_end meet_server(struct pop3 *s)
{
    const struct dialogue *d = s->d;
    s->decided = false;
    s->last_word[0] = '\0';
    s->met++;
    s->passes_greeting = d->server_tls_active || d->policy->tls_level == TLS_LEVEL_NONE;
    if (s->passes_greeting)
        return hear_greeting(s);
    enum dialogue_end end = pop3_meet_backend(s);
    return end == DIALOGUE_GO_ON ? upgrade(s) : end;
}

/* Every server whose turn comes, until one will do. */
static enum dialogue_end choose_server(struct pop3 *s)
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
static enum dialogue_end part(struct pop3 *s, enum dialogue_end end)
{
    if (s->last_word[0] != '\0')
        pop3_goodbye(s, s->last_word);
    else
        (void)pop3_pass_reply(s, &s->edited);
    return end;
}

/* The client's part begins. What the server has told us counts for nothing. */
static enum dialogue_end welcome(struct pop3 *s)
{
    enum wire_status status = wire_printf(s->d->client, wire_deadline(s->d->policy->idle_seconds),
                                          "+OK %.255s POP3\r\n", s->d->policy->hostname);
    return status == WIRE_OK ? DIALOGUE_GO_ON : pop3_lost_client(s, status);
}

enum dialogue_end pop3_open_request(struct pop3 *s)
{
    enum dialogue_end end = choose_server(s);
    if (end != DIALOGUE_GO_ON)
        return part(s, end);
    s->decided = true;
    return s->passes_greeting ? pop3_pass_reply(s, &s->edited) : welcome(s);
}
