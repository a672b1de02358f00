/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocols/wire.h"
#include "proxy/transport.h"

/* A wire over one end of a socket pair; the test is the peer at the other. */
struct pair {
    struct wire wire;
    int own_fd, peer_fd, cancel_fd;
};

static int set_up(void **state)
{
    struct pair *p = calloc(1, sizeof *p);
    int fds[2];
    if (p == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return -1;
    p->own_fd = fds[0];
    p->peer_fd = fds[1];
    p->cancel_fd = eventfd(0, EFD_CLOEXEC);
    if (p->cancel_fd < 0 || fcntl(p->own_fd, F_SETFL, O_NONBLOCK) != 0)
        return -1;
    struct transport t = transport_of_fd(&p->own_fd);
    wire_init(&p->wire, &t, p->cancel_fd);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *p = *state;
    wire_finish(&p->wire);
    close(p->own_fd);
    close(p->cancel_fd);
    if (p->peer_fd >= 0)
        close(p->peer_fd);
    free(p);
    return 0;
}

static void peer_says(struct pair *p, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(p->peer_fd, data, len);
        assert_true(n > 0);
        data += n;
        len -= (size_t)n;
    }
}

static void peer_closes(struct pair *p)
{
    close(p->peer_fd);
    p->peer_fd = -1;
}

static int64_t soon(void)
{
    return wire_now() + 30;
}

static int64_t later(void)
{
    return wire_deadline(20); /* reached only by a test that fails */
}

static void expect_line(struct pair *p, size_t max, const char *text, size_t len, bool crlf)
{
    struct line line;
    assert_int_equal(wire_getline(&p->wire, max, later(), &line), WIRE_OK);
    assert_bytes(line.data, line.len, text, len);
    assert_int_equal(line.crlf, crlf);
    assert_int_equal(line.text_len, len - (crlf ? 2 : 1));
}

/* ---- lines ---- */

static void lines_are_given_as_received(void **state)
{
    struct pair *p = *state;
    peer_says(p, "one\r\ntwo\nth\0ree\r\n\n\r\n\r\r\nx", 24);
    assert_false(wire_has_line(&p->wire));
    expect_line(p, 100, "one\r\n", 5, true);
    assert_true(wire_has_line(&p->wire));
    expect_line(p, 100, "two\n", 4, false);
    expect_line(p, 100, "th\0ree\r\n", 8, true);
    expect_line(p, 100, "\n", 1, false);
    expect_line(p, 100, "\r\n", 2, true);
    expect_line(p, 100, "\r\r\n", 3, true);
    assert_false(wire_has_line(&p->wire));
    assert_int_equal(wire_buffered(&p->wire, NULL), 1);
    assert_int_equal(p->wire.received, 24);
}

static void line_of_exactly_the_limit_is_taken(void **state)
{
    struct pair *p = *state;
    peer_says(p, "12345678\r\n", 10);
    expect_line(p, 10, "12345678\r\n", 10, true);
}

static void line_of_one_over_the_limit_is_too_long(void **state)
{
    struct pair *p = *state;
    struct line line;
    peer_says(p, "123456789\r\nnext\r\n", 17);
    assert_int_equal(wire_getline(&p->wire, 10, later(), &line), WIRE_TOOLONG);
    assert_int_equal(wire_skip_line(&p->wire, 100, later()), WIRE_OK);
    expect_line(p, 10, "next\r\n", 6, true);
}

static void limit_is_told_before_the_line_ends(void **state)
{
    struct pair *p = *state;
    struct line line;
    peer_says(p, "1234567890", 10); /* no LF among as many bytes as a line may have */
    assert_int_equal(wire_getline(&p->wire, 10, later(), &line), WIRE_TOOLONG);
}

static void one_byte_less_than_the_limit_waits(void **state)
{
    struct pair *p = *state;
    struct line line;
    peer_says(p, "123456789", 9);
    assert_int_equal(wire_getline(&p->wire, 10, soon(), &line), WIRE_TIMEOUT);
    peer_says(p, "\n", 1); /* nothing was lost */
    expect_line(p, 10, "123456789\n", 10, false);
}

