/* SPDX-License-Identifier: ISC
 *
 * SMTP (RFC 5321) and LMTP (RFC 2033) with STARTTLS (RFC 3207), server side, in lock-step: one
 * command is read, forwarded, its whole reply read, edited if need be and sent back, before the
 * next command is taken from the client's buffer. A client that pipelines (RFC 2920) does not
 * notice: its group waits in the buffer, and our replies leave in one write when it is empty.
 *
 * Nothing said in clear counts after TLS. What the client's wire still holds behind the STARTTLS
 * line belongs to the handshake, so a command slipped in there breaks it and reaches nobody
 * (CVE-2011-0411).
 *
 * Bugs: a SASL security layer (RFC 4954 §4, GSSAPI and DIGEST-MD5 may negotiate one) makes the
 * stream opaque and ends the session with 500; clients do not ask for one inside TLS.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocols/memory.h"
#include "protocols/protocol.h"
#include "protocols/reply.h"
#include "protocols/smtp_command.h"

enum {
    REPLY_GREETING = 220,
    REPLY_CLOSING = 421,
    REPLY_TLS_GO_AHEAD = 220,
    REPLY_AUTH_CONTINUE = 334,
    REPLY_AUTH_DONE = 235,
    REPLY_SEND_DATA = 354,
    DATA_DONE_SECONDS = 600, /* RFC 5321 §4.5.3.2.6: the client waits that long after the dot */
    GOODBYE_SECONDS = 10,    /* for a last reply to a client that may be gone */
    SKIP_MAX = 1024 * 1024,  /* bytes of one endless line before we give up on the client */
};

struct smtp {
    struct dialogue *d;
    bool lmtp;
    struct reply reply, edited;
    struct capabilities told; /* by the last EHLO reply */
    bool greeted;             /* HELO, EHLO or LHLO since the connection or TLS began */
    bool authenticated;
    bool decided;        /* the client has TLS or has begun mail without: pretls_deadline is over */
    unsigned recipients; /* accepted in this transaction; LMTP answers for each (RFC 2033 §4.2) */
    unsigned useless;    /* commands since the last message */
};

/* ---- what we say ourselves ---- */

__attribute__((format(printf, 2, 3))) static void because(struct smtp *s, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(s->d->reason, sizeof s->d->reason, format, ap);
    va_end(ap);
}

static enum dialogue_end lost_client(struct smtp *s, enum wire_status status);

/* RFC 2034: enhanced codes only where the server has announced them. */
static enum dialogue_end say(struct smtp *s, int code, const char *enhanced, const char *text)
{
    bool plain = !s->told.enhanced_codes;
    enum wire_status status =
        wire_printf(s->d->client, wire_deadline(s->d->policy->idle_seconds), "%d %s%s%s\r\n", code,
                    plain ? "" : enhanced, plain ? "" : " ", text);
    return status == WIRE_OK ? DIALOGUE_GO_ON : lost_client(s, status);
}

/* The last word: 421 before closing (RFC 5321 §3.8). Whether it arrives changes nothing. */
static void say_goodbye(struct smtp *s, const char *enhanced, const char *text)
{
    const struct policy *p = s->d->policy;
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    if (wire_printf(s->d->client, deadline, "421 %s %.255s %s\r\n", enhanced, p->hostname, text) ==
        WIRE_OK)
        (void)wire_flush(s->d->client, deadline);
}

/* A command of the client that we answer with a refusal of our own and that brought no mail. */
static enum dialogue_end refuse(struct smtp *s, int code, const char *enhanced, const char *text)
{
    s->useless++;
    return say(s, code, enhanced, text);
}

/* A refusal after which nothing the client sends can be understood. */
static enum dialogue_end refuse_and_close(struct smtp *s, int code, const char *enhanced,
                                          const char *text)
{
    if (say(s, code, enhanced, text) == DIALOGUE_GO_ON)
        (void)wire_flush(s->d->client, wire_deadline(GOODBYE_SECONDS));
    because(s, "%s", text);
    return DIALOGUE_REFUSED;
}

static enum dialogue_end lost_client(struct smtp *s, enum wire_status status)
{
    because(s, "client %s", wire_status_text(status));
    if (status == WIRE_TIMEOUT)
        say_goodbye(s, "4.4.2", "Timeout, closing the connection");
    else if (status == WIRE_CANCELLED)
        say_goodbye(s, "4.3.2", "Service is stopping, try again later");
    return DIALOGUE_LOST;
}

