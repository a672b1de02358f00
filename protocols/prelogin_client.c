/* SPDX-License-Identifier: ISC */
#include "protocols/prelogin_client.h"

#include "protocols/dialogue.h"
#include "protocols/prelogin_exchange.h"
#include "protocols/prelogin_say.h"

enum dialogue_end prelogin_flush_client(struct prelogin *s)
{
    enum wire_status status = wire_flush(s->d->client, dialogue_client_deadline(s->d, s->decided));
    return status == WIRE_OK ? DIALOGUE_GO_ON : prelogin_lost_client(s, status);
}

enum dialogue_end prelogin_wait_for_client(struct prelogin *s, int64_t deadline)
{
    bool client_ready, backend_ready;
    if (wire_has_line(s->d->client))
        return DIALOGUE_GO_ON;
    enum wire_status status =
        wire_wait_either(s->d->client, &client_ready, s->d->backend, &backend_ready, deadline);
    if (status != WIRE_OK)
        return prelogin_lost_client(s, status);
    return backend_ready ? prelogin_hear_backend(s) : DIALOGUE_GO_ON;
}
