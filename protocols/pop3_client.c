/* SPDX-License-Identifier: ISC */
#include "protocols/pop3_client.h"

#include "protocols/dialogue.h"
#include "protocols/pop3_exchange.h"
#include "protocols/pop3_say.h"

enum dialogue_end pop3_flush_client(struct pop3 *s)
{
    enum wire_status status = wire_flush(s->d->client, dialogue_client_deadline(s->d, s->decided));
    return status == WIRE_OK ? DIALOGUE_GO_ON : pop3_lost_client(s, status);
}

enum dialogue_end pop3_wait_for_client(struct pop3 *s, int64_t deadline)
{
    bool client_ready, backend_ready;
    if (wire_has_line(s->d->client))
        return DIALOGUE_GO_ON;
    enum wire_status status =
        wire_wait_either(s->d->client, &client_ready, s->d->backend, &backend_ready, deadline);
    if (status != WIRE_OK)
        return pop3_lost_client(s, status);
    return backend_ready ? pop3_hear_backend(s) : DIALOGUE_GO_ON;
}

enum dialogue_end pop3_skip_long_line(struct pop3 *s)
{
    enum wire_status status =
        wire_skip_line(s->d->client, SKIP_MAX, dialogue_client_deadline(s->d, s->decided));
    if (status == WIRE_TOOLONG)
        return pop3_refuse_and_close(s, false, "Endless line");
    if (status != WIRE_OK)
        return pop3_lost_client(s, status);
    return pop3_refuse(s, "Line too long");
}
