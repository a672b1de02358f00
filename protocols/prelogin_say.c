/* SPDX-License-Identifier: ISC */
#include "protocols/prelogin_say.h"

#include <stdarg.h>
#include <stdio.h>

#include "protocols/dialogue.h"

enum { SENTENCE_MAX = 512 }; /* bytes: an administrator's refusal is shorter */

enum dialogue_end prelogin_say(struct prelogin *s, enum say how, const char *format, ...)
{
    char text[SENTENCE_MAX];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    enum wire_status wire = s->words->put(s->d->client, s->words->prefixes[how], text,
                                          wire_deadline(s->d->policy->idle_seconds));
    return wire == WIRE_OK ? DIALOGUE_GO_ON : prelogin_lost_client(s, wire);
}

enum dialogue_end prelogin_refuse(struct prelogin *s, const char *text)
{
    return prelogin_say(s, SAY_NO, "%s", text);
}

/* Who asked the server for TLS, and did not get it, may get it the next time: temporary. */
enum dialogue_end prelogin_refuse_in_clear(struct prelogin *s)
{
    if (s->requesting)
        return prelogin_say(s, SAY_TRY_LATER,
                            "No TLS to the mail server: no password is sent there");
    return prelogin_say(s, SAY_NEEDS_TLS, "Must issue a %s command first", s->words->starttls);
}

enum dialogue_end prelogin_refuse_and_close(struct prelogin *s, bool temporary, const char *text)
{
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    const struct refusal r = {.code = temporary ? 450 : 550, .text = text};
    s->words->protocol->refuse(s->d->client, s->d->policy->hostname, &r, deadline);
    (void)wire_flush(s->d->client, deadline);
    dialogue_because(s->d, "%s", text);
    return DIALOGUE_REFUSED;
}

void prelogin_goodbye(struct prelogin *s, const char *text)
{
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    if (s->choosing) {
        snprintf(s->last_word, sizeof s->last_word, "%s", text);
        return;
    }
    s->words->protocol->sorry(s->d->client, s->d->policy->hostname, text, deadline);
    (void)wire_flush(s->d->client, deadline);
}

void prelogin_quit_backend(struct prelogin *s)
{
    dialogue_tell_backend(s->d, s->words->quit);
}

enum dialogue_end prelogin_lost_client(struct prelogin *s, enum wire_status status)
{
    dialogue_because(s->d, "client %s", wire_status_text(status));
    if (status == WIRE_TIMEOUT)
        prelogin_goodbye(s, "Timeout, closing the connection");
    else if (status == WIRE_CANCELLED)
        prelogin_goodbye(s, "Service is stopping, try again later");
    return DIALOGUE_LOST;
}

enum dialogue_end prelogin_lost_backend(struct prelogin *s, enum wire_status status)
{
    dialogue_because(s->d, "backend %s", wire_status_text(status));
    prelogin_goodbye(s, status == WIRE_CANCELLED ? "Service is stopping, try again later"
                                                 : "Mail server is not available, try again later");
    return DIALOGUE_LOST;
}

enum dialogue_end prelogin_distrust_backend(struct prelogin *s, const char *what)
{
    dialogue_because(s->d, "backend %s", what);
    prelogin_goodbye(s, "Mail server is out of step, try again later");
    return DIALOGUE_LOST;
}
