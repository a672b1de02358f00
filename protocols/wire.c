/* SPDX-License-Identifier: ISC */
#include "protocols/wire.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "protocols/memory.h"

enum {
    QUIET_MS = 1000, /* who has waited that long may wait much longer */
};

int64_t wire_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t wire_deadline(unsigned seconds)
{
    return wire_now() + (int64_t)seconds * 1000;
}

void wire_init(struct wire *w, const struct transport *t, int cancel_fd)
{
    *w = (struct wire){.transport = *t, .cancel_fd = cancel_fd};
    w->in_size = WIRE_BUFFER;
    w->in = memory_alloc(w->in_size);
}

void wire_finish(struct wire *w)
{
    if (w->out_len > 0) /* it may be a password that nobody has taken */
        explicit_bzero(w->out, w->out_len);
    free(w->in);
    free(w->out);
    *w = (struct wire){.cancel_fd = -1};
}

void wire_set_transport(struct wire *w, const struct transport *t)
{
    w->transport = *t;
    w->fresh = w->foreseen = false;
}

/* Milliseconds for poll(2): rounded so that a wait never ends before the deadline. */
static int poll_timeout(int64_t deadline)
{
    if (deadline == WIRE_FOREVER)
        return -1;
    int64_t left = deadline - wire_now();
    if (left <= 0)
        return 0;
    return left > 3600000 ? 3600000 : (int)left;
}

enum wire_status wire_poll(struct pollfd *fds, nfds_t n, int cancel_fd, int64_t deadline)
{
    bool quiet = false;
    fds[n] = (struct pollfd){.fd = cancel_fd, .events = POLLIN};
    for (;;) {
        int timeout = poll_timeout(deadline);
        bool cut = !quiet && (timeout < 0 || timeout > QUIET_MS);
        int ready = poll(fds, n + 1, cut ? QUIET_MS : timeout);
        if (ready < 0 && errno != EINTR)
            return WIRE_IO;
        if (ready > 0 && fds[n].revents != 0)
            return WIRE_CANCELLED;
        if (ready > 0)
            return WIRE_OK;
        if (ready == 0 && cut) {
            quiet = true;
            memory_give_back();
        } else if (deadline != WIRE_FOREVER && wire_now() >= deadline) {
            return WIRE_TIMEOUT;
        }
    }
}

static enum wire_status wait_one(struct wire *w, short events, int64_t deadline)
{
    struct pollfd fds[2] = {{.fd = w->transport.fd, .events = events}};
    return wire_poll(fds, 1, w->cancel_fd, deadline);
}

/* Turns what a transport said into what the wire's user hears; waits where that is the answer. */
static enum wire_status after(struct wire *w, ssize_t result, int64_t deadline)
{
    switch (result) {
    case 0:
        return WIRE_EOF;
    case TRANSPORT_WANT_READ:
        return wait_one(w, POLLIN, deadline);
    case TRANSPORT_WANT_WRITE:
        return wait_one(w, POLLOUT, deadline);
    case TRANSPORT_TRUNCATED:
        return WIRE_TRUNCATED;
    default:
        return WIRE_IO;
    }
}

static void make_room(struct wire *w)
{
    if (w->start == 0)
        return;
    memmove(w->in, w->in + w->start, w->end - w->start);
    w->end -= w->start;
    w->start = 0;
}

static ssize_t read_more(struct wire *w)
{
    return w->transport.read(w->transport.ctx, w->in + w->end, w->in_size - w->end);
}

/* A TLS transport hands out one record at a time. Taking all that it has already decoded or
 * holds undecoded makes one large write to the other side out of four small ones. */
static void take_pending(struct wire *w)
{
    while (w->end < w->in_size && w->transport.pending(w->transport.ctx)) {
        ssize_t n = read_more(w);
        if (n <= 0) /* an end or a fault will be there again at the next read */
            return;
        w->end += (size_t)n;
        w->received += (uint64_t)n;
    }
}

enum wire_status wire_fill(struct wire *w, int64_t deadline)
{
    bool found_before = w->fresh && w->start < w->end;
    w->fresh = false;
    if (found_before)
        return WIRE_OK;
    if (w->start == w->end)
        w->start = w->end = 0;
    else if (w->end == w->in_size)
        make_room(w);
    if (w->end == w->in_size)
        return WIRE_TOOLONG;