static enum dialogue_end lost_backend(struct smtp *s, enum wire_status status)
{
    because(s, "backend %s", wire_status_text(status));
    if (status == WIRE_CANCELLED)
        say_goodbye(s, "4.3.2", "Service is stopping, try again later");
    else
        say_goodbye(s, "4.3.0", "Mail server is not available, try again later");
    return DIALOGUE_LOST;
}

/* The backend does not follow the protocol, so nothing it says from here on can be attributed to
 * a command. Temporary for the client: it keeps its mail. */
static enum dialogue_end distrust_backend(struct smtp *s, const char *what)
{
    because(s, "backend %s", what);
    say_goodbye(s, "4.3.0", "Mail server is out of step, try again later");
    return DIALOGUE_LOST;
}

/* ---- one exchange with the backend ---- */

static enum dialogue_end read_reply(struct smtp *s, unsigned seconds)
{
    const struct policy *p = s->d->policy;
    int64_t deadline = wire_deadline(seconds);
    reply_clear(&s->reply);
    for (;;) {
        struct line line;
        size_t room = p->max_reply - s->reply.len;
        if (room == 0)
            return distrust_backend(s, "sent too long a reply");
        enum wire_status status =
            wire_getline(s->d->backend, room < WIRE_BUFFER ? room : WIRE_BUFFER, deadline, &line);
        if (status == WIRE_TOOLONG)
            return distrust_backend(s, "sent too long a reply");
        if (status != WIRE_OK)
            return lost_backend(s, status);
        switch (reply_add_line(&s->reply, line.data, line.len)) {
        case REPLY_MORE:
            break;
        case REPLY_LAST:
            return DIALOGUE_GO_ON;
        case REPLY_BAD:
            return distrust_backend(s, "sent what is not an SMTP reply");
        }
    }
}

/* Passes the reply on. After a 421 the backend is gone, and so are we (RFC 5321 §3.8). */
static enum dialogue_end pass_reply(struct smtp *s, const struct reply *r)
{
    int64_t deadline = wire_deadline(s->d->policy->idle_seconds);
    enum wire_status status = wire_put(s->d->client, r->bytes, r->len, deadline);
    if (status != WIRE_OK)
        return lost_client(s, status);
    if (r->code != REPLY_CLOSING)
        return DIALOGUE_GO_ON;
    (void)wire_flush(s->d->client, deadline);
    because(s, "backend closed the session with 421");
    return DIALOGUE_DONE;
}

static bool is_success(const struct reply *r)
{
    return r->code / 100 == 2;
}

/* Whether the backend has said something that nobody asked for, which would pass for the answer to
 * what is asked next. */
static bool is_out_of_turn(const struct smtp *s)
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
        return lost_backend(s, status);
    return read_reply(s, seconds);
}

/* A command of our own. */
static enum dialogue_end ask(struct smtp *s, const char *command)
{
    if (is_out_of_turn(s))
        return distrust_backend(s, "spoke out of turn");
    return exchange(s, wire_put(s->d->backend, command, strlen(command),
                                wire_deadline(s->d->policy->busy_seconds)));
}

/* The client's line, byte for byte. Only a bare LF that the administrator wants mended is. */
static enum wire_status put_line(struct smtp *s, const struct line *line, int64_t deadline)
{
    bool mend = !line->crlf && s->d->policy->bare_newline == BARE_NEWLINE_NORMALIZE;
    enum wire_status status =
        wire_put(s->d->backend, line->data, mend ? line->text_len : line->len, deadline);
    return status == WIRE_OK && mend ? wire_put(s->d->backend, "\r\n", 2, deadline) : status;
}

/* A command of the client. */
static enum dialogue_end forward(struct smtp *s, const struct line *line)
{
    if (is_out_of_turn(s))
        return distrust_backend(s, "spoke out of turn");
    return exchange(s, put_line(s, line, wire_deadline(s->d->policy->busy_seconds)));
}

/* Forwards a command that carries nothing but its line, and passes the reply on. */
static enum dialogue_end relay(struct smtp *s, const struct line *line)
{
    enum dialogue_end end = forward(s, line);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->reply.code / 100 == 3)
        return distrust_backend(s, "asked for data after a command that has none");
    return pass_reply(s, &s->reply);
}

