/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "protocols/enddata.h"

/* ---- scanning ---- */

static const struct scan_case {
    const char *name;
    struct bytes data;
    enum enddata_found want_refuse, want_pass_mode;
    size_t want_passed_refuse, want_passed; /* bytes that may go on, in the two modes */
} scan_cases[] = {
    {"plain", B("hello\r\n.\r\n"), ENDDATA_COMPLETE, ENDDATA_COMPLETE, 10, 10},
    {"empty message", B(".\r\n"), ENDDATA_COMPLETE, ENDDATA_COMPLETE, 3, 3},
    {"bytes behind the end stay", B("x\r\n.\r\nQUIT\r\n"), ENDDATA_COMPLETE, ENDDATA_COMPLETE, 6,
     6},
    {"no end yet", B("hello\r\nworld"), ENDDATA_MORE, ENDDATA_MORE, 12, 12},
    {"nothing", B(""), ENDDATA_MORE, ENDDATA_MORE, 0, 0},
    {"stuffed dot", B("a\r\n..\r\n.\r\n"), ENDDATA_COMPLETE, ENDDATA_COMPLETE, 10, 10},
    {"stuffed text", B("a\r\n..b\r\n.\r\n"), ENDDATA_COMPLETE, ENDDATA_COMPLETE, 11, 11},
    {"dot in a line", B("a.\r\nb\r\n.\r\n"), ENDDATA_COMPLETE, ENDDATA_COMPLETE, 10, 10},
    {"dots at line starts only", B("a\r\n.b\r\n.c.\r\n.\r\n"), ENDDATA_COMPLETE, ENDDATA_COMPLETE,
     15, 15},
    {"bare LF without a lone dot is let through", B("a\nb\n..c\r\n.\r\n"), ENDDATA_COMPLETE,
     ENDDATA_COMPLETE, 12, 12},
    {"bare CR without a lone dot is let through", B("a\rb\r.c\r\n.\r\n"), ENDDATA_COMPLETE,
     ENDDATA_COMPLETE, 11, 11},

    /* what stands before and behind the dot, in all combinations */
    {"LF . LF", B("a\n.\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 2, 5},
    {"LF . CRLF", B("a\n.\r\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 2, 6},
    {"LF . CR", B("a\n.\rQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 2, 5},
    {"LF . NUL", B("a\n.\0Q"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 2, 5},
    {"CR . LF", B("a\r.\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 2, 5},
    {"CR . CRLF", B("a\r.\r\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 2, 6},
    {"CR . CR", B("a\r.\rQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 2, 5},
    {"CR . NUL", B("a\r.\0Q"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 2, 5},
    {"CRLF . LF", B("a\r\n.\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 3, 6},
    {"CRLF . CR", B("a\r\n.\rQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 3, 6},
    {"CRLF . CRCRLF", B("a\r\n.\r\r\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 3, 8},
    {"CRLF . NUL", B("a\r\n.\0Q"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 3, 6},
    {"CRLF . NUL CRLF", B("a\r\n.\0\r\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 3, 8},
    {"CRLF . CR NUL LF", B("a\r\n.\r\0\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 3, 8},
    {"NUL . LF", B("a\0.\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 2, 5},
    {"NUL . CRLF", B("a\r\n\0.\r\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 4, 8},
    {"NUL . CR", B("a\0.\rQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 2, 5},
    {"NUL . NUL", B("a\0.\0Q"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 2, 5},
    {"LFCR . CRLF", B("a\n\r.\r\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 3, 7},
    {"CR NUL LF . CRLF", B("a\r\0\n.\r\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 4, 8},
    {"CRCRLF . CRLF is the end", B("a\r\r\n.\r\nQ"), ENDDATA_COMPLETE, ENDDATA_COMPLETE, 7, 7},
    {"look-alike at the very beginning", B(".\nQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 0, 3},
    {"look-alike at the very beginning, CR", B(".\rQ"), ENDDATA_LOOKALIKE, ENDDATA_MORE, 0, 3},
    {"end before a look-alike", B("a\r\n.\r\n.\n"), ENDDATA_COMPLETE, ENDDATA_COMPLETE, 6, 6},
    {"look-alike before the end", B("a\n.\n\r\n.\r\n"), ENDDATA_LOOKALIKE, ENDDATA_COMPLETE, 2, 9},
    {"stuffed look-alikes are none", B("a\n..\nb\r..\rc\r\n..\nd\r\n.\r\n"), ENDDATA_COMPLETE,
     ENDDATA_COMPLETE, 22, 22},
};

/* Feeds the case in pieces: data[0..a), [a..b), [b..len), what is held back first each time, as
 * the wire gives it. Returns how many bytes passed, which must be the first of the data. */
static enum enddata_found scan_in_pieces(const struct bytes *data, enum bare_newline mode, size_t a,
                                         size_t b, size_t *passed)
{
    const size_t ends[] = {a, b, data->len};
    struct enddata e;
    enum enddata_found found = ENDDATA_MORE;
    enddata_init(&e, mode);
    *passed = 0;
    for (size_t i = 0; i < 3 && found == ENDDATA_MORE; i++) {
        size_t len = ends[i] - *passed, pass = SIZE_MAX;
        char *piece = malloc(len + 1); /* of its own, so that a sanitizer sees every overrun */
        memcpy(piece, data->data + *passed, len);
        found = enddata_scan(&e, piece, len, &pass);
        free(piece);
        assert_true(pass <= len);
        if (found == ENDDATA_MORE)
            assert_true(len - pass <= 2);
        *passed += pass;
    }
    return found;
}

static void check_scan(const struct bytes *data, enum bare_newline mode, enum enddata_found want,
                       size_t want_passed)
{
    for (size_t a = 0; a <= data->len; a++) {
        for (size_t b = a; b <= data->len; b++) {
            size_t passed;
            enum enddata_found found = scan_in_pieces(data, mode, a, b, &passed);
            if (found != want || passed != want_passed)
                fail_msg("mode %d, split at %zu and %zu: found %d want %d, passed %zu want %zu",
                         mode, a, b, found, want, passed, want_passed);
        }
    }
}

static void scan_is_the_same_at_every_split(void **state)
{
    const struct scan_case *c = *state;
    check_scan(&c->data, BARE_NEWLINE_REFUSE, c->want_refuse, c->want_passed_refuse);
    check_scan(&c->data, BARE_NEWLINE_PASS, c->want_pass_mode, c->want_passed);
}

static void scan_byte_by_byte(void **state)
{
    const struct scan_case *c = *state;
    struct enddata e;
    enddata_init(&e, BARE_NEWLINE_REFUSE);
    size_t passed = 0;
    enum enddata_found found = ENDDATA_MORE;
    for (size_t have = 0; have <= c->data.len && found == ENDDATA_MORE; have++) {
        size_t pass;
        found = enddata_scan(&e, c->data.data + passed, have - passed, &pass);
        passed += pass;
    }
    assert_int_equal(found, c->want_refuse);
    assert_int_equal(passed, c->want_passed_refuse);
}

/* What may begin the end is held back, and only that. */
static const struct held_case {
    const char *name;
    struct bytes data;
    size_t want_pass;
} held_cases[] = {
    {"CRLF .", B("a\r\n."), 3},   {"CRLF . CR", B("a\r\n.\r"), 3}, {"LF .", B("a\n."), 2},
    {"CR .", B("a\r."), 2},       {"NUL .", B("a\0."), 2},         {"letter .", B("ab."), 3},
    {"CRLF ..", B("a\r\n.."), 5}, {"CRLF", B("a\r\n"), 3},         {"CR", B("a\r"), 2},
};

static void only_what_may_begin_the_end_is_held_back(void **state)
{
    const struct held_case *c = *state;
    struct enddata e;
    size_t pass;
    enddata_init(&e, BARE_NEWLINE_REFUSE);
    assert_int_equal(enddata_scan(&e, c->data.data, c->data.len, &pass), ENDDATA_MORE);
    assert_int_equal(pass, c->want_pass);
}

/* ---- normalizing ---- */

static const struct normalize_case {
    const char *name;
    struct bytes data;
    enum enddata_found want;
    size_t want_used;
    struct bytes want_out;
} normalize_cases[] = {
    {"plain", B("hello\r\n.\r\n"), ENDDATA_COMPLETE, 10, B("hello\r\n.\r\n")},
    {"empty message", B(".\r\n"), ENDDATA_COMPLETE, 3, B(".\r\n")},
    {"bytes behind the end stay", B("x\r\n.\r\nQUIT\r\n"), ENDDATA_COMPLETE, 6, B("x\r\n.\r\n")},
    {"bare LF becomes CRLF", B("a\nb\n\nc\r\n.\r\n"), ENDDATA_COMPLETE, 11,
     B("a\r\nb\r\n\r\nc\r\n.\r\n")},
    {"bare CR becomes a blank", B("a\rb\r\rc\r\r\n.\r\n"), ENDDATA_COMPLETE, 12,
     B("a b  c \r\n.\r\n")},
    {"stuffed dots stay", B("..\r\n..a\r\n.\r\n"), ENDDATA_COMPLETE, 12, B("..\r\n..a\r\n.\r\n")},
    {"dot that begins a text line stays", B(".a\r\n.\r\n"), ENDDATA_COMPLETE, 7, B(".a\r\n.\r\n")},
    {"LF . LF is stuffed", B("a\n.\nb"), ENDDATA_MORE, 5, B("a\r\n..\r\nb")},
    {"LF . CRLF is stuffed", B("a\n.\r\nb"), ENDDATA_MORE, 6, B("a\r\n..\r\nb")},
    {"LF . CR is stuffed", B("a\n.\rb"), ENDDATA_MORE, 5, B("a\r\n.. b")},
    {"LF . NUL is stuffed", B("a\n.\0b"), ENDDATA_MORE, 5, B("a\r\n.. b")},
    {"CRLF . LF is stuffed", B("a\r\n.\nb"), ENDDATA_MORE, 6, B("a\r\n..\r\nb")},
    {"CRLF . CR is stuffed", B("a\r\n.\rb"), ENDDATA_MORE, 6, B("a\r\n.. b")},
    {"CRLF . CRCRLF is stuffed", B("a\r\n.\r\r\nb"), ENDDATA_MORE, 8, B("a\r\n.. \r\nb")},
    {"CRLF . NUL CRLF is stuffed", B("a\r\n.\0\r\nb"), ENDDATA_MORE, 8, B("a\r\n.. \r\nb")},
    {"NUL becomes a blank", B("a\0b\0\r\n.\r\n"), ENDDATA_COMPLETE, 9, B("a b \r\n.\r\n")},
    {"CRLF NUL . CRLF is no line start any more", B("a\r\n\0.\r\nb"), ENDDATA_MORE, 8,
     B("a\r\n .\r\nb")},
    {"CR . CRLF is no line start any more", B("a\r.\r\nb"), ENDDATA_MORE, 6, B("a .\r\nb")},
    {"CR . LF is no line start any more", B("a\r.\nb"), ENDDATA_MORE, 5, B("a .\r\nb")},
    {"LFCR . CRLF", B("a\n\r.\r\nb"), ENDDATA_MORE, 7, B("a\r\n .\r\nb")},
    {"look-alike first, end later", B("a\n.\r\nb\r\n.\r\nQ"), ENDDATA_COMPLETE, 11,
     B("a\r\n..\r\nb\r\n.\r\n")},
    {"look-alike at the very beginning", B(".\nb"), ENDDATA_MORE, 3, B("..\r\nb")},
};

enum { OUT_SIZE = 256 };

/* As scan_in_pieces, and collects what was written. */
static enum enddata_found normalize_in_pieces(const struct bytes *data, size_t a, size_t b,
                                              size_t *used, char *out, size_t *written)
{
    const size_t ends[] = {a, b, data->len};
    struct enddata e;
    enum enddata_found found = ENDDATA_MORE;
    enddata_init(&e, BARE_NEWLINE_NORMALIZE);
    *used = *written = 0;
    for (size_t i = 0; i < 3 && found == ENDDATA_MORE; i++) {
        size_t len = ends[i] - *used, u = SIZE_MAX, w = SIZE_MAX;
        char *piece = malloc(len + 1), *made = malloc(2 * len + 2);
        memcpy(piece, data->data + *used, len);
        found = enddata_normalize(&e, piece, len, &u, made, &w);
        assert_true(u <= len);
        assert_true(w <= 2 * len + 2);
        assert_true(*written + w <= OUT_SIZE);
        if (found == ENDDATA_MORE)
            assert_true(len - u <= 2);
        memcpy(out + *written, made, w);
        *used += u;
        *written += w;
        free(piece);
        free(made);
    }
    return found;
}

static void assert_no_bare_newline(const char *out, size_t len)
{
    assert_null(memchr(out, '\0', len));
    for (size_t i = 0; i < len; i++) {
        if (out[i] == '\n')
            assert_true(i > 0 && out[i - 1] == '\r');
        if (out[i] == '\r')
            assert_true(i + 1 < len && out[i + 1] == '\n');
    }
}

static void normalize_is_the_same_at_every_split(void **state)
{
    const struct normalize_case *c = *state;
    for (size_t a = 0; a <= c->data.len; a++) {
        for (size_t b = a; b <= c->data.len; b++) {
            char out[OUT_SIZE];
            size_t used, written;
            enum enddata_found found = normalize_in_pieces(&c->data, a, b, &used, out, &written);
            assert_int_equal(found, c->want);
            assert_int_equal(used, c->want_used);
            assert_bytes(out, written, c->want_out.data, c->want_out.len);
            assert_no_bare_newline(out, written);
        }
    }
}

/* RFC 5321 §4.1.1.4 and the look-alikes, as a whole alphabet: nothing but CRLF.CRLF passes. */
static void no_lookalike_of_any_form_passes(void **state)
{
    static const char letters[] = {'\r', '\n', '\0', '.', 'x'};
    enum { N = sizeof letters, PLACES = 7 };
    (void)state;
    size_t count = 1;
    for (int i = 0; i < PLACES; i++)
        count *= N;
    for (size_t n = 0; n < count; n++) {
        char text[PLACES + 3] = {'\0'};
        size_t rest = n, pass;
        struct enddata e;
        for (int i = 0; i < PLACES; i++, rest /= N)
            text[i] = letters[rest % N];
        memcpy(text + PLACES, "xyz", 3); /* nothing may be held back at the end */
        enddata_init(&e, BARE_NEWLINE_REFUSE);
        enum enddata_found found = enddata_scan(&e, text, sizeof text, &pass);
        size_t end = found == ENDDATA_COMPLETE ? pass - 3 : pass; /* without the real end */
        for (size_t i = 0; i < end; i++) {
            bool left = i == 0 || strchr("\r\n", text[i - 1]) != NULL; /* NUL is found too */
            bool right = i + 1 < end && strchr("\r\n", text[i + 1]) != NULL;
            if (text[i] == '.' && left && right)
                fail_msg("a lone dot passed at %zu of text %zu", i, n);
        }
        if (found == ENDDATA_COMPLETE) {
            assert_memory_equal(text + end, ".\r\n", 3);
            assert_true(end == 0 || (end >= 2 && memcmp(text + end - 2, "\r\n", 2) == 0));
        }
    }
}

static void large_block_without_dots_passes_whole(void **state)
{
    (void)state;
    enum { SIZE = 1024 * 1024 };
    char *block = malloc(SIZE);
    struct enddata e;
    size_t pass;
    memset(block, 'A', SIZE);
    enddata_init(&e, BARE_NEWLINE_REFUSE);
    assert_int_equal(enddata_scan(&e, block, SIZE, &pass), ENDDATA_MORE);
    assert_int_equal(pass, SIZE);
    assert_int_equal(enddata_scan(&e, "\r\n.\r\n", 5, &pass), ENDDATA_COMPLETE);
    assert_int_equal(pass, 5);
    free(block);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, scan_is_the_same_at_every_split, scan_cases);
    UNIT_ADD_TABLE(&u, scan_byte_by_byte, scan_cases);
    UNIT_ADD_TABLE(&u, only_what_may_begin_the_end_is_held_back, held_cases);
    UNIT_ADD_TABLE(&u, normalize_is_the_same_at_every_split, normalize_cases);
    unit_add(&u, "no look-alike of any form passes", no_lookalike_of_any_form_passes, NULL);
    unit_add(&u, "large block without dots", large_block_without_dots_passes_whole, NULL);
    return unit_run(&u, "enddata");
}