    if (!w->eager && !w->foreseen && !w->transport.pending(w->transport.ctx)) {
        enum wire_status s = wait_one(w, POLLIN, deadline);
        if (s != WIRE_OK)
            return s;
    }
    for (;;) {
        ssize_t n = w->foreseen ? w->end_seen : read_more(w);
        w->foreseen = false;
        if (n > 0) {
            w->end += (size_t)n;
            w->received += (uint64_t)n;
            take_pending(w);
            w->eager = w->end - w->start >= WIRE_BUFFER / 2;
            return WIRE_OK;
        }
        w->eager = false;
        if (n == TRANSPORT_WANT_READ && w->transport.flush(w->transport.ctx) < 0)
            n = TRANSPORT_WANT_WRITE; /* a TLS answer of our own must leave before theirs comes */
        enum wire_status s = after(w, n, deadline);
        if (s != WIRE_OK)
            return s;
    }
}

bool wire_has_line(const struct wire *w)
{
    return w->end > w->start && memchr(w->in + w->start, '\n', w->end - w->start) != NULL;
}

static void cut_line(struct wire *w, size_t len, struct line *out)
{
    const char *data = w->in + w->start;
    bool crlf = len >= 2 && data[len - 2] == '\r';
    *out = (struct line){.data = data, .len = len, .text_len = len - (crlf ? 2 : 1), .crlf = crlf};
    w->start += len;
}

enum wire_status wire_getline(struct wire *w, size_t max, int64_t deadline, struct line *out)
{
    size_t seen = 0;
    assert(max <= w->in_size);
    for (;;) {
        size_t have = w->end - w->start;
        size_t look = have < max ? have : max;
        const char *lf = look > seen ? memchr(w->in + w->start + seen, '\n', look - seen) : NULL;
        if (lf != NULL) {
            cut_line(w, (size_t)(lf - (w->in + w->start)) + 1, out);
            return WIRE_OK;
        }
        if (have >= max)
            return WIRE_TOOLONG;
        seen = have;
        if (w->in_size - w->start < max)
            make_room(w);
        enum wire_status s = wire_fill(w, deadline);
        if (s == WIRE_EOF && have > 0)
            return WIRE_TRUNCATED;
        if (s != WIRE_OK)
            return s;
    }
}

enum wire_status wire_skip_line(struct wire *w, size_t max, int64_t deadline)
{
    for (;;) {
        size_t have = w->end - w->start;
        const char *lf = have > 0 ? memchr(w->in + w->start, '\n', have) : NULL;
        if (lf != NULL) {
            w->start += (size_t)(lf - (w->in + w->start)) + 1;
            return WIRE_OK;
        }
        if (have >= max)
            return WIRE_TOOLONG;
        max -= have;
        w->start = w->end = 0;
        enum wire_status s = wire_fill(w, deadline);
        if (s != WIRE_OK)
            return s;
    }
}

size_t wire_buffered(const struct wire *w, const char **data)
{
    if (data != NULL)
        *data = w->in + w->start;
    return w->end - w->start;
}

void wire_consume(struct wire *w, size_t n)
{
    assert(n <= w->end - w->start);
    w->start += n;
}

void wire_expect_bulk(struct wire *w)
{
    if (w->in_size >= WIRE_BULK)
        return;
    w->in = memory_resize(w->in, WIRE_BULK);
    w->in_size = WIRE_BULK;
}

/* Sends `len` bytes now. */
static enum wire_status send_all(struct wire *w, const char *data, size_t len, int64_t deadline)
{
    while (len > 0) {
        ssize_t n = w->transport.write(w->transport.ctx, data, len);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
            w->sent += (uint64_t)n;
            continue;
        }
        enum wire_status s = after(w, n, deadline);
        if (s != WIRE_OK)
            return s;
    }
    return WIRE_OK;
}

enum wire_status wire_hand_over(struct wire *w, int64_t deadline)
{
    size_t len = w->out_len;
    w->out_len = 0;
    return send_all(w, w->out, len, deadline);
}

enum wire_status wire_flush(struct wire *w, int64_t deadline)
{
    enum wire_status handed = wire_hand_over(w, deadline);
    if (handed != WIRE_OK)
        return handed;
    for (;;) {
        int r = w->transport.flush(w->transport.ctx);
        if (r == 0)
            return WIRE_OK;
        enum wire_status s = after(w, r, deadline);
        if (s != WIRE_OK)
            return s;
    }
}

