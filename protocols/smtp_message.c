/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_message.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocols/dialogue.h"
#include "protocols/memory.h"
#include "protocols/smtp_client.h"
#include "protocols/smtp_exchange.h"
#include "protocols/smtp_say.h"
#include "protocols/smtp_trace.h"

enum {
    REPLY_SEND_DATA = 354,
    DATA_DONE_SECONDS = 600, /* RFC 5321 §4.5.3.2.6: the client waits that long after the dot */
};

/* Where bytes of a body go. Once the backend has failed they go nowhere: the client is heard out,
 * since it will not read a reply before it has said everything. */
struct body {
    bool backend_gone;
    bool spoke_early; /* the backend has replied before it was given the end */
    enum wire_status why;
};

static void put_body(struct smtp *s, struct body *b, const char *data, size_t len)
{
    if (b->backend_gone || len == 0)
        return;
    b->why = wire_put(s->d->backend, data, len, wire_deadline(s->d->policy->busy_seconds));
    b->backend_gone = b->why != WIRE_OK;
}

static void flush_body(struct smtp *s, struct body *b)
{
    if (b->backend_gone)
        return;
    b->why = wire_flush(s->d->backend, wire_deadline(s->d->policy->busy_seconds));
    b->backend_gone = b->why != WIRE_OK;
}

static enum dialogue_end more_body(struct smtp *s, struct body *b)
{
    flush_body(s, b);
    if (b->why == WIRE_CANCELLED)
        return smtp_lost_backend(s, b->why);
    /* Replies of a pipelined group must not be held back: the client may wait for those to MAIL and
     * RCPT before it sends the octets of its chunk (RFC 2920 §3.2). */
    int64_t deadline =
        dialogue_client_deadline(s->d, s->decided); /* a chunk may be one that will be refused */
    enum wire_status status = wire_flush(s->d->client, deadline);
    if (status == WIRE_OK)
        status = wire_fill(s->d->client, deadline);

    return status == WIRE_OK ? DIALOGUE_GO_ON : smtp_lost_client(s, status);
}

/* Waits until the client has sent the first `n` bytes of a message. */
static enum dialogue_end await_body(struct smtp *s, struct body *b, size_t n)
{
    enum dialogue_end end = DIALOGUE_GO_ON;
    while (end == DIALOGUE_GO_ON && wire_buffered(s->d->client, NULL) < n)
        end = more_body(s, b);
    return end;
}

/* The body could not be given to the backend whole. What it said before it went is passed on if
 * it is a refusal; a success would be a lie. */
static enum dialogue_end body_undelivered(struct smtp *s, const struct body *b)
{
    enum wire_status why;
    if (smtp_hear_reply(s, wire_now(), &why) != SMTP_HEARD_REPLY || s->reply.code < 400)
        return smtp_lost_backend(s, b->why);
    dialogue_because(s->d, "backend refused the message with %d and %s", s->reply.code,
                     wire_status_text(b->why));
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    if (wire_put(s->d->client, s->reply.bytes, s->reply.len, deadline) == WIRE_OK)
        (void)wire_flush(s->d->client, deadline);
    return DIALOGUE_LOST;
}

/* One reply, or in LMTP one for each accepted recipient (RFC 2033 §4.2). A refusal may come before
 * the message is there; an acceptance that does (`early`) accepts nothing. */
static enum dialogue_end read_verdicts(struct smtp *s, bool early)
{
    unsigned n = s->lmtp && s->recipients > 0 ? s->recipients : 1;
    unsigned seconds = s->d->policy->busy_seconds;
    bool accepted = false;
    for (unsigned i = 0; i < n; i++) {
        enum dialogue_end end =
            smtp_read_reply(s, seconds > DATA_DONE_SECONDS ? seconds : DATA_DONE_SECONDS);
        if (end == DIALOGUE_GO_ON && s->reply.code / 100 == 3)
            return smtp_distrust_backend(s, "asked for data after the message");
        if (end == DIALOGUE_GO_ON && early && smtp_is_success(&s->reply))
            return smtp_distrust_backend(s, "accepted a message before its end");
        if (end == DIALOGUE_GO_ON)
            end = smtp_pass_reply(s, &s->reply);
        if (end != DIALOGUE_GO_ON)
            return end;
        if (smtp_is_success(&s->reply) && !accepted) {
            accepted = true;
            s->d->tally.messages++;
            s->useless = 0;
        }
        /* The next one may take its time, and the client waits for no longer than that of one. */
        if (i + 1 < n && wire_buffered(s->d->backend, NULL) == 0)
            end = smtp_flush_client(s);
        if (end != DIALOGUE_GO_ON)
            return end;
    }
    smtp_forget_transaction(s);
    return DIALOGUE_GO_ON;
}

/* SMTP smuggling (CVE-2023-51764): another MTA would see the message end here and take the rest
 * for commands. Closing without the final dot makes the backend forget what it has so far. */