/* ---- reading the client ---- */

static int64_t client_deadline(const struct smtp *s)
{
    int64_t idle = wire_deadline(s->d->policy->idle_seconds);
    return s->decided || idle < s->d->pretls_deadline ? idle : s->d->pretls_deadline;
}

/* The backend has spoken, or gone, while nobody asked it. */
static enum dialogue_end hear_backend(struct smtp *s)
{
    enum dialogue_end end = read_reply(s, s->d->policy->busy_seconds);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->reply.code == REPLY_CLOSING)
        return pass_reply(s, &s->reply);
    return distrust_backend(s, "spoke out of turn");
}

/* Waits for the client's next command, and hears the backend meanwhile. */
static enum dialogue_end wait_for_client(struct smtp *s, int64_t deadline)
{
    bool client_ready, backend_ready;
    if (wire_has_line(s->d->client))
        return DIALOGUE_GO_ON;
    enum wire_status status =
        wire_wait_either(s->d->client, &client_ready, s->d->backend, &backend_ready, deadline);
    if (status != WIRE_OK)
        return lost_client(s, status);
    return backend_ready ? hear_backend(s) : DIALOGUE_GO_ON;
}

/* A line longer than the limit: 500, and the session goes on behind it (RFC 5321 §4.5.3.1). */
static enum dialogue_end skip_long_line(struct smtp *s)
{
    enum wire_status status = wire_skip_line(s->d->client, SKIP_MAX, client_deadline(s));
    if (status == WIRE_TOOLONG)
        return refuse_and_close(s, 421, "4.7.0", "Endless line");
    if (status != WIRE_OK)
        return lost_client(s, status);
    return refuse(s, 500, "5.5.2", "Line too long");
}

