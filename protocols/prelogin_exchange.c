/* SPDX-License-Identifier: ISC */
#include "protocols/prelogin_exchange.h"

#include <stdio.h>
#include <string.h>

#include "protocols/dialogue.h"
#include "protocols/prelogin_say.h"

/* Where we ask for TLS, all that happens before it must have happened by pretls_deadline. */
static int64_t backend_deadline(const struct prelogin *s)
{
    int64_t busy = wire_deadline(s->d->policy->busy_seconds);
    bool hurry = s->requesting && !s->decided && s->d->pretls_deadline < busy;
    return hurry ? s->d->pretls_deadline : busy;
}

enum heard prelogin_hear_line(struct prelogin *s, int64_t deadline, struct line *line,
                              enum wire_status *why)
{
    size_t room = s->d->policy->max_reply - s->reply.len;
    if (room == 0)
        return HEARD_TOO_MUCH;
    *why = wire_getline(s->d->backend, room < WIRE_BUFFER ? room : WIRE_BUFFER, deadline, line);
    if (*why != WIRE_OK)
        return *why == WIRE_TOOLONG ? HEARD_TOO_MUCH : HEARD_NOTHING;
    reply_append(&s->reply, line->data, line->len);
    s->reply.lines++;
    return HEARD_REPLY;
}

enum heard prelogin_hear_bytes(struct prelogin *s, size_t n, int64_t deadline,
                               enum wire_status *why)
{
    if (n > s->d->policy->max_reply - s->reply.len)
        return HEARD_TOO_MUCH;
    *why = dialogue_take_bytes(s->d->backend, n, deadline, &s->reply);
    return *why == WIRE_OK ? HEARD_REPLY : HEARD_NOTHING;
}

enum dialogue_end prelogin_give_up(struct prelogin *s, enum heard heard, enum wire_status why)
{
    char what[64];
    switch (heard) {
    case HEARD_REPLY:
        break;
    case HEARD_NONSENSE:
        snprintf(what, sizeof what, "sent what is not a %s answer", s->words->name);
        return prelogin_distrust_backend(s, what);
    case HEARD_TOO_MUCH:
        return prelogin_distrust_backend(s, "sent too long an answer");
    case HEARD_OUT_OF_TURN:
        return prelogin_distrust_backend(s, "spoke out of turn");
    case HEARD_NOTHING:
        break;
    }
    return prelogin_lost_backend(s, why);
}

enum dialogue_end prelogin_read_reply(struct prelogin *s, enum form form)
{
    enum wire_status why = WIRE_OK;
    enum heard heard = s->words->hear(s, form, backend_deadline(s), &why);
    return heard == HEARD_REPLY ? DIALOGUE_GO_ON : prelogin_give_up(s, heard, why);
}

/* Sends what was put and reads the answer to it. A failure to send is left for the read to find:
 * the backend may have said why before it closed. */
static enum heard exchange(struct prelogin *s, enum wire_status put, enum form form,
                           enum wire_status *why)
{
    *why = put == WIRE_OK ? wire_flush(s->d->backend, backend_deadline(s)) : put;
    if (*why == WIRE_TIMEOUT || *why == WIRE_CANCELLED)
        return HEARD_NOTHING;
    return s->words->hear(s, form, backend_deadline(s), why);
}

enum heard prelogin_try(struct prelogin *s, const char *command, enum form form,
                        enum wire_status *why)
{
    *why = WIRE_OK;
    if (dialogue_is_out_of_turn(s->d))
        return HEARD_OUT_OF_TURN;
    enum wire_status put = wire_printf(s->d->backend, backend_deadline(s), "%s\r\n", command);
    return exchange(s, put, form, why);
}

enum dialogue_end prelogin_ask(struct prelogin *s, const char *command, enum form form)
{
    enum wire_status why;
    enum heard heard = prelogin_try(s, command, form, &why);
    return heard == HEARD_REPLY ? DIALOGUE_GO_ON : prelogin_give_up(s, heard, why);
}