static void largest_line_fits_the_buffer_wherever_it_begins(void **state)
{
    struct pair *p = *state;
    char *big = malloc(WIRE_BUFFER);
    memset(big, 'x', WIRE_BUFFER);
    big[WIRE_BUFFER - 2] = '\r';
    big[WIRE_BUFFER - 1] = '\n';
    peer_says(p, "short\r\n", 7);
    peer_says(p, big, WIRE_BUFFER);
    peer_says(p, big + 1, WIRE_BUFFER - 1);
    expect_line(p, WIRE_BUFFER, "short\r\n", 7, true);
    expect_line(p, WIRE_BUFFER, big, WIRE_BUFFER, true);
    expect_line(p, WIRE_BUFFER, big + 1, WIRE_BUFFER - 1, true);
    free(big);
}

static void line_of_one_over_the_buffer_is_too_long(void **state)
{
    struct pair *p = *state;
    struct line line;
    char *big = malloc(WIRE_BUFFER + 1);
    memset(big, 'x', WIRE_BUFFER);
    big[WIRE_BUFFER] = '\n';
    peer_says(p, big, WIRE_BUFFER + 1);
    assert_int_equal(wire_getline(&p->wire, WIRE_BUFFER, later(), &line), WIRE_TOOLONG);
    free(big);
}

/* The bytes come one at a time, each asked for with a deadline that has passed. */
static void byte_by_byte(void **state)
{
    struct pair *p = *state;
    static const char text[] = "EHLO client.example\r\n";
    struct line line;
    for (size_t i = 0; i + 2 < sizeof text; i++) {
        peer_says(p, text + i, 1);
        assert_int_equal(wire_getline(&p->wire, 100, wire_now(), &line), WIRE_TIMEOUT);
        assert_int_equal(wire_buffered(&p->wire, NULL), i + 1);
    }
    peer_says(p, "\n", 1);
    expect_line(p, 100, text, sizeof text - 1, true);
}

/* ---- ends ---- */

static void end_at_a_line_start_is_an_end(void **state)
{
    struct pair *p = *state;
    struct line line;
    peer_says(p, "a\r\n", 3);
    peer_closes(p);
    expect_line(p, 100, "a\r\n", 3, true);
    assert_int_equal(wire_getline(&p->wire, 100, later(), &line), WIRE_EOF);
    assert_int_equal(wire_getline(&p->wire, 100, later(), &line), WIRE_EOF);
}

static void end_within_a_line_is_a_truncation(void **state)
{
    struct pair *p = *state;
    struct line line;
    peer_says(p, "a\r\nb", 4);
    peer_closes(p);
    expect_line(p, 100, "a\r\n", 3, true);
    assert_int_equal(wire_getline(&p->wire, 100, later(), &line), WIRE_TRUNCATED);
}

static void deadline_is_kept(void **state)
{
    struct pair *p = *state;
    struct line line;
    int64_t before = wire_now();
    assert_int_equal(wire_getline(&p->wire, 100, before + 50, &line), WIRE_TIMEOUT);
    assert_true(wire_now() >= before + 50);
    assert_int_equal(wire_fill(&p->wire, wire_now() - 1000), WIRE_TIMEOUT);
}

static void cancel_descriptor_ends_the_wait(void **state)
{
    struct pair *p = *state;
    struct line line;
    uint64_t one = 1;
    assert_int_equal(write(p->cancel_fd, &one, sizeof one), sizeof one);
    assert_int_equal(wire_getline(&p->wire, 100, later(), &line), WIRE_CANCELLED);
    peer_says(p, "a\r\n", 3); /* it counts for more than bytes */
    assert_int_equal(wire_getline(&p->wire, 100, WIRE_FOREVER, &line), WIRE_CANCELLED);
}

static void reset_by_the_peer_is_an_error(void **state)
{
    struct pair *p = *state;
    peer_closes(p);
    assert_int_equal(wire_put(&p->wire, "x", 1, later()), WIRE_OK);
    assert_int_equal(wire_flush(&p->wire, later()), WIRE_IO);
    assert_int_equal(p->wire.out_len, 0);
}

/* ---- skipping ---- */

static void skipping_ends_behind_the_line(void **state)
{
    struct pair *p = *state;
    char big[3000];
    memset(big, 'x', sizeof big);
    peer_says(p, big, sizeof big);
    peer_says(p, "\r\nnext\r\n", 8);
    assert_int_equal(wire_skip_line(&p->wire, 100000, later()), WIRE_OK);
    expect_line(p, 100, "next\r\n", 6, true);
}