static enum dialogue_end refuse_lookalike(struct smtp *s)
{
    return smtp_refuse_and_close(s, 521, "5.5.2",
                                 "Bare <LF> or <CR> around a lone dot in the message");
}

/* To be called before the backend is given the end. */
static void note_early_reply(struct smtp *s, struct body *b)
{
    b->spoke_early = b->spoke_early || wire_readable(s->d->backend);
}

/* Forwards to CRLF.CRLF, unchanged and in large blocks. */
static enum dialogue_end copy_unchanged(struct smtp *s, struct body *b)
{
    struct enddata e;
    enddata_init(&e, s->d->policy->bare_newline);
    for (;;) {
        const char *data;
        size_t pass, len = wire_buffered(s->d->client, &data);
        enum enddata_found found = enddata_scan(&e, data, len, &pass);
        if (found == ENDDATA_COMPLETE)
            note_early_reply(s, b);
        put_body(s, b, data, pass);
        wire_consume(s->d->client, pass);
        if (found == ENDDATA_LOOKALIKE) {
            flush_body(s, b);
            return refuse_lookalike(s);
        }
        if (found == ENDDATA_COMPLETE)
            return DIALOGUE_GO_ON;
        enum dialogue_end end = more_body(s, b);
        if (end != DIALOGUE_GO_ON)
            return end;
    }
}

static enum dialogue_end copy_normalized(struct smtp *s, struct body *b)
{
    struct enddata e;
    char *out = memory_alloc(2 * WIRE_BULK + 2);
    enum dialogue_end end = DIALOGUE_GO_ON;
    enddata_init(&e, BARE_NEWLINE_NORMALIZE);
    for (;;) {
        const char *data;
        size_t used, written, len = wire_buffered(s->d->client, &data);
        enum enddata_found found = enddata_normalize(&e, data, len, &used, out, &written);
        if (found == ENDDATA_COMPLETE)
            note_early_reply(s, b);
        put_body(s, b, out, written);
        wire_consume(s->d->client, used);
        if (found == ENDDATA_COMPLETE)
            break;
        end = more_body(s, b);
        if (end != DIALOGUE_GO_ON)
            break;
    }
    free(out);
    return end;
}

/* The trace header goes first. It ends as the command did, so the end of data is found as without
 * it. No message is shorter than the three bytes that are its end. */
static enum dialogue_end put_trace(struct smtp *s, struct body *b)
{
    char header[TRACE_MAX];
    const char *data;
    enum dialogue_end end = await_body(s, b, TRACE_LOOK_AHEAD);
    if (end != DIALOGUE_GO_ON)
        return end;
    size_t len = wire_buffered(s->d->client, &data);
    put_body(s, b, header, smtp_trace_write(s, data, len, true, header));
    return DIALOGUE_GO_ON;
}

enum dialogue_end smtp_do_data(struct smtp *s, const struct command *c, const struct line *line)
{
    (void)c;
    enum dialogue_end end = smtp_forward(s, line);
    if (end == DIALOGUE_GO_ON && s->reply.code / 100 == 3 && s->reply.code != REPLY_SEND_DATA)
        return smtp_distrust_backend(s, "answered DATA with a code that has no meaning there");
    if (end == DIALOGUE_GO_ON)
        end = smtp_pass_reply(s, &s->reply);
    if (end != DIALOGUE_GO_ON || s->reply.code != REPLY_SEND_DATA)
        return end;
    end = smtp_flush_client(s);
    if (end != DIALOGUE_GO_ON)
        return end;

    struct body b = {0};
    s->d->step = "passing the message";
    wire_expect_bulk(s->d->client);
    if (smtp_is_traced(s))
        end = put_trace(s, &b);
    if (end == DIALOGUE_GO_ON)
        end = s->d->policy->bare_newline == BARE_NEWLINE_NORMALIZE ? copy_normalized(s, &b)
                                                                   : copy_unchanged(s, &b);
    if (end != DIALOGUE_GO_ON)
        return end;
    flush_body(s, &b);
    if (b.backend_gone)
        return body_undelivered(s, &b);
    s->d->step = "reading the backend's reply to the message";
    return read_verdicts(s, b.spoke_early);
}

/* Takes exactly `size` octets from the client (RFC 3030 §2): binary, nothing is looked at. */
static enum dialogue_end copy_chunk(struct smtp *s, struct body *b, uint64_t size)
{
    while (size > 0) {
        const char *data;
        size_t len = wire_buffered(s->d->client, &data);
        if (len >= size) {
            len = (size_t)size;
            note_early_reply(s, b);
        }
        put_body(s, b, data, len);
        wire_consume(s->d->client, len);
        size -= len;
        if (size > 0) {
            enum dialogue_end end = more_body(s, b);
            if (end != DIALOGUE_GO_ON)
                return end;
        }
    }
    return DIALOGUE_GO_ON;
}

