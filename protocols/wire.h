/* SPDX-License-Identifier: ISC
 *
 * Buffered bytes and lines over a transport, with a limit and a deadline on everything.
 *
 * A transport is anything that reads and writes without blocking: a descriptor, a TLS session.
 * When TLS starts, the transport is swapped under the wire and the dialogue goes on, unaware.
 * The wire alone waits: it polls, and it watches the clock and the cancel descriptor while it does.
 */
#ifndef PROTOCOLS_WIRE_H
#define PROTOCOLS_WIRE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a read of a wire can come back with. 0 is success, the rest are ends. */
enum wire_status {
    WIRE_OK = 0,
    WIRE_EOF,       /* the peer closed in an orderly way (TLS: after its close_notify) */
    WIRE_TRUNCATED, /* EOF in the middle of a line, or TLS without a close_notify */
    WIRE_TOOLONG,   /* a line reached the limit without its LF */
    WIRE_TIMEOUT,   /* the deadline passed */
    WIRE_CANCELLED, /* the cancel descriptor became readable: this process is to end */
    WIRE_IO,        /* reset, broken pipe, TLS failure */
};

/* What a transport's functions return instead of a count. */
enum {
    TRANSPORT_WANT_READ = -1,  /* try again when the descriptor is readable */
    TRANSPORT_WANT_WRITE = -2, /* try again when the descriptor is writable, with the same bytes */
    TRANSPORT_TRUNCATED = -3,  /* end of file that nobody announced */
    TRANSPORT_ERROR = -4,
};

struct transport {
    void *ctx; /* borrowed */
    int fd;    /* what poll(2) is asked about */
    /* Bytes read (> 0), 0 for an orderly end, or one of the values above. */
    ssize_t (*read)(void *ctx, void *buf, size_t len);
    /* Bytes taken (> 0), or one of the values above. Taken bytes may still wait for flush. */
    ssize_t (*write)(void *ctx, const void *buf, size_t len);
    /* 0 when nothing taken is left inside, or one of the values above. */
    int (*flush)(void *ctx);
    /* True when a read would find bytes that poll(2) does not know of. */
    bool (*pending)(void *ctx);
};

/* A deadline is absolute: CLOCK_MONOTONIC, milliseconds. WIRE_FOREVER never passes. */
#define WIRE_FOREVER INT64_MAX
int64_t wire_now(void);
int64_t wire_deadline(unsigned seconds);

enum {
    WIRE_BUFFER = 16 * 1024, /* bytes a wire can hold from the start */
    WIRE_BULK = 64 * 1024,   /* bytes it holds after wire_expect_bulk, and the most put() keeps */
};

/* Polls fds[0 .. n) and the cancel descriptor, for which the caller leaves room at fds[n] (-1:
 * none), until one is ready. WIRE_OK, WIRE_TIMEOUT, WIRE_CANCELLED, WIRE_IO. Signals do not end it.
 */
enum wire_status wire_poll(struct pollfd *fds, nfds_t n, int cancel_fd, int64_t deadline);

struct wire {
    struct transport transport;
    char *in; /* bytes in[start .. end) are received and not yet consumed */
    size_t in_size, start, end;
    char *out; /* bytes out[0 .. out_len) are to be sent */
    size_t out_size, out_len;
    int64_t out_since;       /* wire_now() of the oldest of them */
    uint64_t received, sent; /* bytes, in all, as this wire's user sees them */
    int cancel_fd;           /* -1: none */
    bool eager;              /* the last read was large: try to read before poll */
    bool fresh;              /* a look ahead has found bytes that no fill has told of */
    bool foreseen;           /* a look ahead has found `end_seen`, which the next read will give */
    ssize_t end_seen;
};

/* One received line. `data` borrows from the wire until its next call. */
struct line {
    const char *data; /* exactly as received, LF and all; may hold NUL */
    size_t len;       /* bytes with the line end */
    size_t text_len;  /* bytes without LF or CRLF */
    bool crlf;        /* ended by CRLF, as RFC 5321 §2.3.8 demands */
};

/* Makes `w` ready for use over `t` (copied). Reads no byte. Dies when memory is out. */
void wire_init(struct wire *w, const struct transport *t, int cancel_fd);

/* Frees the buffers; closes nothing. Accepts a zeroed struct. */
void wire_finish(struct wire *w);

/* Reads one line of at most `max` bytes with its line end (max <= WIRE_BUFFER).
 * WIRE_OK: `out` is set. WIRE_EOF only at a line start; WIRE_TRUNCATED within a line.
 * WIRE_TOOLONG: `max` bytes wait in the buffer and none is an LF; see wire_skip_line.
 * Lines are given as received (RFC 5321 §2.3.8): a bare LF ends a line, and `crlf` tells. */
enum wire_status wire_getline(struct wire *w, size_t max, int64_t deadline, struct line *out);

/* Throws bytes away up to and including the next LF, at most `max` of them (WIRE_TOOLONG). */
enum wire_status wire_skip_line(struct wire *w, size_t max, int64_t deadline);

/* True when a whole line waits in the buffer, so that wire_getline would not block. */
bool wire_has_line(const struct wire *w);

/* Waits for at least one more byte and reads what is there. WIRE_TOOLONG: the buffer is full. */
enum wire_status wire_fill(struct wire *w, int64_t deadline);

/* True when something was received that has not been consumed, or an end; does not wait. What TLS
 * says for itself (a session ticket) is not something. */
bool wire_readable(struct wire *w);

/* What is buffered, and taking `n` bytes of it. */
size_t wire_buffered(const struct wire *w, const char **data);
void wire_consume(struct wire *w, size_t n);

/* Grows the buffer to WIRE_BULK, for bodies. */
void wire_expect_bulk(struct wire *w);

/* Appends to what is to be sent; sends when more than WIRE_BULK would be held. */
enum wire_status wire_put(struct wire *w, const void *data, size_t len, int64_t deadline);

/* The same for text; the result may have at most 1023 bytes (an assertion). */
enum wire_status wire_printf(struct wire *w, int64_t deadline, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Gives everything that was put to the transport, which may keep it until a flush. */
enum wire_status wire_hand_over(struct wire *w, int64_t deadline);

/* Sends everything that was put, in as few writes as the transport allows. */
enum wire_status wire_flush(struct wire *w, int64_t deadline);

/* Wipes what is left in memory of what was sent; what waits to be sent stays. What the transport
 * keeps is its own. */
void wire_wipe_sent(struct wire *w);

/* Flushes both, then waits until either wire has something to read (bytes or an end).
 * WIRE_OK: at least one of *a_ready, *b_ready is true. */
enum wire_status wire_wait_either(struct wire *a, bool *a_ready, struct wire *b, bool *b_ready,
                                  int64_t deadline);

/* Replaces the transport; what is buffered in either direction is untouched. */
void wire_set_transport(struct wire *w, const struct transport *t);

/* "the peer closed the connection" and the like, for a log line. */
const char *wire_status_text(enum wire_status status);

#endif
