/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "proxy/turns.h"

enum { BEGAN = 1000 };

struct row {
    const char *name;
    int pretls_ms;     /* behind BEGAN */
    size_t count;      /* of addresses */
    const char *used;  /* a digit for each: '1', it is */
    bool moved, other; /* other: a program, or redirected */
    int now;           /* behind BEGAN */
    bool want_left;
    int want_deadline; /* behind BEGAN */
};

static const struct row rows[] = {
    {"a-single-server-has-all", 300000, 1, "1", false, false, 0, false, 300000},
    {"the-first-of-two-has-half-of-four-minutes", 300000, 2, "10", false, false, 0, true, 120000},
    {"the-second-has-the-rest-of-four-minutes", 300000, 2, "11", true, false, 120000, false,
     240000},
    {"the-second-of-three-has-half-of-the-rest", 300000, 3, "110", true, false, 120000, true,
     180000},
    {"the-order-does-not-matter", 300000, 3, "011", true, false, 120000, true, 180000},
    {"less-than-four-minutes", 10000, 2, "10", false, false, 0, true, 5000},
    {"just-enough-time", 10000, 2, "10", false, false, 9500, true, 9750},
    {"no-time-for-another", 10000, 2, "10", false, false, 9501, false, 10000},
    {"long-reached-has-all", 300000, 2, "10", false, false, 239501, false, 300000},
    {"long-reached-after-others-has-four-minutes", 300000, 2, "11", true, false, 239900, false,
     240000},
    {"too-late-after-others", 300000, 2, "11", true, false, 240000, false, 300000},
    {"a-program-is-alone", 300000, 2, "10", false, true, 0, false, 300000},
};

static struct turns turns_of(const struct row *row)
{
    struct turns t;
    turns_begin(&t, BEGAN, BEGAN + row->pretls_ms);
    for (size_t i = 0; row->used[i] != '\0'; i++)
        t.used[i] = row->used[i] == '1';
    if (row->moved)
        turns_move(&t);
    return t;
}

static void turn_is_as_long_as_wanted(void **state)
{
    const struct row *row = *state;
    static struct backends b;
    const struct turns t = turns_of(row);
    for (int redirected = 0; redirected <= row->other; redirected++) {
        b.count = row->count;
        b.program = row->other && !redirected;
        b.redirected = row->other && redirected;
        assert_int_equal(turns_are_left(&t, &b, BEGAN + row->now), row->want_left);
        assert_int_equal(turns_deadline(&t, &b, BEGAN + row->now), BEGAN + row->want_deadline);
    }
}

static void several_have_one_time_to_be_reached(void **state)
{
    static struct backends b = {.count = 1};
    struct turns t;
    (void)state;
    turns_begin(&t, BEGAN, BEGAN + 300000);
    assert_int_equal(turns_first_deadline(&t, &b), WIRE_FOREVER);
    b.count = 2;
    assert_int_equal(turns_first_deadline(&t, &b), BEGAN + TURNS_MS);
}

static void only_one_is_kept(void **state)
{
    bool used[BACKENDS_MAX];
    (void)state;
    turns_only(used, 3);
    for (size_t i = 0; i < BACKENDS_MAX; i++)
        assert_int_equal(used[i], i != 3);
}

int main(void)
{
    static struct unit u;
    UNIT_ADD_TABLE(&u, turn_is_as_long_as_wanted, rows);
    unit_add(&u, "several-have-one-time-to-be-reached", several_have_one_time_to_be_reached, NULL);
    unit_add(&u, "only-one-is-kept", only_one_is_kept, NULL);
    return unit_run(&u, "turns");
}