/* Why a BDAT must not go to the backend: it would read the chunk as commands. The chunk has
 * already left the client and is thrown away before the answer (RFC 3030 §2). */
static bool bdat_refused(const struct smtp *s, int *code, const char **enhanced, const char **text)
{
    if (smtp_lacks_tls(s)) {
        *code = 530;
        *enhanced = "5.7.0";
        *text = "Must issue a STARTTLS command first";
    } else if (smtp_lacks_hello(s) != NULL) {
        *code = 503;
        *enhanced = "5.5.1";
        *text = smtp_lacks_hello(s);
    } else if (!s->told.chunking) {
        *code = 503;
        *enhanced = "5.5.1";
        *text = "CHUNKING was not offered";
    } else {
        return false;
    }
    return true;
}

/* Never as the client has spelt it: the chunk follows before the backend has answered, and one that
 * does not understand the line (a tab, two blanks) would read commands there. */
static void put_bdat(struct smtp *s, struct body *b, uint64_t size, bool last)
{
    char command[40];
    int n = snprintf(command, sizeof command, "BDAT %" PRIu64 "%s\r\n", size, last ? " LAST" : "");
    put_body(s, b, command, (size_t)n);
}

/* The command with the trace header, which is counted in, and is a part of this chunk: whatever the
 * backend does with the one it does with the other. MAIL may have said SIZE without it, which is an
 * estimate (RFC 1870 §5). */
static enum dialogue_end put_traced_chunk(struct smtp *s, struct body *b, uint64_t size, bool last)
{
    char header[TRACE_MAX];
    const char *data;
    size_t look = size < TRACE_LOOK_AHEAD ? (size_t)size : TRACE_LOOK_AHEAD;
    enum dialogue_end end = await_body(s, b, look);
    if (end != DIALOGUE_GO_ON)
        return end;
    wire_buffered(s->d->client, &data);
    size_t len = smtp_trace_write(s, data, look, false, header);
    put_bdat(s, b, size + len, last);
    put_body(s, b, header, len);
    return DIALOGUE_GO_ON;
}

/* With a trace header the chunk must not outgrow what smtp_bdat_parse allows. */
static bool is_too_large(const struct smtp *s, uint64_t size)
{
    return smtp_is_traced(s) && size > SMTP_CHUNK_MAX - TRACE_MAX;
}

enum dialogue_end smtp_do_bdat(struct smtp *s, const struct command *c, const struct line *line)
{
    uint64_t size;
    bool last;
    int code;
    const char *enhanced, *text;
    struct body b = {0};

    (void)line;
    if (!smtp_bdat_parse(c, &size, &last)) /* nobody knows how many octets follow */
        return smtp_refuse_and_close(s, 501, "5.5.4", "Syntax: BDAT count [LAST]");
    if (is_too_large(s, size))
        return smtp_refuse_and_close(s, 552, "5.3.4", "Chunk is too large");
    b.backend_gone = bdat_refused(s, &code, &enhanced, &text);
    bool refused = b.backend_gone;
    if (dialogue_is_out_of_turn(s->d))
        return smtp_distrust_backend(s, "spoke out of turn");
    /* The header comes with the first octets, so that it can be seen how the message begins. */
    bool trace = !refused && smtp_is_traced(s) && !s->traced && (size > 0 || last);
    if (size == 0)
        note_early_reply(s, &b);
    if (!refused && !trace)
        put_bdat(s, &b, size, last);
    s->d->step = "passing a chunk of the message";
    wire_expect_bulk(s->d->client);
    enum dialogue_end end = trace ? put_traced_chunk(s, &b, size, last) : DIALOGUE_GO_ON;
    if (end == DIALOGUE_GO_ON)
        end = copy_chunk(s, &b, size);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (refused)
        return smtp_refuse(s, code, enhanced, text);
    flush_body(s, &b);
    if (b.backend_gone)
        return body_undelivered(s, &b);
    end = smtp_flush_client(s); /* what it hears may take ten minutes */
    if (end != DIALOGUE_GO_ON)
        return end;
    s->d->step = "reading the backend's reply to a chunk";
    if (last)
        return read_verdicts(s, b.spoke_early);
    end = smtp_read_reply(s, s->d->policy->busy_seconds);
    if (end == DIALOGUE_GO_ON && s->reply.code / 100 == 3)
        return smtp_distrust_backend(s, "asked for data after a chunk");
    if (end == DIALOGUE_GO_ON && b.spoke_early && smtp_is_success(&s->reply))
        return smtp_distrust_backend(s, "accepted a chunk before its end");
    if (end == DIALOGUE_GO_ON && trace) /* a refused chunk is no part of the message, nor is ours */
        s->traced = smtp_is_success(&s->reply);
    return end == DIALOGUE_GO_ON ? smtp_pass_reply(s, &s->reply) : end;
}
