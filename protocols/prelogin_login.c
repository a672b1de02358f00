/* SPDX-License-Identifier: ISC */
#include "protocols/prelogin_login.h"

#include "protocols/dialogue.h"
#include "protocols/prelogin_client.h"
#include "protocols/prelogin_exchange.h"
#include "protocols/prelogin_say.h"

/* Behind a login nothing has to be understood any more: TLS is to be asked for before it, and what
 * the client has sent ahead is for the backend. */
enum dialogue_end prelogin_pass_verdict(struct prelogin *s)
{
    enum dialogue_end end = prelogin_pass_answer(s, &s->reply);
    if (s->status != ANSWER_OK)
        return end;
    if (end == DIALOGUE_GO_ON)
        end = prelogin_flush_client(s);
    return end == DIALOGUE_GO_ON ? DIALOGUE_PUMP : end;
}

/* The client's answer to a challenge, or a cancellation in its place if it is none. */
static enum dialogue_end answer_challenge(struct prelogin *s, bool *cancelled)
{
    struct line line;
    enum dialogue_end end = s->words->take_answer(s, &line, cancelled);
    if (end != DIALOGUE_GO_ON)
        return end;
    return *cancelled ? prelogin_ask(s, s->words->cancel, FORM_LINE)
                      : prelogin_forward_login(s, &line);
}

static enum dialogue_end take_turns(struct prelogin *s, bool *cancelled)
{
    enum dialogue_end end = DIALOGUE_GO_ON;
    while (end == DIALOGUE_GO_ON && s->status == ANSWER_CONTINUE && !*cancelled) {
        end = prelogin_pass_reply(s, &s->reply);
        if (end == DIALOGUE_GO_ON)
            end = prelogin_flush_client(s);
        if (end == DIALOGUE_GO_ON)
            end = answer_challenge(s, cancelled);
    }
    return end;
}

static enum dialogue_end refuse_cancelled(struct prelogin *s)
{
    if (s->status == ANSWER_BYE)
        return prelogin_pass_answer(s, &s->reply);
    return s->status == ANSWER_NO
               ? prelogin_refuse(s, s->words->bad_answer)
               : prelogin_distrust_backend(s, "did not accept that the login was cancelled");
}

enum dialogue_end prelogin_do_sasl(struct prelogin *s, const struct command *c,
                                   const struct line *line)
{
    bool cancelled = false;
    if (prelogin_login_withheld(s))
        return prelogin_refuse_in_clear(s);
    const char *wrong = s->words->mind_mechanism(c);
    if (wrong != NULL)
        return prelogin_refuse(s, wrong);
    enum dialogue_end end = prelogin_forward_login(s, line);
    if (end == DIALOGUE_GO_ON)
        end = take_turns(s, &cancelled);
    if (end != DIALOGUE_GO_ON)
        return end;
    return cancelled ? refuse_cancelled(s) : prelogin_pass_verdict(s);
}