static void skipping_has_a_limit(void **state)
{
    struct pair *p = *state;
    char big[1000];
    memset(big, 'x', sizeof big);
    peer_says(p, big, sizeof big);
    assert_int_equal(wire_skip_line(&p->wire, 1000, later()), WIRE_TOOLONG);
}

static void skipping_one_below_the_limit_waits(void **state)
{
    struct pair *p = *state;
    char big[999];
    memset(big, 'x', sizeof big);
    peer_says(p, big, sizeof big);
    assert_int_equal(wire_skip_line(&p->wire, 1000, soon()), WIRE_TIMEOUT);
}

static void skipping_more_than_the_buffer(void **state)
{
    struct pair *p = *state;
    enum { SIZE = 5 * WIRE_BUFFER };
    char *big = malloc(SIZE);
    memset(big, 'x', SIZE);
    big[SIZE - 1] = '\n';
    pid_t pid = fork();
    if (pid == 0) {
        peer_says(p, big, SIZE);
        peer_says(p, "next\n", 5);
        _exit(0);
    }
    assert_int_equal(wire_skip_line(&p->wire, SIZE, later()), WIRE_OK);
    expect_line(p, 100, "next\n", 5, false);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    free(big);
}

/* ---- blocks ---- */

static void fill_and_consume(void **state)
{
    struct pair *p = *state;
    const char *data;
    peer_says(p, "abcdef", 6);
    assert_int_equal(wire_fill(&p->wire, later()), WIRE_OK);
    assert_int_equal(wire_buffered(&p->wire, &data), 6);
    assert_memory_equal(data, "abcdef", 6);
    wire_consume(&p->wire, 2);
    peer_says(p, "gh", 2);
    assert_int_equal(wire_fill(&p->wire, later()), WIRE_OK);
    assert_int_equal(wire_buffered(&p->wire, &data), 6);
    assert_memory_equal(data, "cdefgh", 6);
    wire_consume(&p->wire, 6);
    peer_closes(p);
    assert_int_equal(wire_fill(&p->wire, later()), WIRE_EOF);
}

static void full_buffer_is_told(void **state)
{
    struct pair *p = *state;
    char *big = calloc(1, WIRE_BUFFER);
    peer_says(p, big, WIRE_BUFFER);
    while (wire_buffered(&p->wire, NULL) < WIRE_BUFFER)
        assert_int_equal(wire_fill(&p->wire, later()), WIRE_OK);
    assert_int_equal(wire_fill(&p->wire, later()), WIRE_TOOLONG);
    wire_consume(&p->wire, 1); /* room at the front is used */
    peer_says(p, "x", 1);
    assert_int_equal(wire_fill(&p->wire, later()), WIRE_OK);
    assert_int_equal(wire_buffered(&p->wire, NULL), WIRE_BUFFER);
    free(big);
}

static void expecting_bulk_keeps_what_is_there(void **state)
{
    struct pair *p = *state;
    const char *data;
    peer_says(p, "abc\r\nbody", 9);
    expect_line(p, 100, "abc\r\n", 5, true);
    wire_expect_bulk(&p->wire);
    wire_expect_bulk(&p->wire);
    assert_int_equal(wire_buffered(&p->wire, &data), 4);
    assert_memory_equal(data, "body", 4);
    assert_int_equal(p->wire.in_size, WIRE_BULK);
}

/* Megabytes through a wire, taken in whatever pieces come, are what was sent. */
static void large_blocks_arrive_unchanged(void **state)
{
    struct pair *p = *state;
    enum { SIZE = 3 * 1024 * 1024 };
    unsigned char *big = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        big[i] = (unsigned char)(i * 2654435761u >> 13);
    pid_t pid = fork();
    if (pid == 0) {
        peer_says(p, (char *)big, SIZE);
        _exit(0);
    }
    peer_closes(p); /* ours; the child has its own */
    wire_expect_bulk(&p->wire);
    size_t at = 0;
    enum wire_status s;
    while ((s = wire_fill(&p->wire, later())) == WIRE_OK) {
        const char *data;
        size_t n = wire_buffered(&p->wire, &data);
        size_t keep = n > 2 ? 2 : 0; /* as the search for the end of data does */
        assert_true(at + n <= SIZE);
        assert_memory_equal(data, big + at, n - keep);
        wire_consume(&p->wire, n - keep);
        at += n - keep;
    }
    assert_int_equal(s, WIRE_EOF);
    assert_int_equal(at + wire_buffered(&p->wire, NULL), SIZE);
    assert_true(p->wire.received == SIZE);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    free(big);
}

