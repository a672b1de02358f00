/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_say.h"

#include <stdio.h>

#include "protocols/dialogue.h"

void smtp_goodbye(struct smtp *s, const char *enhanced, const char *text)
{
    const struct policy *p = s->d->policy;
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    if (s->choosing) {
        s->last_word.enhanced = enhanced;
        snprintf(s->last_word.text, sizeof s->last_word.text, "%s", text);
        return;
    }
    if (wire_printf(s->d->client, deadline, "421 %s %.255s %s\r\n", enhanced, p->hostname, text) ==
        WIRE_OK)
        (void)wire_flush(s->d->client, deadline);
}

enum dialogue_end smtp_lost_client(struct smtp *s, enum wire_status status)
{
    dialogue_because(s->d, "client %s", wire_status_text(status));
    if (status == WIRE_TIMEOUT)
        smtp_goodbye(s, "4.4.2", "Timeout, closing the connection");
    else if (status == WIRE_CANCELLED)
        smtp_goodbye(s, "4.3.2", "Service is stopping, try again later");
    return DIALOGUE_LOST;
}

enum dialogue_end smtp_say(struct smtp *s, int code, const char *enhanced, const char *text)
{
    bool plain = !s->told.enhanced_codes;
    enum wire_status status =
        wire_printf(s->d->client, wire_deadline(s->d->policy->idle_seconds), "%d %s%s%s\r\n", code,
                    plain ? "" : enhanced, plain ? "" : " ", text);
    return status == WIRE_OK ? DIALOGUE_GO_ON : smtp_lost_client(s, status);
}

enum dialogue_end smtp_refuse(struct smtp *s, int code, const char *enhanced, const char *text)
{
    s->useless++;
    return smtp_say(s, code, enhanced, text);
}

enum dialogue_end smtp_refuse_and_close(struct smtp *s, int code, const char *enhanced,
                                        const char *text)
{
    if (smtp_say(s, code, enhanced, text) == DIALOGUE_GO_ON)
        (void)wire_flush(s->d->client, wire_deadline(GOODBYE_SECONDS));
    dialogue_because(s->d, "%s", text);
    return DIALOGUE_REFUSED;
}

enum dialogue_end smtp_lost_backend(struct smtp *s, enum wire_status status)
{
    dialogue_because(s->d, "backend %s", wire_status_text(status));
    if (status == WIRE_CANCELLED)
        smtp_goodbye(s, "4.3.2", "Service is stopping, try again later");
    else
        smtp_goodbye(s, "4.3.0", "Mail server is not available, try again later");
    return DIALOGUE_LOST;
}

enum dialogue_end smtp_distrust_backend(struct smtp *s, const char *what)
{
    dialogue_because(s->d, "backend %s", what);
    smtp_goodbye(s, "4.3.0", "Mail server is out of step, try again later");
    return DIALOGUE_LOST;
}
