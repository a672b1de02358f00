/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocols/wire.h"
#include "proxy/rates.h"

static const unsigned char alice[16] = {2, [12] = 192, 0, 2, 1};
static const unsigned char bob[16] = {2, [12] = 192, 0, 2, 2};

static struct rates *create(unsigned count, unsigned seconds)
{
    const struct rate rate = {.count = count, .seconds = seconds};
    struct rates *r = rates_create(&rate);
    assert_non_null(r);
    return r;
}

/* How many of `tries` at once are good. */
static unsigned take(struct rates *r, const unsigned char client[16], int64_t now, unsigned tries)
{
    unsigned good = 0;
    for (; tries > 0; tries--)
        good += rates_take(r, client, now) == RATES_GOOD;
    return good;
}

/* ---- the option ---- */

static const struct parse_case {
    const char *name, *text;
    bool good;
    unsigned count, seconds;
} parse_cases[] = {
    {"no limit", "0", true, 0, 0},
    {"ordinary", "30/60", true, 30, 60},
    {"smallest", "1/1", true, 1, 1},
    {"largest", "10000/86400", true, 10000, 86400},
    {"count too large", "10001/60", false, 0, 0},
    {"seconds too many", "1/86401", false, 0, 0},
    {"count overflows", "99999999999999999999/60", false, 0, 0},
    {"seconds wrap around", "1/4294967297", false, 0, 0},
    {"count 0 with seconds", "0/60", false, 0, 0},
    {"0 seconds", "30/0", false, 0, 0},
    {"no seconds", "30/", false, 0, 0},
    {"number alone", "30", false, 0, 0},
    {"no count", "/60", false, 0, 0},
    {"sign", "+30/60", false, 0, 0},
    {"sign of the seconds", "30/-60", false, 0, 0},
    {"blank", "30 / 60", false, 0, 0},
    {"text behind", "30/60s", false, 0, 0},
    {"empty", "", false, 0, 0},
};

static void rate_is_parsed(void **state)
{
    const struct parse_case *c = *state;
    struct rate rate;
    const char *wrong = rate_parse(c->text, &rate);
    assert_int_equal(wrong == NULL, c->good);
    if (!c->good)
        return;
    assert_int_equal(rate.count, c->count);
    assert_int_equal(rate.seconds, c->seconds);
}

/* ---- at the limit ---- */

static const struct limit_case {
    const char *name;
    unsigned count, seconds;
} limit_cases[] = {
    {"1/1", 1, 1},
    {"3/60", 3, 60},
    {"7/10, not a divisor", 7, 10},
    {"10000/1, more than one a millisecond", 10000, 1},
    {"1/86400", 1, 86400},
    {"10000/86400", 10000, 86400},
};

static void limit_is_good_and_one_over_is_not(void **state)
{
    const struct limit_case *c = *state;
    struct rates *r = create(c->count, c->seconds);
    int64_t now = wire_now();
    assert_int_equal(take(r, alice, now, c->count), c->count);
    assert_int_equal(rates_take(r, alice, now), RATES_OVER);
    rates_destroy(r);
}

/* A token comes back after SECONDS/N, all of them after SECONDS. */
static void what_was_taken_fades(void **state)
{
    (void)state;
    struct rates *r = create(4, 60);
    int64_t now = wire_now();
    assert_int_equal(take(r, alice, now, 9), 4);
    assert_int_equal(take(r, alice, now + 14999, 9), 0);
    assert_int_equal(take(r, alice, now + 15000, 9), 1);
    assert_int_equal(take(r, alice, now + 15001, 9), 0);
    assert_int_equal(take(r, alice, now + 75000, 9), 4);
    assert_int_equal(take(r, alice, now + 1000000000, 9), 4);
    rates_destroy(r);
}

/* Who goes on trying is served at the rate all the same: what is refused is not counted. */
static void refused_tries_take_nothing(void **state)
{
    (void)state;
    struct rates *r = create(2, 10);
    int64_t now = wire_now();
    assert_int_equal(take(r, alice, now, 1000), 2);
    assert_int_equal(take(r, alice, now + 5000, 1000), 1);
    rates_destroy(r);
}

/* No window of any place and length has more than what was in the bucket and has come back. */
static void rate_holds_over_time(void **state)
{
    (void)state;
    struct rates *r = create(7, 10);
    int64_t now = wire_now();
    unsigned good = 0;
    for (int64_t ms = 0; ms <= 100000; ms += 13)
        good += take(r, alice, now + ms, 3);
    assert_in_range(good, 7 + 69, 7 + 70);
    rates_destroy(r);
}

static void clients_are_counted_apart(void **state)
{
    (void)state;
    struct rates *r = create(2, 60);
    int64_t now = wire_now();
    assert_int_equal(take(r, alice, now, 3), 2);
    assert_int_equal(take(r, bob, now, 3), 2);
    rates_destroy(r);
}

static void clock_of_another_process_may_be_a_little_behind(void **state)
{
    (void)state;
    struct rates *r = create(2, 60);
    int64_t now = wire_now() + 1000;
    assert_int_equal(take(r, alice, now, 1), 1);
    assert_int_equal(take(r, alice, now - 5, 3), 0); /* a little early */
    assert_int_equal(take(r, alice, now, 3), 1);
    rates_destroy(r);
}

/* ---- many clients ---- */

static void make_client(unsigned char client[16], uint32_t n)
{
    memset(client, 0, 16);
    client[0] = 10;
    memcpy(client + 8, &n, sizeof n);
}

