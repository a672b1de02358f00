/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_exchange.h"

#include <string.h>

#include "protocols/dialogue.h"
#include "protocols/smtp_client.h"
#include "protocols/smtp_say.h"

enum { HELD_MS = 5000 }; /* a reply that old leaves before the next command is passed on */

/* Where we ask for TLS, all that happens before it must have happened by pretls_deadline. */
static int64_t backend_deadline(const struct smtp *s, unsigned seconds)
{
    int64_t busy = wire_deadline(seconds);
    bool hurry = s->requesting && !s->decided && s->d->pretls_deadline < busy;
    return hurry ? s->d->pretls_deadline : busy;
}

enum smtp_heard smtp_hear_reply(struct smtp *s, int64_t deadline, enum wire_status *why)
{
    const struct policy *p = s->d->policy;
    reply_clear(&s->reply);
    for (;;) {
        struct line line;
        size_t room = p->max_reply - s->reply.len;
        if (room == 0)
            return SMTP_HEARD_TOO_MUCH;
        *why =
            wire_getline(s->d->backend, room < WIRE_BUFFER ? room : WIRE_BUFFER, deadline, &line);
        if (*why != WIRE_OK)
            return *why == WIRE_TOOLONG ? SMTP_HEARD_TOO_MUCH : SMTP_HEARD_NOTHING;
        switch (reply_add_line(&s->reply, line.data, line.len)) {
        case REPLY_MORE:
            break;
        case REPLY_LAST:
            return SMTP_HEARD_REPLY;
        case REPLY_BAD:
            return SMTP_HEARD_NONSENSE;
        }
    }
}

enum dialogue_end smtp_give_up(struct smtp *s, enum smtp_heard heard, enum wire_status why)
{
    switch (heard) {
    case SMTP_HEARD_REPLY:
        break;
    case SMTP_HEARD_NONSENSE:
        return smtp_distrust_backend(s, "sent what is not an SMTP reply");
    case SMTP_HEARD_TOO_MUCH:
        return smtp_distrust_backend(s, "sent too long a reply");
    case SMTP_HEARD_OUT_OF_TURN:
        return smtp_distrust_backend(s, "spoke out of turn");
    case SMTP_HEARD_NOTHING:
        break;
    }
    return smtp_lost_backend(s, why);
}

enum dialogue_end smtp_read_reply(struct smtp *s, unsigned seconds)
{
    enum wire_status why = WIRE_OK;
    enum smtp_heard heard = smtp_hear_reply(s, backend_deadline(s, seconds), &why);
    return heard == SMTP_HEARD_REPLY ? DIALOGUE_GO_ON : smtp_give_up(s, heard, why);
}

enum dialogue_end smtp_pass_greeting(struct smtp *s)
{
    s->d->step = "reading the backend's greeting";
    enum dialogue_end end = smtp_read_reply(s, s->d->policy->busy_seconds);
    return end == DIALOGUE_GO_ON ? smtp_pass_reply(s, &s->reply) : end;
}

enum dialogue_end smtp_meet_backend(struct smtp *s)
{
    enum { REPLY_GREETING = 220 };
    s->d->step = "reading the backend's greeting";
    enum dialogue_end end = smtp_read_reply(s, s->d->policy->busy_seconds);
    if (end != DIALOGUE_GO_ON || s->reply.code == REPLY_GREETING)
        return end;
    smtp_because_of_reply(s, "backend gives no service");
    smtp_goodbye(s, "4.3.0", "Mail server gives no service, try again later");
    dialogue_quit_backend(s->d);
    return DIALOGUE_REFUSED;
}

enum dialogue_end smtp_pass_reply(struct smtp *s, const struct reply *r)
{
    int64_t deadline = wire_deadline(s->d->policy->idle_seconds);
    enum wire_status status = wire_put(s->d->client, r->bytes, r->len, deadline);
    if (status != WIRE_OK)
        return smtp_lost_client(s, status);
    if (r->code != REPLY_CLOSING)
        return DIALOGUE_GO_ON;
    (void)wire_flush(s->d->client, deadline);
    dialogue_because(s->d, "backend closed the session with 421");
    return DIALOGUE_DONE;
}

bool smtp_is_success(const struct reply *r)
{
    return r->code / 100 == 2;
}

/* Sends what was put and reads the reply to it. A failure to send is left for the read to find: the
 * backend may have said 421 before it closed. */
static enum smtp_heard exchange(struct smtp *s, enum wire_status put, enum wire_status *why)
{
    int64_t deadline = backend_deadline(s, s->d->policy->busy_seconds);
    *why = put == WIRE_OK ? wire_flush(s->d->backend, deadline) : put;
    if (*why == WIRE_TIMEOUT || *why == WIRE_CANCELLED)
        return SMTP_HEARD_NOTHING;
    return smtp_hear_reply(s, backend_deadline(s, s->d->policy->busy_seconds), why);
}

enum smtp_heard smtp_try(struct smtp *s, const char *command, enum wire_status *why)
{
    *why = WIRE_OK;
    if (dialogue_is_out_of_turn(s->d))
        return SMTP_HEARD_OUT_OF_TURN;
    int64_t deadline = backend_deadline(s, s->d->policy->busy_seconds);
    return exchange(s, wire_put(s->d->backend, command, strlen(command), deadline), why);
}

enum dialogue_end smtp_ask(struct smtp *s, const char *command)
{
    enum wire_status why;
    enum smtp_heard heard = smtp_try(s, command, &why);
    return heard == SMTP_HEARD_REPLY ? DIALOGUE_GO_ON : smtp_give_up(s, heard, why);
}

/* The replies to a pipelined group leave together, unless the backend takes its time for each: the
 * client's patience is for one (RFC 5321 §4.5.3.2). */
static bool is_held_too_long(const struct wire *client)
{
    return client->out_len > 0 && wire_now() - client->out_since >= HELD_MS;
}

enum dialogue_end smtp_forward(struct smtp *s, const struct line *line)
{
    enum wire_status why;
    if (dialogue_is_out_of_turn(s->d))
        return smtp_distrust_backend(s, "spoke out of turn");
    enum dialogue_end end = is_held_too_long(s->d->client) ? smtp_flush_client(s) : DIALOGUE_GO_ON;
    if (end != DIALOGUE_GO_ON)
        return end;
    int64_t deadline = wire_deadline(s->d->policy->busy_seconds);
    enum smtp_heard heard = exchange(s, dialogue_put_line(s->d, line, deadline), &why);
    return heard == SMTP_HEARD_REPLY ? DIALOGUE_GO_ON : smtp_give_up(s, heard, why);
}

enum dialogue_end smtp_relay(struct smtp *s, const struct line *line)
{
    enum dialogue_end end = smtp_forward(s, line);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->reply.code / 100 == 3)
        return smtp_distrust_backend(s, "asked for data after a command that has none");
    return smtp_pass_reply(s, &s->reply);
}

void smtp_because_of_reply(struct smtp *s, const char *what)
{
    dialogue_because_of(s->d, what, s->reply.bytes, s->reply.len);
}