static enum dialogue_end forward(struct prelogin *s, const struct line *line, enum form form)
{
    enum wire_status why;
    if (dialogue_is_out_of_turn(s->d))
        return prelogin_distrust_backend(s, "spoke out of turn");
    int64_t deadline = wire_deadline(s->d->policy->busy_seconds);
    enum heard heard = exchange(s, dialogue_put_line(s->d, line, deadline), form, &why);
    return heard == HEARD_REPLY ? DIALOGUE_GO_ON : prelogin_give_up(s, heard, why);
}

enum dialogue_end prelogin_forward(struct prelogin *s, const struct line *line, enum form form)
{
    enum dialogue_end end = forward(s, line, form);
    if (end == DIALOGUE_GO_ON && s->status == ANSWER_CONTINUE)
        return prelogin_distrust_backend(s, "asked for more after a command that is complete");
    return end;
}

enum dialogue_end prelogin_forward_login(struct prelogin *s, const struct line *line)
{
    s->touched = true;
    return forward(s, line, FORM_LINE);
}

enum dialogue_end prelogin_pass_reply(struct prelogin *s, const struct reply *r)
{
    enum wire_status status =
        wire_put(s->d->client, r->bytes, r->len, wire_deadline(s->d->policy->idle_seconds));
    return status == WIRE_OK ? DIALOGUE_GO_ON : prelogin_lost_client(s, status);
}

enum dialogue_end prelogin_pass_answer(struct prelogin *s, const struct reply *r)
{
    enum dialogue_end end = prelogin_pass_reply(s, r);
    if (end != DIALOGUE_GO_ON || s->status != ANSWER_BYE)
        return end;
    dialogue_because_of(s->d, "backend closed the session", s->reply.bytes, s->reply.len);
    return DIALOGUE_DONE;
}

enum dialogue_end prelogin_hear_greeting(struct prelogin *s)
{
    s->d->step = "reading the backend's greeting";
    enum dialogue_end end = prelogin_read_reply(s, s->words->greeting);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->status == ANSWER_CONTINUE)
        return prelogin_distrust_backend(s, "sent what is no greeting");
    s->words->edit_greeting(s);
    if (s->status == ANSWER_OK)
        return DIALOGUE_GO_ON;
    dialogue_because_of(s->d, "backend gives no service", s->reply.bytes, s->reply.len);
    return DIALOGUE_DONE;
}

enum dialogue_end prelogin_pass_greeting(struct prelogin *s)
{
    enum dialogue_end end = prelogin_hear_greeting(s);
    if (end != DIALOGUE_GO_ON && end != DIALOGUE_DONE)
        return end;
    enum dialogue_end passed = prelogin_pass_reply(s, &s->edited);
    return passed == DIALOGUE_GO_ON ? end : passed;
}

enum dialogue_end prelogin_meet_backend(struct prelogin *s)
{
    s->d->step = "reading the backend's greeting";
    enum dialogue_end end = prelogin_read_reply(s, s->words->greeting);
    if (end != DIALOGUE_GO_ON)
        return end;
    s->words->edit_greeting(s);
    if (s->status == ANSWER_OK)
        return DIALOGUE_GO_ON;
    dialogue_because_of(s->d, "backend gives no service", s->reply.bytes, s->reply.len);
    prelogin_goodbye(s, "Mail server gives no service, try again later");
    prelogin_quit_backend(s);
    return DIALOGUE_REFUSED;
}

enum dialogue_end prelogin_hear_backend(struct prelogin *s)
{
    enum dialogue_end end = prelogin_read_reply(s, FORM_LINE);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->status != s->words->goodbye)
        return prelogin_distrust_backend(s, "spoke out of turn");
    end = prelogin_pass_reply(s, &s->reply);
    dialogue_because_of(s->d, "backend closed the session", s->reply.bytes, s->reply.len);
    return end == DIALOGUE_GO_ON ? DIALOGUE_DONE : end;
}