/* ---- writing ---- */

static void expect_peer_hears(struct pair *p, const char *want, size_t len)
{
    char got[256];
    size_t n = 0;
    assert_true(len <= sizeof got);
    while (n < len) {
        ssize_t r = read(p->peer_fd, got + n, len - n);
        assert_true(r > 0);
        n += (size_t)r;
    }
    assert_bytes(got, n, want, len);
}

static void nothing_leaves_before_flush(void **state)
{
    struct pair *p = *state;
    char c;
    assert_int_equal(wire_put(&p->wire, "220 hello\r\n", 11, later()), WIRE_OK);
    assert_int_equal(wire_printf(&p->wire, later(), "%d %s\r\n", 250, "ok"), WIRE_OK);
    assert_int_equal(wire_put(&p->wire, NULL, 0, later()), WIRE_OK);
    assert_int_equal(recv(p->peer_fd, &c, 1, MSG_DONTWAIT), -1);
    assert_int_equal(wire_flush(&p->wire, later()), WIRE_OK);
    expect_peer_hears(p, "220 hello\r\n250 ok\r\n", 19);
    assert_true(p->wire.sent == 19);
    assert_int_equal(wire_flush(&p->wire, later()), WIRE_OK);
    assert_int_equal(recv(p->peer_fd, &c, 1, MSG_DONTWAIT), -1);
}

/* Nothing in between, and what waits still arrives. */
static void what_was_sent_can_be_wiped(void **state)
{
    struct pair *p = *state;
    assert_int_equal(wire_put(&p->wire, "AUTH secret\r\n", 13, later()), WIRE_OK);
    assert_int_equal(wire_flush(&p->wire, later()), WIRE_OK);
    expect_peer_hears(p, "AUTH secret\r\n", 13);
    assert_int_equal(wire_put(&p->wire, "QU", 2, later()), WIRE_OK);
    wire_wipe_sent(&p->wire);
    assert_null(memmem(p->wire.out, p->wire.out_size, "TH secret", 9));
    assert_int_equal(p->wire.out[p->wire.out_size - 1], 0);
    assert_int_equal(wire_put(&p->wire, "IT\r\n", 4, later()), WIRE_OK);
    assert_int_equal(wire_flush(&p->wire, later()), WIRE_OK);
    expect_peer_hears(p, "QUIT\r\n", 6);
}

/* Nothing has ever been put. */
static void wiping_an_untouched_wire_does_nothing(void **state)
{
    struct pair *p = *state;
    wire_wipe_sent(&p->wire);
    assert_null(p->wire.out);
}

static void printf_takes_1023_bytes(void **state)
{
    struct pair *p = *state;
    char text[1024];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(wire_printf(&p->wire, later(), "%s", text), WIRE_OK);
    assert_int_equal(p->wire.out_len, 1023);
}

static void deadline_holds_for_a_peer_that_does_not_read(void **state)
{
    struct pair *p = *state;
    enum { SIZE = 4 * 1024 * 1024 };
    char *big = calloc(1, SIZE);
    assert_int_equal(wire_put(&p->wire, big, SIZE, soon()), WIRE_TIMEOUT);
    uint64_t one = 1;
    assert_int_equal(write(p->cancel_fd, &one, sizeof one), sizeof one);
    assert_int_equal(wire_put(&p->wire, big, SIZE, later()), WIRE_CANCELLED);
    free(big);
}

static size_t read_all(int fd)
{
    char buffer[8192];
    size_t sum = 0;
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < n; i++)
            sum = sum * 31 + (unsigned char)buffer[i];
    return sum;
}

/* Small and large pieces in any mixture keep their order. */
static void put_keeps_the_order(void **state)
{
    struct pair *p = *state;
    static const size_t sizes[] = {1,          100, WIRE_BUFFER - 1, WIRE_BUFFER, 5,
                                   WIRE_BULK,  7,   WIRE_BULK + 1,   WIRE_BUFFER, WIRE_BUFFER - 1,
                                   40 * 1024u, 3};
    size_t want = 0, got;
    int report[2];
    assert_int_equal(pipe(report), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(p->own_fd);
        got = read_all(p->peer_fd);
        _exit(write(report[1], &got, sizeof got) == sizeof got ? 0 : 1);
    }
    unsigned char next = 0;
    char *piece = malloc(WIRE_BULK + 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t n = 0; n < sizes[i]; n++) {
            next = (unsigned char)(next * 5 + 1);
            piece[n] = (char)next;
            want = want * 31 + next;
        }
        assert_int_equal(wire_put(&p->wire, piece, sizes[i], later()), WIRE_OK);
        assert_true(p->wire.out_len <= WIRE_BULK);
    }
    assert_int_equal(wire_flush(&p->wire, later()), WIRE_OK);
    shutdown(p->own_fd, SHUT_WR);
    assert_int_equal(read(report[0], &got, sizeof got), sizeof got);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(got == want);
    close(report[0]);
    close(report[1]);
    free(piece);
}

