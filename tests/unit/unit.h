/* SPDX-License-Identifier: ISC
 *
 * Tables of cases for cmocka: each row becomes a test of its own, so that a failure names it and
 * the rows behind it still run.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Bytes that may hold NUL. */
struct bytes {
    const char *data;
    size_t len;
};

/* A string literal with the NULs in it. */
#define B(literal)                                                                                 \
    {                                                                                              \
        "" literal, sizeof literal - 1                                                             \
    }

struct unit {
    struct CMUnitTest tests[512];
    size_t count;
};

/* Adds a test that is given `row` as *state. */
static inline void unit_add(struct unit *u, const char *name, CMUnitTestFunction test,
                            const void *row)
{
    if (u->count == sizeof u->tests / sizeof *u->tests)
        fail_msg("struct unit is full");
    u->tests[u->count++] =
        (struct CMUnitTest){.name = name, .test_func = test, .initial_state = (void *)(size_t)row};
}

/* The same for a whole table, whose rows begin with their name. */
static inline void unit_add_rows(struct unit *u, CMUnitTestFunction test, const void *rows,
                                 size_t row_size, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *row = (const char *)rows + i * row_size;
        const char *name;
        memcpy(&name, row, sizeof name);
        unit_add(u, name, test, row);
    }
}
#define UNIT_ADD_TABLE(u, test, table)                                                             \
    unit_add_rows(u, test, table, sizeof *(table), sizeof(table) / sizeof *(table))

static inline int unit_run(const struct unit *u, const char *group)
{
    return _cmocka_run_group_tests(group, u->tests, u->count, NULL, NULL);
}

/* Compares bytes and shows both in full. */
static inline void assert_bytes(const char *got, size_t len, const char *want, size_t want_len)
{
    if (len == want_len && (len == 0 || memcmp(got, want, len) == 0))
        return;
    print_error("got  (%zu): \"%.*s\"\nwant (%zu): \"%.*s\"\n", len, (int)len, got, want_len,
                (int)want_len, want);
    fail();
}

#endif
