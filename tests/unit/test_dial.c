/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocols/wire.h"
#include "proxy/dial.h"

/* ---- the order ---- */

static const struct order_case {
    const char *name;
    const char *families; /* 4 or 6, one a letter */
    size_t first;
    const char *want; /* numbers */
} order_cases[] = {
    {"one", "4", 0, "0"},
    {"one family", "444", 0, "012"},
    {"one family, from the middle", "444", 1, "120"},
    {"alternating already", "6464", 0, "0123"},
    {"IPv6 first", "664", 0, "021"},
    {"IPv4 in the middle first", "6644", 2, "2031"},
    {"the last one first", "6644", 3, "3021"},
    {"more of the first", "66664", 0, "04123"},
    {"more of the other", "46666", 0, "01234"},
    {"from the middle, round", "6466", 2, "2130"},
};

static void order_alternates(void **state)
{
    const struct order_case *c = *state;
    struct address list[8] = {0};
    struct dial d;
    size_t count = strlen(c->families);
    for (size_t i = 0; i < count; i++)
        list[i].sa.ss_family = c->families[i] == '4' ? AF_INET : AF_INET6;
    dial_order(&d, list, count, c->first);
    assert_int_equal(d.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(d.to[i] - list, c->want[i] - '0');
}

/* As many as there can be. */
static void order_has_room_for_all(void **state)
{
    static struct address list[DIAL_MAX];
    bool seen[DIAL_MAX] = {false};
    struct dial d;
    (void)state;
    for (size_t i = 0; i < DIAL_MAX; i++)
        list[i].sa.ss_family = i < DIAL_MAX / 2 ? AF_INET : AF_INET6;
    dial_order(&d, list, DIAL_MAX, 7);
    assert_int_equal(d.count, DIAL_MAX);
    for (size_t i = 0; i < DIAL_MAX; i++) {
        assert_false(seen[d.to[i] - list]);
        seen[d.to[i] - list] = true;
    }
}

/* ---- the race ---- */

enum { PLACES = 20 };

/* An address of this machine. */
struct place {
    int listener, filler; /* -1: none */
    struct address address;
};

static int make_listener(struct address *a, int backlog)
{
    const int on = 1;
    int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a->sa, a->len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a->sa, &a->len), 0);
    return fd;
}

static struct address loopback(unsigned char last)
{
    const unsigned char ip[4] = {127, 0, 0, last};
    return address_of(AF_INET, ip, 0);
}

/* Lets connections wait until somebody accepts. */
static struct place answering(struct address a)
{
    struct place p = {.filler = -1, .address = a};
    p.listener = make_listener(&p.address, 8);
    return p;
}

/* Its backlog is full, so the kernel drops what comes. */
static struct place silent(struct address a)
{
    struct place p = {.address = a};
    p.listener = make_listener(&p.address, 0);
    p.filler = socket(a.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(p.filler, (struct sockaddr *)&p.address.sa, p.address.len), 0);
    return p;
}

static struct place refusing(struct address a)
{
    struct place p = answering(a);
    close(p.listener);
    p.listener = -1;
    return p;
}