/* ---- either of two ---- */

struct two {
    struct pair *a, *b;
};

static int set_up_two(void **state)
{
    struct two *t = calloc(1, sizeof *t);
    *state = t;
    return set_up((void **)&t->a) != 0 || set_up((void **)&t->b) != 0;
}

static int tear_down_two(void **state)
{
    struct two *t = *state;
    tear_down((void **)&t->a);
    tear_down((void **)&t->b);
    free(t);
    return 0;
}

static void expect_ready(struct two *t, bool want_a, bool want_b)
{
    bool a = !want_a, b = !want_b;
    assert_int_equal(wire_wait_either(&t->a->wire, &a, &t->b->wire, &b, later()), WIRE_OK);
    assert_int_equal(a, want_a);
    assert_int_equal(b, want_b);
}

static void either_wire_wakes_the_wait(void **state)
{
    struct two *t = *state;
    bool a, b;
    assert_int_equal(wire_wait_either(&t->a->wire, &a, &t->b->wire, &b, soon()), WIRE_TIMEOUT);
    peer_says(t->b, "x\n", 2);
    expect_ready(t, false, true);
    expect_line(t->b, 10, "x\n", 2, false);
    peer_says(t->a, "y", 1);
    expect_ready(t, true, false);
    assert_int_equal(wire_fill(&t->a->wire, later()), WIRE_OK);
    expect_ready(t, true, false); /* what is buffered counts */
    wire_consume(&t->a->wire, 1);
    peer_closes(t->b);
    expect_ready(t, false, true); /* so does an end */
}

static void wait_flushes_both(void **state)
{
    struct two *t = *state;
    assert_int_equal(wire_put(&t->a->wire, "to a", 4, later()), WIRE_OK);
    assert_int_equal(wire_put(&t->b->wire, "to b", 4, later()), WIRE_OK);
    peer_says(t->a, "x", 1);
    expect_ready(t, true, false);
    expect_peer_hears(t->a, "to a", 4);
    expect_peer_hears(t->b, "to b", 4);
}

/* ---- transports ---- */

/* One that has nothing at first and has to be asked again, as TLS does. */
struct shy {
    int fd, asked;
    const char *text;
};

static ssize_t shy_read(void *ctx, void *buf, size_t len)
{
    struct shy *s = ctx;
    (void)len;
    if (s->asked++ < 3)
        return TRANSPORT_WANT_READ;
    if (*s->text == '\0')
        return TRANSPORT_TRUNCATED;
    *(char *)buf = *s->text++;
    return 1;
}

static ssize_t shy_write(void *ctx, const void *buf, size_t len)
{
    (void)ctx;
    (void)buf;
    (void)len;
    return TRANSPORT_ERROR;
}

static int shy_flush(void *ctx)
{
    (void)ctx;
    return 0;
}

static bool shy_pending(void *ctx)
{
    (void)ctx;
    return false;
}

static void set_transport_keeps_the_buffers(void **state)
{
    struct pair *p = *state;
    struct shy shy = {.fd = p->own_fd, .text = "t"};
    const struct transport t = {.ctx = &shy,
                                .fd = p->own_fd,
                                .read = shy_read,
                                .write = shy_write,
                                .flush = shy_flush,
                                .pending = shy_pending};
    struct line line;
    peer_says(p, "STARTTLS\r\nshor", 14);
    expect_line(p, 100, "STARTTLS\r\n", 10, true);
    wire_set_transport(&p->wire, &t);
    peer_says(p, "wake", 4); /* poll sees bytes, the transport has to be asked several times */
    assert_int_equal(wire_getline(&p->wire, 5, later(), &line), WIRE_TOOLONG);
    assert_int_equal(wire_getline(&p->wire, 100, later(), &line), WIRE_TRUNCATED);
    assert_int_equal(wire_buffered(&p->wire, NULL), 5);
    assert_int_equal(wire_put(&p->wire, "x", 1, later()), WIRE_OK);
    assert_int_equal(wire_flush(&p->wire, later()), WIRE_IO);
}

