/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/pump.h"

/* A side that has `says` to say, and keeps what it is given, as TLS does, until it has been asked
 * `delays` times to send it. */
struct side {
    const char *says;
    size_t told, kept, sent;
    int delays, error;
    bool ended;         /* by the pump */
    size_t kept_at_end; /* what was not sent then */
    int fds[2];         /* one that is always writable, and its other end */
};

struct both {
    struct side client, backend;
};

static ssize_t side_read(void *ctx, void *buf, size_t len)
{
    struct side *s = ctx;
    size_t left = s->says != NULL ? strlen(s->says) - s->told : 0;
    size_t n = left < len ? left : len;
    if (s->says == NULL)
        return TRANSPORT_WANT_READ;
    memcpy(buf, s->says + s->told, n);
    s->told += n;
    return (ssize_t)n;
}

static ssize_t side_write(void *ctx, const void *buf, size_t len)
{
    struct side *s = ctx;
    (void)buf;
    s->kept += len;
    return (ssize_t)len;
}

static int side_flush(void *ctx)
{
    struct side *s = ctx;
    if (s->kept == 0)
        return 0;
    if (s->error != 0)
        return s->error;
    if (s->delays-- > 0)
        return TRANSPORT_WANT_WRITE;
    s->sent += s->kept;
    s->kept = 0;
    return 0;
}

static bool side_pending(void *ctx)
{
    (void)ctx;
    return false;
}

static void end_side(struct side *s)
{
    assert_false(s->ended);
    s->ended = true;
    s->kept_at_end = s->kept;
}

static void end_client(void *ctx)
{
    end_side(&((struct both *)ctx)->client);
}

static void end_backend(void *ctx)
{
    end_side(&((struct both *)ctx)->backend);
}

static void open_side(struct side *s, struct wire *w)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->fds), 0);
    const struct transport t = {.ctx = s,
                                .fd = s->fds[0],
                                .read = side_read,
                                .write = side_write,
                                .flush = side_flush,
                                .pending = side_pending};
    wire_init(w, &t, -1);
}

static void close_side(struct side *s, struct wire *w)
{
    wire_finish(w);
    close(s->fds[0]);
    close(s->fds[1]);
}

static enum pump_end run(struct both *b)
{
    struct wire client, backend;
    open_side(&b->client, &client);
    open_side(&b->backend, &backend);
    const struct pump p = {.client = &client,
                           .backend = &backend,
                           .idle_seconds = 5,
                           .end_client = end_client,
                           .end_backend = end_backend,
                           .ctx = b};
    enum pump_end end = pump_run(&p);
    close_side(&b->client, &client);
    close_side(&b->backend, &backend);
    return end;
}

static void client_is_not_ended_before_it_has_all(void **state)
{
    struct both b = {.backend = {.says = "all of it"}, .client = {.delays = 20}};
    (void)state;
    assert_int_equal(run(&b), PUMP_DONE);
    assert_int_equal(b.client.sent, strlen("all of it"));
    assert_true(b.client.ended);
    assert_int_equal(b.client.kept_at_end, 0);
}

static void backend_is_not_ended_before_it_has_all(void **state)
{
    struct both b = {.client = {.says = "all of it"}, .backend = {.delays = 20}};
    (void)state;
    assert_int_equal(run(&b), PUMP_TIMEOUT); /* it says nothing */
    assert_int_equal(b.backend.sent, strlen("all of it"));
    assert_true(b.backend.ended);
    assert_int_equal(b.backend.kept_at_end, 0);
}

static void client_that_cannot_be_given_the_rest_is_lost(void **state)
{
    struct both b = {.backend = {.says = "all of it"}, .client = {.error = TRANSPORT_ERROR}};
    (void)state;
    assert_int_equal(run(&b), PUMP_LOST_CLIENT);
    assert_false(b.client.ended);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_is_not_ended_before_it_has_all),
        cmocka_unit_test(backend_is_not_ended_before_it_has_all),
        cmocka_unit_test(client_that_cannot_be_given_the_rest_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
