/* SPDX-License-Identifier: ISC */
#include "protocols/pop3_say.h"

#include <stdio.h>

#include "protocols/dialogue.h"

enum dialogue_end pop3_say(struct pop3 *s, const char *status, const char *text)
{
    enum wire_status wire = wire_printf(s->d->client, wire_deadline(s->d->policy->idle_seconds),
                                        "%s %s\r\n", status, text);
    return wire == WIRE_OK ? DIALOGUE_GO_ON : pop3_lost_client(s, wire);
}

enum dialogue_end pop3_refuse(struct pop3 *s, const char *text)
{
    return pop3_say(s, "-ERR", text);
}

enum dialogue_end pop3_refuse_and_close(struct pop3 *s, bool temporary, const char *text)
{
    if (pop3_say(s, temporary ? "-ERR [SYS/TEMP]" : "-ERR [SYS/PERM]", text) == DIALOGUE_GO_ON)
        (void)wire_flush(s->d->client, wire_deadline(GOODBYE_SECONDS));
    dialogue_because(s->d, "%s", text);
    return DIALOGUE_REFUSED;
}

void pop3_goodbye(struct pop3 *s, const char *text)
{
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    if (s->choosing) {
        snprintf(s->last_word, sizeof s->last_word, "%s", text);
        return;
    }
    protocol_pop3.sorry(s->d->client, s->d->policy->hostname, text, deadline);
    (void)wire_flush(s->d->client, deadline);
}

enum dialogue_end pop3_lost_client(struct pop3 *s, enum wire_status status)
{
    dialogue_because(s->d, "client %s", wire_status_text(status));
    if (status == WIRE_TIMEOUT)
        pop3_goodbye(s, "Timeout, closing the connection");
    else if (status == WIRE_CANCELLED)
        pop3_goodbye(s, "Service is stopping, try again later");
    return DIALOGUE_LOST;
}

enum dialogue_end pop3_lost_backend(struct pop3 *s, enum wire_status status)
{
    dialogue_because(s->d, "backend %s", wire_status_text(status));
    pop3_goodbye(s, status == WIRE_CANCELLED ? "Service is stopping, try again later"
                                             : "Mail server is not available, try again later");
    return DIALOGUE_LOST;
}

enum dialogue_end pop3_distrust_backend(struct pop3 *s, const char *what)
{
    dialogue_because(s->d, "backend %s", what);
    pop3_goodbye(s, "Mail server is out of step, try again later");
    return DIALOGUE_LOST;
}
