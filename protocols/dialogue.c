/* SPDX-License-Identifier: ISC */
#include "protocols/dialogue.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void dialogue_because(struct dialogue *d, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(d->reason, sizeof d->reason, format, ap);
    va_end(ap);
}

void dialogue_because_of(struct dialogue *d, const char *what, const char *said, size_t len)
{
    enum { QUOTE_MAX = 120 }; /* bytes of the backend's words */
    char words[QUOTE_MAX + 1];
    size_t n = 0;
    for (; n < len && n < QUOTE_MAX && strchr("\r\n", said[n]) == NULL; n++)
        words[n] = said[n] == '"' ? '\'' : said[n] == '\\' ? '?' : said[n];
    words[n] = '\0';
    dialogue_because(d, "%s: %s", what, words);
}

void dialogue_sentence(const struct dialogue *d, char out[LAST_WORD_MAX + 1])
{
    snprintf(out, LAST_WORD_MAX + 1, "%.*s", LAST_WORD_MAX, d->reason);
    for (char *c = out; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

int64_t dialogue_client_deadline(const struct dialogue *d, bool decided)
{
    int64_t idle = wire_deadline(d->policy->idle_seconds);
    return decided || idle < d->pretls_deadline ? idle : d->pretls_deadline;
}

bool dialogue_ends_clearly(const struct dialogue *d, const struct line *line)
{
    switch (d->policy->bare_newline) {
    case BARE_NEWLINE_PASS:
        return true;
    case BARE_NEWLINE_REFUSE:
        if (!line->crlf)
            return false;
        break;
    case BARE_NEWLINE_NORMALIZE:
        break;
    }
    return memchr(line->data, '\r', line->text_len) == NULL;
}

enum wire_status dialogue_put_line(struct dialogue *d, const struct line *line, int64_t deadline)
{
    bool mend = !line->crlf && d->policy->bare_newline == BARE_NEWLINE_NORMALIZE;
    enum wire_status status =
        wire_put(d->backend, line->data, mend ? line->text_len : line->len, deadline);
    return status == WIRE_OK && mend ? wire_put(d->backend, "\r\n", 2, deadline) : status;
}

enum wire_status dialogue_take_bytes(struct wire *w, size_t n, int64_t deadline, struct reply *out)
{
    while (n > 0) {
        const char *data;
        size_t have = wire_buffered(w, &data), part = have < n ? have : n;
        reply_append(out, data, part);
        wire_consume(w, part);
        n -= part;
        enum wire_status status = n > 0 ? wire_fill(w, deadline) : WIRE_OK;
        if (status != WIRE_OK)
            return status == WIRE_EOF ? WIRE_TRUNCATED : status;
    }
    return WIRE_OK;
}

bool dialogue_is_out_of_turn(const struct dialogue *d)
{
    return wire_buffered(d->backend, NULL) > 0;
}

void dialogue_tell_backend(struct dialogue *d, const char *command)
{
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    d->said_quit = true;
    if (wire_printf(d->backend, deadline, "%s\r\n", command) == WIRE_OK)
        (void)wire_flush(d->backend, deadline);
}

void dialogue_quit_backend(struct dialogue *d)
{
    dialogue_tell_backend(d, "QUIT");
}

bool dialogue_client_knows_nothing(const struct dialogue *d)
{
    return d->client->sent == 0 && d->client->out_len == 0;
}

bool dialogue_may_fall_back(const struct dialogue *d)
{
    return d->policy->tls_level == TLS_LEVEL_MAY && d->policy->fall_back;
}

void dialogue_forget_server(struct dialogue *d)
{
    d->server_tls_active = d->server_verified = false;
    d->offered_tls = d->heard_offer = d->said_quit = d->logging_in = false;
    d->reason[0] = '\0';
    d->remedy = NULL;
}