static bool was_reached(const struct place *p)
{
    int fd = accept(p->listener, NULL, NULL);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void leave(struct place *p)
{
    if (p->listener >= 0)
        close(p->listener);
    if (p->filler >= 0)
        close(p->filler);
}

/* What the attempts do besides making a socket. */
struct script {
    unsigned opened;
    struct place *awakes; /* at the second attempt */
    int cancel_with;      /* written to at the second attempt; -1: no */
};

static int open_plain(void *ctx, int family)
{
    struct script *s = ctx;
    s->opened++;
    if (s->opened == 2 && s->awakes != NULL)
        assert_true(was_reached(s->awakes)); /* the filler, which makes room */
    if (s->opened == 2 && s->cancel_with >= 0)
        assert_int_equal(write(s->cancel_with, "x", 1), 1);
    return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

struct run {
    struct dial dial;
    struct script script;
    struct address list[PLACES];
    size_t winner;
    int64_t milliseconds;
};

static int try_all(struct run *r, const struct place *places, size_t count)
{
    for (size_t i = 0; i < count; i++)
        r->list[i] = places[i].address;
    r->dial.open = open_plain;
    r->dial.ctx = &r->script;
    dial_order(&r->dial, r->list, count, 0);
    int64_t began = wire_now();
    int fd = dial_run(&r->dial, &r->winner);
    r->milliseconds = wire_now() - began;
    return fd;
}

#define RUN(limit)                                                                                 \
    {                                                                                              \
        .dial = {.seconds = (limit), .deadline = WIRE_FOREVER, .cancel_fd = -1},                   \
        .script = {.cancel_with = -1},                                                             \
    }

static void first_that_answers_is_alone(void **state)
{
    struct place places[2] = {answering(loopback(2)), answering(loopback(3))};
    struct run r = RUN(30);
    (void)state;
    int fd = try_all(&r, places, 2);
    assert_true(fd >= 0);
    assert_int_equal(r.winner, 0);
    assert_int_equal(r.script.opened, 1);
    assert_false(was_reached(&places[1]));
    close(fd);
    leave(&places[0]);
    leave(&places[1]);
}

static void silence_costs_a_quarter_of_a_second(void **state)
{
    struct place places[3] = {silent(loopback(2)), answering(loopback(3)), answering(loopback(4))};
    struct run r = RUN(30);
    (void)state;
    int fd = try_all(&r, places, 3);
    assert_true(fd >= 0);
    assert_int_equal(r.winner, 1);
    assert_int_equal(r.script.opened, 2);
    assert_true(r.milliseconds >= DIAL_DELAY_MS && r.milliseconds < 10000);
    assert_int_equal(r.dial.errors[0], 0);
    close(fd);
    for (size_t i = 0; i < 3; i++)
        leave(&places[i]);
}

/* With a wait for each the last one would be reached after more than four seconds. */
static void refusal_starts_the_next_at_once(void **state)
{
    enum { LAST = PLACES - 1 };
    struct place places[PLACES];
    struct run r = RUN(30);
    (void)state;
    for (unsigned char i = 0; i < LAST; i++)
        places[i] = refusing(loopback(i + 2));
    places[LAST] = answering(loopback(LAST + 2));
    int fd = try_all(&r, places, PLACES);
    assert_true(fd >= 0);
    assert_int_equal(r.winner, LAST);
    for (size_t i = 0; i < LAST; i++)
        assert_int_equal(r.dial.errors[i], ECONNREFUSED);
    assert_true(r.milliseconds < LAST * DIAL_DELAY_MS);
    close(fd);
    leave(&places[LAST]);
}

/* The kernel asks again after a second; by then another attempt goes on as well. */
static void earlier_attempt_goes_on(void **state)
{
    struct place places[2] = {silent(loopback(2)), silent(loopback(3))};
    struct run r = RUN(30);
    (void)state;
    r.script.awakes = &places[0];
    int fd = try_all(&r, places, 2);
    assert_true(fd >= 0);
    assert_int_equal(r.winner, 0);
    assert_int_equal(r.script.opened, 2);
    close(fd);
    leave(&places[0]);
    leave(&places[1]);
}

static void every_attempt_has_its_own_time(void **state)
{
    struct place places[3] = {silent(loopback(2)), refusing(loopback(3)), silent(loopback(4))};
    struct run r = RUN(1);
    (void)state;
    assert_int_equal(try_all(&r, places, 3), -1);
    assert_int_equal(r.dial.errors[0], ETIMEDOUT);
    assert_int_equal(r.dial.errors[1], ECONNREFUSED);
    assert_int_equal(r.dial.errors[2], ETIMEDOUT);
    assert_true(r.milliseconds >= 1000 + DIAL_DELAY_MS);
    leave(&places[0]);
    leave(&places[2]);
}

/* However late an attempt has begun. */
static void all_attempts_end_with_the_whole(void **state)
{
    struct place places[2] = {silent(loopback(2)), silent(loopback(3))};
    struct run r = RUN(30);
    (void)state;
    r.dial.deadline = wire_now() + 400;
    assert_int_equal(try_all(&r, places, 2), -1);
    assert_int_equal(r.dial.errors[0], ETIMEDOUT);
    assert_int_equal(r.dial.errors[1], ETIMEDOUT);
    assert_true(r.milliseconds >= 390 && r.milliseconds < 20000);
    leave(&places[0]);
    leave(&places[1]);
}

static void cancelling_ends_all(void **state)
{
    struct place places[3] = {silent(loopback(2)), silent(loopback(3)), answering(loopback(4))};
    struct run r = RUN(30);
    int fds[2];
    (void)state;
    assert_int_equal(pipe(fds), 0);
    r.dial.cancel_fd = fds[0];
    r.script.cancel_with = fds[1];
    assert_int_equal(try_all(&r, places, 3), -1);
    assert_int_equal(r.dial.errors[0], ECANCELED);
    assert_int_equal(r.dial.errors[1], ECANCELED);
    assert_int_equal(r.dial.errors[2], 0);
    assert_int_equal(r.script.opened, 2);
    close(fds[0]);
    close(fds[1]);
    for (size_t i = 0; i < 3; i++)
        leave(&places[i]);
}

static void both_families_race(void **state)
{
    const struct in6_addr one = IN6ADDR_LOOPBACK_INIT;
    struct place places[2] = {silent(address_of(AF_INET6, &one, 0)), answering(loopback(3))};
    struct run r = RUN(30);
    (void)state;
    int fd = try_all(&r, places, 2);
    assert_true(fd >= 0);
    assert_int_equal(r.winner, 1);
    close(fd);
    leave(&places[0]);
    leave(&places[1]);
}

static int open_nothing(void *ctx, int family)
{
    (void)ctx;
    errno = family == AF_INET ? EMFILE : EAFNOSUPPORT;
    return -1;
}

static void without_a_socket_there_is_a_reason(void **state)
{
    const struct address to = loopback(2);
    struct dial d = {
        .seconds = 30, .deadline = WIRE_FOREVER, .cancel_fd = -1, .open = open_nothing};
    size_t winner;
    (void)state;
    dial_order(&d, &to, 1, 0);
    assert_int_equal(dial_run(&d, &winner), -1);
    assert_int_equal(d.errors[0], EMFILE);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, order_alternates, order_cases);
    unit_add(&u, "room for all", order_has_room_for_all, NULL);
    unit_add(&u, "first answers", first_that_answers_is_alone, NULL);
    unit_add(&u, "silence", silence_costs_a_quarter_of_a_second, NULL);
    unit_add(&u, "refusal", refusal_starts_the_next_at_once, NULL);
    unit_add(&u, "earlier goes on", earlier_attempt_goes_on, NULL);
    unit_add(&u, "own time", every_attempt_has_its_own_time, NULL);
    unit_add(&u, "time of all", all_attempts_end_with_the_whole, NULL);
    unit_add(&u, "cancelled", cancelling_ends_all, NULL);
    unit_add(&u, "families", both_families_race, NULL);
    unit_add(&u, "no socket", without_a_socket_there_is_a_reason, NULL);
    return unit_run(&u, "dial");
}