/* Whether two programs in a row would agree about where this line ends. */
static bool ends_clearly(const struct smtp *s, const struct line *line)
{
    switch (s->d->policy->bare_newline) {
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

/* ---- the commands ---- */

typedef enum dialogue_end handler(struct smtp *s, const struct smtp_command *c,
                                  const struct line *line);

/* Whether the AUTH keyword and command are withheld: RFC 4954 §4, no passwords in clear. */
static bool auth_withheld(const struct smtp *s)
{
    const struct dialogue *d = s->d;
    return !d->tls_active && !d->policy->auth_before_tls && d->policy->tls_level != TLS_LEVEL_NONE;
}

static bool tls_offered(const struct smtp *s)
{
    return !s->d->tls_active && !s->authenticated && s->d->policy->tls_level != TLS_LEVEL_NONE;
}

static void forget_transaction(struct smtp *s)
{
    s->recipients = 0;
}

/* EHLO and LHLO: the reply is edited, and it is edited again after TLS, because a keyword of the
 * backend must not appear there either (RFC 3207 §4.2). */
static enum dialogue_end do_ehlo(struct smtp *s, const struct smtp_command *c,
                                 const struct line *line)
{
    if (s->lmtp != (c->verb[0] == 'L')) /* RFC 2033 §4.1: the one MUST NOT pass for the other */
        return refuse(s, 500, "5.5.1",
                      s->lmtp ? "This is LMTP: use LHLO" : "This is SMTP: use EHLO");
    enum dialogue_end end = forward(s, line);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (!is_success(&s->reply))
        return pass_reply(s, &s->reply);
    if (s->reply.code != 250)
        return distrust_backend(s, "answered EHLO with a success that is not 250");

    const struct capability_rules rules = {.offer_starttls = tls_offered(s),
                                           .hide_auth = auth_withheld(s),
                                           .hide = &s->d->policy->hide};
    reply_edit_capabilities(&s->reply, &rules, &s->edited, &s->told);
    s->greeted = true;
    forget_transaction(s);
    return pass_reply(s, &s->edited);
}

static enum dialogue_end do_helo(struct smtp *s, const struct smtp_command *c,
                                 const struct line *line)
{
    (void)c;
    if (s->lmtp)
        return refuse(s, 500, "5.5.1", "This is LMTP: use LHLO");
    enum dialogue_end end = relay(s, line);
    if (end == DIALOGUE_GO_ON && is_success(&s->reply)) {
        s->greeted = true;
        s->told = (struct capabilities){0};
        forget_transaction(s);
    }
    return end;
}

/* RFC 3207 §4.2 by a backend that has heard nothing yet. The client had a greeting before TLS, so
 * the second one is not passed on. */
static enum dialogue_end renew_backend(struct smtp *s)
{
    struct dialogue *d = s->d;
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    if (wire_put(d->backend, "QUIT\r\n", 6, deadline) == WIRE_OK)
        (void)wire_flush(d->backend, deadline);
    if (!d->renew_backend(d)) {
        say_goodbye(s, "4.3.0", "Mail server is not available, try again later");
        return DIALOGUE_LOST;
    }
    d->step = "reading the backend's second greeting";
    enum dialogue_end end = read_reply(s, d->policy->busy_seconds);
    if (end != DIALOGUE_GO_ON || s->reply.code == REPLY_GREETING)
        return end;
    because(s, "backend greeted with %d the second time", s->reply.code);
    say_goodbye(s, "4.3.0", "Mail server is not available, try again later");
    return DIALOGUE_LOST;
}

/* RFC 3207 §4. The backend is reset before the go-ahead, which shows at the same time that it is
 * still there, or replaced after the handshake; then it sees the client's new EHLO. */
static enum dialogue_end do_starttls(struct smtp *s, const struct smtp_command *c,
                                     const struct line *line)
{
    struct dialogue *d = s->d;
    (void)line;
    if (c->args_len > 0)
        return refuse(s, 501, "5.5.4", "STARTTLS takes no argument");
    if (d->tls_active)
        return refuse(s, 503, "5.5.1", "TLS is already active");
    if (d->policy->tls_level == TLS_LEVEL_NONE)
        return refuse(s, 502, "5.5.1", "STARTTLS is not offered");
    if (s->authenticated) /* no RSET undoes an AUTH that was said in clear */
        return refuse(s, 503, "5.5.1", "Already authenticated");
    if (!d->tls_ready(d))
        return refuse(s, 454, "4.7.0", "TLS is not available at the moment");

    enum dialogue_end end;
    if (d->renew_backend == NULL) {
        end = ask(s, "RSET\r\n");
        if (end != DIALOGUE_GO_ON)
            return end;
        if (s->reply.code == REPLY_CLOSING)
            return pass_reply(s, &s->reply);
        if (!is_success(&s->reply))
            return refuse(s, 454, "4.7.0", "TLS is not available: mail server refused RSET");
    }

    end = say(s, REPLY_TLS_GO_AHEAD, "2.0.0", "Ready to start TLS");
    if (end != DIALOGUE_GO_ON)
        return end;
    enum wire_status status = wire_flush(d->client, client_deadline(s));
    if (status != WIRE_OK)
        return lost_client(s, status);
    d->step = "TLS handshake";
    if (!d->start_tls(d))
        return DIALOGUE_LOST;

    /* RFC 3207 §4.2: what was learned in clear is forgotten. */
    s->told = (struct capabilities){0};
    s->greeted = false;
    s->decided = true;
    s->useless = 0;
    forget_transaction(s);
    return d->renew_backend != NULL ? renew_backend(s) : DIALOGUE_GO_ON;
}

static enum dialogue_end do_mail(struct smtp *s, const struct smtp_command *c,
                                 const struct line *line)
{
    (void)c;
    enum dialogue_end end = relay(s, line);
    if (end == DIALOGUE_GO_ON && is_success(&s->reply)) {
        s->d->tally.senders++;
        s->decided = true;
        forget_transaction(s);
    }
    return end;
}

static enum dialogue_end do_rcpt(struct smtp *s, const struct smtp_command *c,
                                 const struct line *line)
{
    (void)c;
    enum dialogue_end end = relay(s, line);
    if (end == DIALOGUE_GO_ON && is_success(&s->reply)) {
        s->d->tally.recipients++;
        s->recipients++;
    }
    return end;
}

/* ---- mail data ---- */

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
        return lost_backend(s, b->why);
    /* Replies of a pipelined group must not be held back: the client may wait for those to MAIL and
     * RCPT before it sends the octets of its chunk (RFC 2920 §3.2). */
    int64_t deadline = wire_deadline(s->d->policy->idle_seconds);
    enum wire_status status = wire_flush(s->d->client, deadline);
    if (status == WIRE_OK)
        status = wire_fill(s->d->client, deadline);

    return status == WIRE_OK ? DIALOGUE_GO_ON : lost_client(s, status);
}

/* The body could not be given to the backend whole. What it said before it went is passed on if
 * it is a refusal; a success would be a lie. */
static enum dialogue_end body_undelivered(struct smtp *s, const struct body *b)
{
    struct line line;
    enum reply_line last = REPLY_MORE;
    reply_clear(&s->reply);
    while (last == REPLY_MORE && s->reply.len < s->d->policy->max_reply &&
           wire_getline(s->d->backend, WIRE_BUFFER, wire_now(), &line) == WIRE_OK)
        last = reply_add_line(&s->reply, line.data, line.len);
    if (last != REPLY_LAST || s->reply.code < 400)
        return lost_backend(s, b->why);
    because(s, "backend refused the message with %d and %s", s->reply.code,
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
            read_reply(s, seconds > DATA_DONE_SECONDS ? seconds : DATA_DONE_SECONDS);
        if (end == DIALOGUE_GO_ON && s->reply.code / 100 == 3)
            return distrust_backend(s, "asked for data after the message");
        if (end == DIALOGUE_GO_ON && early && is_success(&s->reply))
            return distrust_backend(s, "accepted a message before its end");
        if (end == DIALOGUE_GO_ON)
            end = pass_reply(s, &s->reply);
        if (end != DIALOGUE_GO_ON)
            return end;
        if (is_success(&s->reply) && !accepted) {
            accepted = true;
            s->d->tally.messages++;
            s->useless = 0;
        }
    }
    forget_transaction(s);
    return DIALOGUE_GO_ON;
}

/* SMTP smuggling (CVE-2023-51764): another MTA would see the message end here and take the rest
 * for commands. Closing without the final dot makes the backend forget what it has so far. */
static enum dialogue_end refuse_lookalike(struct smtp *s)
{
    return refuse_and_close(s, 521, "5.5.2", "Bare <LF> or <CR> around a lone dot in the message");
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
        b->spoke_early =
            b->spoke_early || (found == ENDDATA_COMPLETE && wire_readable(s->d->backend));
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
        b->spoke_early =
            b->spoke_early || (found == ENDDATA_COMPLETE && wire_readable(s->d->backend));
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

static enum dialogue_end do_data(struct smtp *s, const struct smtp_command *c,
                                 const struct line *line)
{
    (void)c;
    enum dialogue_end end = forward(s, line);
    if (end == DIALOGUE_GO_ON && s->reply.code / 100 == 3 && s->reply.code != REPLY_SEND_DATA)
        return distrust_backend(s, "answered DATA with a code that has no meaning there");
    if (end == DIALOGUE_GO_ON)
        end = pass_reply(s, &s->reply);
    if (end != DIALOGUE_GO_ON || s->reply.code != REPLY_SEND_DATA)
        return end;
    enum wire_status status = wire_flush(s->d->client, client_deadline(s));
    if (status != WIRE_OK)
        return lost_client(s, status);

    struct body b = {0};
    s->d->step = "passing the message";
    wire_expect_bulk(s->d->client);
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
        if (len > size)
            len = (size_t)size;
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
    const struct dialogue *d = s->d;
    if (d->policy->tls_level == TLS_LEVEL_ENCRYPT && !d->tls_active) {
        *code = 530;
        *enhanced = "5.7.0";
        *text = "Must issue a STARTTLS command first";
    } else if (d->tls_active && !s->greeted) {
        *code = 503;
        *enhanced = "5.5.1";
        *text = "Say EHLO first: TLS has begun anew";
    } else if (!s->told.chunking) {
        *code = 503;
        *enhanced = "5.5.1";
        *text = "CHUNKING was not offered";
    } else {
        return false;
    }
    return true;
}

static enum dialogue_end do_bdat(struct smtp *s, const struct smtp_command *c,
                                 const struct line *line)
{
    uint64_t size;
    bool last;
    int code;
    const char *enhanced, *text;
    struct body b = {0};

    if (!smtp_bdat_parse(c, &size, &last)) /* nobody knows how many octets follow */
        return refuse_and_close(s, 501, "5.5.4", "Syntax: BDAT count [LAST]");
    b.backend_gone = bdat_refused(s, &code, &enhanced, &text);
    bool refused = b.backend_gone;
    if (is_out_of_turn(s))
        return distrust_backend(s, "spoke out of turn");
    if (!refused) { /* a copy: the client's buffer moves from here on */
        b.why = put_line(s, line, wire_deadline(s->d->policy->busy_seconds));
        b.backend_gone = b.why != WIRE_OK;
    }
    s->d->step = "passing a chunk of the message";
    wire_expect_bulk(s->d->client);
    enum dialogue_end end = copy_chunk(s, &b, size);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (refused)
        return refuse(s, code, enhanced, text);
    flush_body(s, &b);
    if (b.backend_gone)
        return body_undelivered(s, &b);
    s->d->step = "reading the backend's reply to a chunk";
    if (last)
        return read_verdicts(s, false);
    end = read_reply(s, s->d->policy->busy_seconds);
    if (end == DIALOGUE_GO_ON && s->reply.code / 100 == 3)
        return distrust_backend(s, "asked for data after a chunk");
    return end == DIALOGUE_GO_ON ? pass_reply(s, &s->reply) : end;
}

/* ---- AUTH (RFC 4954) ---- */

static bool is_channel_bound(const struct smtp_command *c)
{
    size_t n = 0;
    while (n < c->args_len && c->args[n] != ' ' && c->args[n] != '\t')
        n++;
    return n >= 5 && strncasecmp(c->args + n - 5, "-PLUS", 5) == 0;
}

/* The client's answer to a 334, or a cancellation in its place if it is no line. */
static enum dialogue_end answer_challenge(struct smtp *s, bool *cancelled)
{
    struct line line;
    enum wire_status status =
        wire_getline(s->d->client, s->d->policy->max_command, client_deadline(s), &line);
    if (status == WIRE_OK && ends_clearly(s, &line))
        return forward(s, &line);
    if (status != WIRE_OK && status != WIRE_TOOLONG)
        return lost_client(s, status);
    *cancelled = true;
    if (status == WIRE_TOOLONG) {
        status = wire_skip_line(s->d->client, SKIP_MAX, client_deadline(s));
        if (status != WIRE_OK)
            return lost_client(s, status);
    }
    return ask(s, "*\r\n");
}

static enum dialogue_end do_auth(struct smtp *s, const struct smtp_command *c,
                                 const struct line *line)
{
    bool cancelled = false;
    if (auth_withheld(s))
        return refuse(s, 530, "5.7.0", "Must issue a STARTTLS command first");
    if (is_channel_bound(c))
        return refuse(s, 504, "5.5.4", "Mechanism is not available");
    enum dialogue_end end = forward(s, line);
    while (end == DIALOGUE_GO_ON && s->reply.code == REPLY_AUTH_CONTINUE && !cancelled) {
        end = pass_reply(s, &s->reply);
        if (end != DIALOGUE_GO_ON)
            return end;
        enum wire_status status = wire_flush(s->d->client, client_deadline(s));
        if (status != WIRE_OK)
            return lost_client(s, status);
        end = answer_challenge(s, &cancelled);
    }
    if (end != DIALOGUE_GO_ON)
        return end;
    if (cancelled) {
        if (s->reply.code == REPLY_CLOSING)
            return pass_reply(s, &s->reply);
        return s->reply.code / 100 == 5
                   ? refuse(s, 500, "5.5.6", "Authentication line is too long or has bare newlines")
                   : distrust_backend(s, "did not accept that AUTH was cancelled");
    }
    if (s->reply.code / 100 == 3)
        return distrust_backend(s, "answered AUTH with a code that has no meaning there");
    if (s->reply.code == REPLY_AUTH_DONE) {
        s->authenticated = true;
        s->decided = true;
    } else {
        s->useless++;
    }
    return pass_reply(s, &s->reply);
}

/* ---- the rest ---- */

static enum dialogue_end do_rset(struct smtp *s, const struct smtp_command *c,
                                 const struct line *line)
{
    (void)c;
    enum dialogue_end end = relay(s, line);
    if (end == DIALOGUE_GO_ON && is_success(&s->reply))
        forget_transaction(s);
    return end;
}

/* QUIT gets its 221 even from a backend that is gone: the client has all it wanted. */
static enum dialogue_end do_quit(struct smtp *s, const struct smtp_command *c,
                                 const struct line *line)
{
    struct line answer;
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    (void)c;
    enum reply_line last = REPLY_MORE;
    reply_clear(&s->reply);
    if (put_line(s, line, deadline) == WIRE_OK)
        (void)wire_flush(s->d->backend, deadline);
    while (last == REPLY_MORE && s->reply.len < s->d->policy->max_reply &&
           wire_getline(s->d->backend, WIRE_BUFFER, deadline, &answer) == WIRE_OK)
        last = reply_add_line(&s->reply, answer.data, answer.len);
    enum wire_status status = last == REPLY_LAST
                                  ? wire_put(s->d->client, s->reply.bytes, s->reply.len, deadline)
                                  : wire_printf(s->d->client, deadline, "221 Bye\r\n");
    if (status != WIRE_OK)
        because(s, "client %s", wire_status_text(status));
    return DIALOGUE_DONE; /* the session sends it, together with the end of the connection */
}

/* The backend trusts our address with these; nobody else may use that (never an open relay). */
static enum dialogue_end do_forbidden(struct smtp *s, const struct smtp_command *c,
                                      const struct line *line)
{
    (void)c;
    (void)line;
    return refuse(s, 550, "5.7.0", "Not permitted");
}

/* TURN and ATRN change roles, XEXCH50 carries octets that only Exchange can count,
 * X-ANONYMOUSTLS starts a TLS of its own: none can cross a proxy that stays in step. */
static enum dialogue_end do_unimplemented(struct smtp *s, const struct smtp_command *c,
                                          const struct line *line)
{
    (void)c;
    (void)line;
    return refuse(s, 502, "5.5.1", "Command not implemented");
}

static enum dialogue_end do_relay(struct smtp *s, const struct smtp_command *c,
                                  const struct line *line)
{
    (void)c;
    return relay(s, line);
}

enum {
    BEFORE_TLS = 1, /* allowed where TLS is needed and not yet there (RFC 3207 §4) */
    HELLO = 2,      /* needs a new EHLO after TLS */
    USELESS = 4,    /* brings no mail nearer */
    NOW = 8,        /* its reply is not held back in a pipelined group (RFC 2920 §3.2) */
    OWN_GATE = 16,  /* its handler refuses for itself */
};

static const struct verb {
    const char *name, *step;
    handler *handle;
    unsigned flags;
} verbs[] = {
    {"ATRN", "refusing ATRN", do_unimplemented, OWN_GATE},
    {"AUTH", "relaying AUTH", do_auth, HELLO | NOW},
    {"BDAT", "relaying BDAT", do_bdat, OWN_GATE},
    {"DATA", "relaying DATA", do_data, HELLO | NOW},
    {"EHLO", "relaying EHLO", do_ehlo, BEFORE_TLS | USELESS | NOW},
    {"EXPN", "relaying EXPN", do_relay, HELLO | USELESS | NOW},
    {"HELO", "relaying HELO", do_helo, BEFORE_TLS | USELESS | NOW},
    {"HELP", "relaying HELP", do_relay, BEFORE_TLS | USELESS | NOW},
    {"LHLO", "relaying LHLO", do_ehlo, BEFORE_TLS | USELESS | NOW},
    {"MAIL", "relaying MAIL", do_mail, HELLO},
    {"NOOP", "relaying NOOP", do_relay, BEFORE_TLS | USELESS | NOW},
    {"QUIT", "relaying QUIT", do_quit, BEFORE_TLS | NOW},
    {"RCPT", "relaying RCPT", do_rcpt, HELLO},
    {"RSET", "relaying RSET", do_rset, BEFORE_TLS | USELESS},
    {"STARTTLS", "preparing STARTTLS", do_starttls, BEFORE_TLS | NOW},
    {"TURN", "refusing TURN", do_unimplemented, OWN_GATE},
    {"VRFY", "relaying VRFY", do_relay, HELLO | USELESS | NOW},
    {"X-ANONYMOUSTLS", "refusing X-ANONYMOUSTLS", do_unimplemented, OWN_GATE},
    {"X-EXPS", "relaying X-EXPS", do_auth, HELLO | NOW},
    {"XCLIENT", "refusing XCLIENT", do_forbidden, OWN_GATE},
    {"XEXCH50", "refusing XEXCH50", do_unimplemented, OWN_GATE},
    {"XFORWARD", "refusing XFORWARD", do_forbidden, OWN_GATE},
    {NULL, "relaying a command", do_relay, HELLO | USELESS | NOW},
};

static const struct verb *find_verb(const char *name)
{
    const struct verb *v = verbs;
    while (v->name != NULL && strcmp(v->name, name) != 0)
        v++;
    return v;
}

static enum dialogue_end flush_client(struct smtp *s)
{
    enum wire_status status = wire_flush(s->d->client, client_deadline(s));
    return status == WIRE_OK ? DIALOGUE_GO_ON : lost_client(s, status);
}

/* A line that is no command: its reply is not held back either (RFC 2920 §3.2). */
static enum dialogue_end refuse_now(struct smtp *s, const char *text)
{
    enum dialogue_end end = refuse(s, 500, "5.5.2", text);
    return end == DIALOGUE_GO_ON ? flush_client(s) : end;
}

static enum dialogue_end handle(struct smtp *s, const struct line *line)
{
    struct dialogue *d = s->d;
    struct smtp_command c;
    if (!ends_clearly(s, line))
        return refuse_now(s, "Lines end with <CR><LF> and hold neither elsewhere");
    if (!smtp_command_parse(line->data, line->text_len, &c))
        return refuse_now(s, "Syntax error, command unrecognized");

    const struct verb *v = find_verb(c.verb);
    d->step = v->step;
    if (!(v->flags & (BEFORE_TLS | OWN_GATE)) && d->policy->tls_level == TLS_LEVEL_ENCRYPT &&
        !d->tls_active)
        return refuse(s, 530, "5.7.0", "Must issue a STARTTLS command first");
    if ((v->flags & HELLO) && d->tls_active && !s->greeted)
        return refuse(s, 503, "5.5.1", "Say EHLO first: TLS has begun anew");
    unsigned before = s->useless;
    enum dialogue_end end = v->handle(s, &c, line);
    if ((v->flags & USELESS) && s->useless == before)
        s->useless++;
    if (end != DIALOGUE_GO_ON || !(v->flags & NOW))
        return end;
    return flush_client(s);
}

static enum dialogue_end next_command(struct smtp *s)
{
    struct line line;
    int64_t deadline = client_deadline(s);
    s->d->step = "waiting for a command";
    enum dialogue_end end = wait_for_client(s, deadline);
    if (end != DIALOGUE_GO_ON)
        return end;
    enum wire_status status =
        wire_getline(s->d->client, s->d->policy->max_command, deadline, &line);
    if (status == WIRE_TOOLONG)
        end = skip_long_line(s);
    else if (status != WIRE_OK)
        return lost_client(s, status);
    else
        end = handle(s, &line);
    if (end == DIALOGUE_GO_ON && s->useless > s->d->policy->max_useless) {
        because(s, "client sent more than %u commands without a message",
                s->d->policy->max_useless);
        say_goodbye(s, "4.7.0", "Too many commands without a message");
        return DIALOGUE_REFUSED;
    }
    return end;
}

/* The backend's greeting, whatever it is: 220 of many lines, 554, 421. */
static enum dialogue_end greet(struct smtp *s)
{
    s->d->step = "reading the backend's greeting";
    enum dialogue_end end = read_reply(s, s->d->policy->busy_seconds);
    return end == DIALOGUE_GO_ON ? pass_reply(s, &s->reply) : end;
}

static enum dialogue_end serve(struct dialogue *d, bool lmtp)
{
    struct smtp s = {.d = d, .lmtp = lmtp, .decided = d->tls_active};
    enum dialogue_end end = greet(&s);
    while (end == DIALOGUE_GO_ON)
        end = next_command(&s);
    reply_finish(&s.reply);
    reply_finish(&s.edited);
    return end;
}

static enum dialogue_end smtp_serve(struct dialogue *d)
{
    return serve(d, false);
}

static enum dialogue_end lmtp_serve(struct dialogue *d)
{
    return serve(d, true);
}

static void sorry(struct wire *client, const char *hostname, const char *text, int64_t deadline)
{
    (void)wire_printf(client, deadline, "421 4.3.2 %.255s %s\r\n", hostname, text);
}

const struct protocol protocol_smtp = {
    .name = "smtp",
    .rfc = "RFC 3207",
    .port = 25,
    .tls_port = 465,
    .server_first = true,
    .alpn = "smtp esmtp",
    .serve = smtp_serve,
    .sorry = sorry,
};

const struct protocol protocol_lmtp = {
    .name = "lmtp",
    .rfc = "RFC 2033, RFC 3207",
    .port = 24,
    .tls_port = 0,
    .server_first = true,
    .alpn = "lmtp",
    .serve = lmtp_serve,
    .sorry = sorry,
};
