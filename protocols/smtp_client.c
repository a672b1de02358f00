/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_client.h"

#include "protocols/dialogue.h"
#include "protocols/smtp_exchange.h"
#include "protocols/smtp_say.h"

enum dialogue_end smtp_flush_client(struct smtp *s)
{
    enum wire_status status = wire_flush(s->d->client, dialogue_client_deadline(s->d, s->decided));
    return status == WIRE_OK ? DIALOGUE_GO_ON : smtp_lost_client(s, status);
}

/* The backend has spoken, or gone, while nobody asked it. */
static enum dialogue_end hear_backend(struct smtp *s)
{
    enum dialogue_end end = smtp_read_reply(s, s->d->policy->busy_seconds);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->reply.code == REPLY_CLOSING)
        return smtp_pass_reply(s, &s->reply);
    return smtp_distrust_backend(s, "spoke out of turn");
}

enum dialogue_end smtp_wait_for_client(struct smtp *s, int64_t deadline)
{
    bool client_ready, backend_ready;
    if (wire_has_line(s->d->client))
        return DIALOGUE_GO_ON;
    enum wire_status status =
        wire_wait_either(s->d->client, &client_ready, s->d->backend, &backend_ready, deadline);
    if (status != WIRE_OK)
        return smtp_lost_client(s, status);
    return backend_ready ? hear_backend(s) : DIALOGUE_GO_ON;
}

enum dialogue_end smtp_skip_long_line(struct smtp *s)
{
    enum wire_status status =
        wire_skip_line(s->d->client, SKIP_MAX, dialogue_client_deadline(s->d, s->decided));
    if (status == WIRE_TOOLONG)
        return smtp_refuse_and_close(s, 421, "4.7.0", "Endless line");
    if (status != WIRE_OK)
        return smtp_lost_client(s, status);
    return smtp_refuse(s, 500, "5.5.2", "Line too long");
}
