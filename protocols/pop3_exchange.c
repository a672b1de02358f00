/* SPDX-License-Identifier: ISC */
#include "protocols/pop3_exchange.h"

#include <string.h>

#include "protocols/dialogue.h"
#include "protocols/pop3_say.h"

/* Where we ask for TLS, all that happens before it must have happened by pretls_deadline. */
static int64_t backend_deadline(const struct pop3 *s)
{
    int64_t busy = wire_deadline(s->d->policy->busy_seconds);
    bool hurry = s->requesting && !s->decided && s->d->pretls_deadline < busy;
    return hurry ? s->d->pretls_deadline : busy;
}

static enum pop3_heard hear_line(struct pop3 *s, int64_t deadline, struct line *line,
                                 enum wire_status *why)
{
    size_t room = s->d->policy->max_reply - s->reply.len;
    if (room == 0)
        return POP3_HEARD_TOO_MUCH;
    *why = wire_getline(s->d->backend, room < WIRE_BUFFER ? room : WIRE_BUFFER, deadline, line);
    if (*why != WIRE_OK)
        return *why == WIRE_TOOLONG ? POP3_HEARD_TOO_MUCH : POP3_HEARD_NOTHING;
    reply_append(&s->reply, line->data, line->len);
    s->reply.lines++;
    return POP3_HEARD_REPLY;
}

enum pop3_heard pop3_hear_reply(struct pop3 *s, enum pop3_form form, int64_t deadline,
                                enum wire_status *why)
{
    struct line line;
    reply_clear(&s->reply);
    enum pop3_heard heard = hear_line(s, deadline, &line, why);
    if (heard != POP3_HEARD_REPLY)
        return heard;
    s->status = pop3_status_of(line.data, line.text_len);
    if (s->status == POP3_NONSENSE)
        return POP3_HEARD_NONSENSE;
    if (form == POP3_LINE || s->status != POP3_OK)
        return POP3_HEARD_REPLY;
    do
        heard = hear_line(s, deadline, &line, why);
    while (heard == POP3_HEARD_REPLY && !pop3_is_end(line.data, line.text_len));
    return heard;
}

enum dialogue_end pop3_give_up(struct pop3 *s, enum pop3_heard heard, enum wire_status why)
{
    switch (heard) {
    case POP3_HEARD_REPLY:
        break;
    case POP3_HEARD_NONSENSE:
        return pop3_distrust_backend(s, "sent what is not a POP3 answer");
    case POP3_HEARD_TOO_MUCH:
        return pop3_distrust_backend(s, "sent too long an answer");
    case POP3_HEARD_OUT_OF_TURN:
        return pop3_distrust_backend(s, "spoke out of turn");
    case POP3_HEARD_NOTHING:
        break;
    }
    return pop3_lost_backend(s, why);
}

enum dialogue_end pop3_read_reply(struct pop3 *s)
{
    enum wire_status why = WIRE_OK;
    enum pop3_heard heard = pop3_hear_reply(s, POP3_LINE, backend_deadline(s), &why);
    return heard == POP3_HEARD_REPLY ? DIALOGUE_GO_ON : pop3_give_up(s, heard, why);
}

/* Sends what was put and reads the answer to it. A failure to send is left for the read to find:
 * the backend may have said why before it closed. */
static enum pop3_heard exchange(struct pop3 *s, enum wire_status put, enum pop3_form form,
                                enum wire_status *why)
{
    *why = put == WIRE_OK ? wire_flush(s->d->backend, backend_deadline(s)) : put;
    if (*why == WIRE_TIMEOUT || *why == WIRE_CANCELLED)
        return POP3_HEARD_NOTHING;
    return pop3_hear_reply(s, form, backend_deadline(s), why);
}

enum pop3_heard pop3_try(struct pop3 *s, const char *command, enum pop3_form form,
                         enum wire_status *why)
{
    *why = WIRE_OK;
    if (dialogue_is_out_of_turn(s->d))
        return POP3_HEARD_OUT_OF_TURN;
    enum wire_status put = wire_put(s->d->backend, command, strlen(command), backend_deadline(s));
    return exchange(s, put, form, why);
}

enum dialogue_end pop3_ask(struct pop3 *s, const char *command, enum pop3_form form)
{
    enum wire_status why;
    enum pop3_heard heard = pop3_try(s, command, form, &why);
    return heard == POP3_HEARD_REPLY ? DIALOGUE_GO_ON : pop3_give_up(s, heard, why);
}

enum dialogue_end pop3_forward(struct pop3 *s, const struct line *line, enum pop3_form form)
{
    enum wire_status why;
    if (dialogue_is_out_of_turn(s->d))
        return pop3_distrust_backend(s, "spoke out of turn");
    int64_t deadline = wire_deadline(s->d->policy->busy_seconds);
    enum pop3_heard heard = exchange(s, dialogue_put_line(s->d, line, deadline), form, &why);
    return heard == POP3_HEARD_REPLY ? DIALOGUE_GO_ON : pop3_give_up(s, heard, why);
}

enum dialogue_end pop3_pass_reply(struct pop3 *s, const struct reply *r)
{
    enum wire_status status =
        wire_put(s->d->client, r->bytes, r->len, wire_deadline(s->d->policy->idle_seconds));
    return status == WIRE_OK ? DIALOGUE_GO_ON : pop3_lost_client(s, status);
}

enum dialogue_end pop3_hear_greeting(struct pop3 *s)
{
    s->d->step = "reading the backend's greeting";
    enum dialogue_end end = pop3_read_reply(s);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->status == POP3_CONTINUE)
        return pop3_distrust_backend(s, "sent what is no greeting");
    pop3_edit_greeting(s->reply.bytes, s->reply.len, pop3_login_withheld(s), &s->edited);
    if (s->status == POP3_OK)
        return DIALOGUE_GO_ON;
    dialogue_because_of(s->d, "backend gives no service", s->reply.bytes, s->reply.len);
    return DIALOGUE_DONE;
}

enum dialogue_end pop3_pass_greeting(struct pop3 *s)
{
    enum dialogue_end end = pop3_hear_greeting(s);
    if (end != DIALOGUE_GO_ON && end != DIALOGUE_DONE)
        return end;
    enum dialogue_end passed = pop3_pass_reply(s, &s->edited);
    return passed == DIALOGUE_GO_ON ? end : passed;
}

enum dialogue_end pop3_meet_backend(struct pop3 *s)
{
    s->d->step = "reading the backend's greeting";
    enum dialogue_end end = pop3_read_reply(s);
    if (end != DIALOGUE_GO_ON || s->status == POP3_OK)
        return end;
    dialogue_because_of(s->d, "backend gives no service", s->reply.bytes, s->reply.len);
    pop3_goodbye(s, "Mail server gives no service, try again later");
    dialogue_quit_backend(s->d);
    return DIALOGUE_REFUSED;
}

enum dialogue_end pop3_hear_backend(struct pop3 *s)
{
    enum dialogue_end end = pop3_read_reply(s);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->status != POP3_ERR)
        return pop3_distrust_backend(s, "spoke out of turn");
    end = pop3_pass_reply(s, &s->reply);
    dialogue_because_of(s->d, "backend closed the session", s->reply.bytes, s->reply.len);
    return end == DIALOGUE_GO_ON ? DIALOGUE_DONE : end;
}