void wire_wipe_sent(struct wire *w)
{
    if (w->out_size > w->out_len)
        explicit_bzero(w->out + w->out_len, w->out_size - w->out_len);
}

enum wire_status wire_put(struct wire *w, const void *data, size_t len, int64_t deadline)
{
    /* Large blocks go straight through: copying them here would buy nothing. */
    if (w->out_len == 0 && len >= WIRE_BUFFER)
        return send_all(w, data, len, deadline);
    if (w->out_len + len > WIRE_BULK) {
        enum wire_status s = wire_flush(w, deadline);
        if (s != WIRE_OK)
            return s;
        if (len >= WIRE_BUFFER)
            return send_all(w, data, len, deadline);
    }
    if (w->out_len + len > w->out_size) {
        size_t size = w->out_size == 0 ? 1024 : w->out_size;
        while (size < w->out_len + len)
            size *= 2;
        w->out = memory_resize(w->out, size);
        w->out_size = size;
    }
    if (w->out_len == 0)
        w->out_since = wire_now();
    if (len > 0)
        memcpy(w->out + w->out_len, data, len);
    w->out_len += len;
    return WIRE_OK;
}

enum wire_status wire_printf(struct wire *w, int64_t deadline, const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    assert(n >= 0 && (size_t)n < sizeof text);
    return wire_put(w, text, (size_t)n, deadline);
}

/* Under TLS a descriptor can be readable for what is no reader's business: the session tickets
 * that servers send after the handshake, an update of keys. Who took that for a reply would wait
 * for one. So what is there is read; bytes stay in the buffer, and an end is kept for the next
 * read. */
static bool look_ahead(struct wire *w)
{
    if (w->start == w->end)
        w->start = w->end = 0;
    ssize_t n = read_more(w);
    if (n > 0) {
        w->end += (size_t)n;
        w->received += (uint64_t)n;
        w->fresh = true;
        take_pending(w);
        return true;
    }
    if (n == TRANSPORT_WANT_READ || n == TRANSPORT_WANT_WRITE) {
        (void)w->transport.flush(w->transport.ctx); /* an answer that TLS may have given */
        return false;
    }
    w->end_seen = n;
    w->foreseen = true;
    return true;
}

/* `polled`: the descriptor is readable. */
static bool holds_something(struct wire *w, bool polled)
{
    if (w->end > w->start || w->foreseen)
        return true;
    return (polled || w->transport.pending(w->transport.ctx)) && look_ahead(w);
}

bool wire_readable(struct wire *w)
{
    struct pollfd fd = {.fd = w->transport.fd, .events = POLLIN};
    return holds_something(w, false) || (poll(&fd, 1, 0) > 0 && holds_something(w, true));
}

enum wire_status wire_wait_either(struct wire *a, bool *a_ready, struct wire *b, bool *b_ready,
                                  int64_t deadline)
{
    enum wire_status s = wire_flush(a, deadline);
    if (s == WIRE_OK)
        s = wire_flush(b, deadline);
    if (s != WIRE_OK)
        return s;

    struct pollfd fds[3] = {{.fd = a->transport.fd, .events = POLLIN},
                            {.fd = b->transport.fd, .events = POLLIN}};
    for (;;) {
        *a_ready = holds_something(a, fds[0].revents != 0);
        *b_ready = holds_something(b, fds[1].revents != 0);
        if (*a_ready || *b_ready)
            return WIRE_OK;
        s = wire_poll(fds, 2, a->cancel_fd, deadline);
        if (s != WIRE_OK)
            return s;
    }
}

const char *wire_status_text(enum wire_status status)
{
    switch (status) {
    case WIRE_OK:
        return "no error";
    case WIRE_EOF:
        return "closed the connection";
    case WIRE_TRUNCATED:
        return "closed the connection without notice";
    case WIRE_TOOLONG:
        return "sent too long a line";
    case WIRE_TIMEOUT:
        return "took too long";
    case WIRE_CANCELLED:
        return "was cut off because ehlock is stopping";
    case WIRE_IO:
        return "lost the connection";
    }
    return "?";
}