static void full_table_keeps_its_clients_and_lets_others_in(void **state)
{
    (void)state;
    struct rates *r = create(2, 60);
    int64_t now = wire_now();
    unsigned char client[16];
    unsigned uncounted = 0;
    assert_int_equal(take(r, alice, now, 2), 2);
    for (uint32_t n = 0; n < 4 * RATES_WORDS; n++) {
        make_client(client, n);
        uncounted += rates_take(r, client, now) == RATES_UNCOUNTED;
    }
    assert_in_range(uncounted, 3 * RATES_WORDS - 100, 3 * RATES_WORDS + RATES_WORDS / 10);
    assert_int_equal(rates_take(r, alice, now), RATES_OVER);
    make_client(client, 5 * RATES_WORDS);
    assert_int_equal(take(r, client, now + 60001, 3), 2); /* all have faded */
    rates_destroy(r);
}

static void table_has_room_for_most_of_half_its_words(void **state)
{
    (void)state;
    struct rates *r = create(1, 60);
    int64_t now = wire_now();
    unsigned char client[16];
    unsigned good = 0, over = 0;
    for (uint32_t n = 0; n < RATES_WORDS / 2; n++) {
        make_client(client, n);
        good += rates_take(r, client, now) == RATES_GOOD;
    }
    for (uint32_t n = 0; n < RATES_WORDS / 2; n++) {
        make_client(client, n);
        over += rates_take(r, client, now) == RATES_OVER;
    }
    assert_true(good > RATES_WORDS / 2 * 97 / 100);
    assert_true(over >= good);
    rates_destroy(r);
}

static void full_table_is_told_once_in_a_while(void **state)
{
    (void)state;
    struct rates *r = create(1, 1);
    int64_t now = wire_now();
    assert_true(rates_may_tell(r, now));
    assert_false(rates_may_tell(r, now));
    assert_false(rates_may_tell(r, now + RATES_TELL_SECONDS * 1000 - 1));
    assert_true(rates_may_tell(r, now + RATES_TELL_SECONDS * 1000));
    rates_destroy(r);
}

/* ---- many processes ---- */

enum { PROCESSES = 6, KILLED = 3, TRIES = 3000 }; /* those that are killed leave tokens */

static void hammer(struct rates *r, atomic_uint *good, int64_t now, unsigned seed)
{
    unsigned char client[16];
    for (unsigned i = 0; i < TRIES; i++) {
        make_client(client, i * 7919 + seed); /* neighbours in the table */
        (void)rates_take(r, client, now);
        if (rates_take(r, alice, now) == RATES_GOOD)
            atomic_fetch_add(good, 1);
    }
}

static pid_t start_hammer(struct rates *r, atomic_uint *good, int64_t now, unsigned seed)
{
    pid_t pid = fork();
    if (pid == 0) {
        hammer(r, good, now, seed);
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static atomic_uint *shared_counter(void)
{
    atomic_uint *counter =
        mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(counter, MAP_FAILED);
    return counter;
}

static void processes_share_one_exact_limit(void **state)
{
    (void)state;
    struct rates *r = create(1000, 3600);
    atomic_uint *good = shared_counter();
    int64_t now = wire_now();
    pid_t pids[PROCESSES];
    for (unsigned i = 0; i < PROCESSES; i++)
        pids[i] = start_hammer(r, good, now, i * TRIES);
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(atomic_load(good), 1000);
    assert_int_equal(rates_take(r, alice, now), RATES_OVER);
    munmap(good, sizeof *good);
    rates_destroy(r);
}

/* Whatever a process was doing when it was killed, the others go on, and at most its one token is
 * gone without anybody having counted it. */
static void killed_processes_hold_nothing(void **state)
{
    (void)state;
    struct rates *r = create(10000, 3600);
    atomic_uint *good = shared_counter();
    int64_t now = wire_now();
    for (unsigned i = 0; i < KILLED; i++) {
        unsigned before = atomic_load(good);
        pid_t pid = start_hammer(r, good, now, i * TRIES);
        while (atomic_load(good) < before + 50)
            (void)rates_take(r, bob, now);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    unsigned taken = atomic_load(good), left = take(r, alice, now, 20000);
    assert_in_range(taken + left, 10000 - KILLED, 10000);
    assert_int_equal(rates_take(r, alice, now), RATES_OVER);
    munmap(good, sizeof *good);
    rates_destroy(r);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, rate_is_parsed, parse_cases);
    UNIT_ADD_TABLE(&u, limit_is_good_and_one_over_is_not, limit_cases);
    unit_add(&u, "fades", what_was_taken_fades, NULL);
    unit_add(&u, "refused tries take nothing", refused_tries_take_nothing, NULL);
    unit_add(&u, "rate over time", rate_holds_over_time, NULL);
    unit_add(&u, "clients are counted apart", clients_are_counted_apart, NULL);
    unit_add(&u, "clock behind", clock_of_another_process_may_be_a_little_behind, NULL);
    unit_add(&u, "full table", full_table_keeps_its_clients_and_lets_others_in, NULL);
    unit_add(&u, "room", table_has_room_for_most_of_half_its_words, NULL);
    unit_add(&u, "told once", full_table_is_told_once_in_a_while, NULL);
    unit_add(&u, "one limit for all processes", processes_share_one_exact_limit, NULL);
    unit_add(&u, "killed processes", killed_processes_hold_nothing, NULL);
    return unit_run(&u, "rates");
}
