/* SPDX-License-Identifier: ISC */
#include "proxy/pump.h"

#include <poll.h>

enum {
    BURST = 8, /* blocks moved one way before the other way is looked at */
};

/* One way. Bytes wait in the buffer of the source's wire. */
struct flow {
    struct wire *source, *sink;
    bool ended;       /* the source has said its end */
    bool told;        /* and the sink has been told */
    bool want_write;  /* the sink took no more */
    bool sink_failed; /* so it is not the source that `why` speaks of */
    enum wire_status why;
};

/* True when something moved. `why` is set at an end. */
static bool read_some(struct flow *f)
{
    struct wire *w = f->source;
    if (w->start == w->end)
        w->start = w->end = 0;
    if (f->ended || w->end == w->in_size)
        return false;
    ssize_t n = w->transport.read(w->transport.ctx, w->in + w->end, w->in_size - w->end);
    if (n > 0) {
        w->end += (size_t)n;
        w->received += (uint64_t)n;
        return true;
    }
    if (n == TRANSPORT_WANT_READ || n == TRANSPORT_WANT_WRITE)
        return false;
    f->ended = true;
    f->why = n == 0 ? WIRE_EOF : n == TRANSPORT_TRUNCATED ? WIRE_TRUNCATED : WIRE_IO;
    return true;
}

static void lose_sink(struct flow *f)
{
    f->why = WIRE_IO;
    f->ended = f->told = f->sink_failed = true;
    f->want_write = false;
    f->source->start = f->source->end; /* there is nowhere to put them */
}

static bool write_some(struct flow *f)
{
    struct wire *from = f->source, *to = f->sink;
    f->want_write = false;
    if (from->start == from->end)
        return false;
    ssize_t n =
        to->transport.write(to->transport.ctx, from->in + from->start, from->end - from->start);
    if (n > 0) {
        from->start += (size_t)n;
        to->sent += (uint64_t)n;
        return true;
    }
    f->want_write = n == TRANSPORT_WANT_WRITE;
    if (n == TRANSPORT_ERROR || n == TRANSPORT_TRUNCATED)
        lose_sink(f);
    return false;
}

/* Moves until nothing moves any more, but not for ever. A buffer is filled, as far as the source
 * has bytes at hand, before it is written: TLS hands out one record at a time. */
static bool pump_direction(struct flow *f)
{
    bool moved = false;
    for (int i = 0; i < BURST; i++) {
        bool any = false;
        while (read_some(f) && !f->ended)
            any = true;
        while (write_some(f))
            any = true;
        if (!any)
            break;
        moved = true;
    }
    int flushed = f->sink->transport.flush(f->sink->transport.ctx);
    if (flushed == TRANSPORT_WANT_WRITE)
        f->want_write = true;
    else if (flushed != 0 && !f->sink_failed)
        lose_sink(f);
    return moved;
}

/* The sink has all of it: TLS keeps what the socket has not taken. */
static bool drained(const struct flow *f)
{
    return f->ended && f->source->start == f->source->end && !f->want_write;
}

static short events_of(const struct flow *in, const struct flow *out)
{
    bool room = in->source->end < in->source->in_size;
    return (short)((!in->ended && room && !in->want_write ? POLLIN : 0) |
                   (out->want_write ? POLLOUT : 0));
}

enum pump_end pump_run(const struct pump *p)
{
    struct flow up = {.source = p->client, .sink = p->backend};
    struct flow down = {.source = p->backend, .sink = p->client};
    int64_t deadline = wire_deadline(p->idle_seconds);

    wire_expect_bulk(p->client);
    wire_expect_bulk(p->backend);
    for (;;) {
        bool moved = pump_direction(&up);
        moved = pump_direction(&down) || moved;

        if (drained(&up) && !up.told) {
            up.told = true;
            p->end_backend(p->ctx);
        }
        if (drained(&down) && !down.told) {
            down.told = true;
            p->end_client(p->ctx);
        }
        if (up.why == WIRE_IO)
            return up.sink_failed ? PUMP_LOST_BACKEND : PUMP_LOST_CLIENT;
        if (down.why == WIRE_IO)
            return down.sink_failed ? PUMP_LOST_CLIENT : PUMP_LOST_BACKEND;
        if (drained(&down))
            return up.why == WIRE_TRUNCATED     ? PUMP_TRUNCATED
                   : down.why == WIRE_TRUNCATED ? PUMP_BACKEND_TRUNCATED
                                                : PUMP_DONE;
        if (moved) {
            deadline = wire_deadline(p->idle_seconds);
            continue;
        }

        struct pollfd fds[3] = {
            {.fd = p->client->transport.fd, .events = events_of(&up, &down)},
            {.fd = p->backend->transport.fd, .events = events_of(&down, &up)},
        };
        /* a side that has ended would wake us for ever with POLLHUP */
        for (int i = 0; i < 2; i++)
            if (fds[i].events == 0)
                fds[i].fd = -1;
        switch (wire_poll(fds, 2, p->client->cancel_fd, deadline)) {
        case WIRE_OK:
            break;
        case WIRE_TIMEOUT:
            return up.why == WIRE_TRUNCATED ? PUMP_TRUNCATED : PUMP_TIMEOUT;
        case WIRE_CANCELLED:
            return PUMP_CANCELLED;
        default:
            return PUMP_LOST_BACKEND;
        }
    }
}
