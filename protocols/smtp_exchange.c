/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_exchange.h"

#include <string.h>

#include "protocols/smtp_say.h"

enum dialogue_end smtp_read_reply(struct smtp *s, unsigned seconds)
{
    const struct policy *p = s->d->policy;
    int64_t deadline = wire_deadline(seconds);
    reply_clear(&s->reply);
    for (;;) {
        struct line line;
        size_t room = p->max_reply - s->reply.len;
        if (room == 0)
            return smtp_distrust_backend(s, "sent too long a reply");
        enum wire_status status =
            wire_getline(s->d->backend, room < WIRE_BUFFER ? room : WIRE_BUFFER, deadline, &line);
        if (status == WIRE_TOOLONG)
            return smtp_distrust_backend(s, "sent too long a reply");
        if (status != WIRE_OK)
            return smtp_lost_backend(s, status);
        switch (reply_add_line(&s->reply, line.data, line.len)) {
        case REPLY_MORE:
            break;
        case REPLY_LAST:
            return DIALOGUE_GO_ON;
        case REPLY_BAD:
            return smtp_distrust_backend(s, "sent what is not an SMTP reply");
        }
    }
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
    smtp_because(s, "backend closed the session with 421");
    return DIALOGUE_DONE;
}

bool smtp_is_success(const struct reply *r)
{
    return r->code / 100 == 2;
}

bool smtp_is_out_of_turn(const struct smtp *s)
{
    return wire_buffered(s->d->backend, NULL) > 0;
}

/* Sends what was put and reads the reply to it. A failure to send is left for the read to find: the
 * backend may have said 421 before it closed. */
static enum dialogue_end exchange(struct smtp *s, enum wire_status put)
{
    unsigned seconds = s->d->policy->busy_seconds;
    enum wire_status status =
        put == WIRE_OK ? wire_flush(s->d->backend, wire_deadline(seconds)) : put;
    if (status == WIRE_TIMEOUT || status == WIRE_CANCELLED)
        return smtp_lost_backend(s, status);
    return smtp_read_reply(s, seconds);
}

enum dialogue_end smtp_ask(struct smtp *s, const char *command)
{
    if (smtp_is_out_of_turn(s))
        return smtp_distrust_backend(s, "spoke out of turn");
    return exchange(s, wire_put(s->d->backend, command, strlen(command),
                                wire_deadline(s->d->policy->busy_seconds)));
}

enum wire_status smtp_put_line(struct smtp *s, const struct line *line, int64_t deadline)
{
    bool mend = !line->crlf && s->d->policy->bare_newline == BARE_NEWLINE_NORMALIZE;
    enum wire_status status =
        wire_put(s->d->backend, line->data, mend ? line->text_len : line->len, deadline);
    return status == WIRE_OK && mend ? wire_put(s->d->backend, "\r\n", 2, deadline) : status;
}

enum dialogue_end smtp_forward(struct smtp *s, const struct line *line)
{
    if (smtp_is_out_of_turn(s))
        return smtp_distrust_backend(s, "spoke out of turn");
    return exchange(s, smtp_put_line(s, line, wire_deadline(s->d->policy->busy_seconds)));
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