/* Reads, and keeps to itself what it has read, as TLS does with session tickets. */
static ssize_t secretive_read(void *ctx, void *buf, size_t len)
{
    const struct shy *s = ctx;
    ssize_t n = recv(s->fd, buf, len, MSG_DONTWAIT);
    return n == 0 ? 0 : TRANSPORT_WANT_READ;
}

static void what_tls_says_for_itself_ends_no_wait(void **state)
{
    struct two *t = *state;
    struct shy secretive = {.fd = t->b->own_fd};
    const struct transport transport = {.ctx = &secretive,
                                        .fd = t->b->own_fd,
                                        .read = secretive_read,
                                        .write = shy_write,
                                        .flush = shy_flush,
                                        .pending = shy_pending};
    bool a, b;
    struct line line;
    wire_set_transport(&t->b->wire, &transport);
    peer_says(t->b, "ticket", 6);
    assert_int_equal(wire_wait_either(&t->a->wire, &a, &t->b->wire, &b, soon()), WIRE_TIMEOUT);
    peer_says(t->b, "ticket", 6);
    peer_says(t->a, "y", 1);
    expect_ready(t, true, false);
    peer_says(t->b, "ticket", 6);
    assert_false(wire_readable(&t->b->wire));
    wire_consume(&t->a->wire, 1);
    peer_closes(t->b);
    expect_ready(t, false, true);
    assert_true(wire_readable(&t->b->wire));
    assert_int_equal(wire_getline(&t->b->wire, 10, later(), &line), WIRE_EOF);
}

static void every_status_has_a_text(void **state)
{
    (void)state;
    for (int s = WIRE_OK; s <= WIRE_IO; s++)
        assert_string_not_equal(wire_status_text((enum wire_status)s), "?");
}

static void finish_accepts_a_zeroed_struct(void **state)
{
    (void)state;
    struct wire w = {0};
    wire_finish(&w);
    wire_finish(&w);
    assert_int_equal(w.cancel_fd, -1);
}

#define ON_PAIR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define ON_TWO(test)  cmocka_unit_test_setup_teardown(test, set_up_two, tear_down_two)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_PAIR(lines_are_given_as_received),
        ON_PAIR(line_of_exactly_the_limit_is_taken),
        ON_PAIR(line_of_one_over_the_limit_is_too_long),
        ON_PAIR(limit_is_told_before_the_line_ends),
        ON_PAIR(one_byte_less_than_the_limit_waits),
        ON_PAIR(largest_line_fits_the_buffer_wherever_it_begins),
        ON_PAIR(line_of_one_over_the_buffer_is_too_long),
        ON_PAIR(byte_by_byte),
        ON_PAIR(end_at_a_line_start_is_an_end),
        ON_PAIR(end_within_a_line_is_a_truncation),
        ON_PAIR(deadline_is_kept),
        ON_PAIR(cancel_descriptor_ends_the_wait),
        ON_PAIR(reset_by_the_peer_is_an_error),
        ON_PAIR(skipping_ends_behind_the_line),
        ON_PAIR(skipping_has_a_limit),
        ON_PAIR(skipping_one_below_the_limit_waits),
        ON_PAIR(skipping_more_than_the_buffer),
        ON_PAIR(fill_and_consume),
        ON_PAIR(full_buffer_is_told),
        ON_PAIR(expecting_bulk_keeps_what_is_there),
        ON_PAIR(large_blocks_arrive_unchanged),
        ON_PAIR(nothing_leaves_before_flush),
        ON_PAIR(what_was_sent_can_be_wiped),
        ON_PAIR(wiping_an_untouched_wire_does_nothing),
        ON_PAIR(printf_takes_1023_bytes),
        ON_PAIR(deadline_holds_for_a_peer_that_does_not_read),
        ON_PAIR(put_keeps_the_order),
        ON_TWO(either_wire_wakes_the_wait),
        ON_TWO(wait_flushes_both),
        ON_TWO(what_tls_says_for_itself_ends_no_wait),
        ON_PAIR(set_transport_keeps_the_buffers),
        cmocka_unit_test(every_status_has_a_text),
        cmocka_unit_test(finish_accepts_a_zeroed_struct),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
