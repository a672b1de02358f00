/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "protocols/match.h"

static const struct bad_case {
    const char *name, *text, *want_error; /* want_error: a part of the sentence */
} bad_cases[] = {
    {"empty", "", "written /expression/"},
    {"one delimiter", "/", "written /expression/"},
    {"no second delimiter", "/abc", "written /expression/"},
    {"letter as delimiter", "abca", "written /expression/"},
    {"digit as delimiter", "1abc1", "written /expression/"},
    {"blank as delimiter", " abc ", "written /expression/"},
    {"different delimiters", "/abc!", "written /expression/"},
    {"unknown flag", "/abc/q", "unknown flag in \"q\""},
    {"unknown flag behind a known one", "/abc/iz", "unknown flag in \"iz\""},
    {"upper case is another flag", "/abc/I", "unknown flag"},
    {"trailing blank", "/abc/ ", "unknown flag"},
    {"open parenthesis", "/a(b/", "at position 4"},
    {"nothing to repeat", "/*a/", "at position"},
    {"open class", "/[a/", "at position"},
    {"number of repeats too large", "/a{70000}/", "at position"},
};

static void bad_pattern_is_explained(void **state)
{
    const struct bad_case *c = *state;
    char error[256] = "";
    struct pattern *p = pattern_create(c->text, error, sizeof error);
    assert_null(p);
    if (strstr(error, c->want_error) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error, c->want_error);
}

static void explanation_fits_a_small_buffer(void **state)
{
    (void)state;
    char error[9] = "12345678";
    assert_null(pattern_create("/abc", error, 8));
    assert_int_equal(strlen(error), 7);
    assert_int_equal(error[8], '\0');
}

static const struct match_case {
    const char *name, *pattern;
    struct bytes subject;
    bool want;
} match_cases[] = {
    {"found in the middle", "/b/", B("abc"), true},
    {"not found", "/d/", B("abc"), false},
    {"case is ignored", "/^starttls$/", B("STARTTLS"), true},
    {"flag i turns that off", "/^starttls$/i", B("STARTTLS"), false},
    {"flag i twice turns it on again", "/^starttls$/ii", B("STARTTLS"), true},
    {"flag x ignores blanks of the pattern", "/a b/x", B("ab"), true},
    {"without x blanks count", "/a b/", B("ab"), false},
    {"flag m: anchors at inner lines", "/^b$/m", B("a\nb\nc"), true},
    {"without m anchors are of the whole", "/^b$/", B("a\nb\nc"), false},
    {"all flags", "/^ B $/imx", B("a\nB"), true},
    {"other delimiter", "!^/a!", B("/a"), true},
    {"the last delimiter ends the pattern", "/a/b/", B("a/b"), true},
    {"empty pattern is found everywhere", "//", B(""), true},
    {"NUL in the subject", "/^a.b$/", B("a\0b"), true},
    {"the subject's length is respected", "/c/", {"abc", 2}, false},
    {"alternatives", "/^(8BITMIME|SIZE)\\b/", B("SIZE 1000"), true},
    {"bytes that are not UTF-8", "/^\\xff$/", B("\xff"), true},
};

static void subject_is_matched(void **state)
{
    const struct match_case *c = *state;
    char error[256];
    struct pattern *p = pattern_create(c->pattern, error, sizeof error);
    if (p == NULL)
        fail_msg("%s", error);
    for (int on_limit = 0; on_limit <= 1; on_limit++) /* neither answer meets the limit */
        assert_int_equal(pattern_matches(p, c->subject.data, c->subject.len, on_limit), c->want);
    pattern_destroy(p);
}

/* A pattern whose time grows without bounds: the limit ends it, and the caller's answer counts. */
static void limit_gives_the_answer_of_the_caller(void **state)
{
    (void)state;
    char error[256], subject[64];
    memset(subject, 'a', sizeof subject);
    struct pattern *p = pattern_create("/^(a+)*(a+)*(a+)*[bc]d/", error, sizeof error);
    assert_non_null(p);
    memcpy(subject + sizeof subject - 3, "bxd", 3); /* all letters are there, in a wrong order */
    assert_true(pattern_matches(p, subject, sizeof subject, true));
    assert_false(pattern_matches(p, subject, sizeof subject, false));
    assert_true(pattern_matches(p, "aabd", 4, false)); /* usable afterwards */
    pattern_destroy(p);
}

static void list_is_tried_in_order(void **state)
{
    (void)state;
    char error[256];
    struct pattern *items[] = {pattern_create("/^a$/", error, sizeof error),
                               pattern_create("/^b$/", error, sizeof error)};
    const struct pattern_list list = {items, 2}, none = {NULL, 0};
    assert_true(pattern_list_matches(&list, "a", 1, false));
    assert_true(pattern_list_matches(&list, "b", 1, false));
    assert_false(pattern_list_matches(&list, "c", 1, false));
    assert_false(pattern_list_matches(&none, "a", 1, true));
    pattern_destroy(items[0]);
    pattern_destroy(items[1]);
    pattern_destroy(NULL);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, bad_pattern_is_explained, bad_cases);
    unit_add(&u, "explanation fits a small buffer", explanation_fits_a_small_buffer, NULL);
    UNIT_ADD_TABLE(&u, subject_is_matched, match_cases);
    unit_add(&u, "limit", limit_gives_the_answer_of_the_caller, NULL);
    unit_add(&u, "list", list_is_tried_in_order, NULL);
    return unit_run(&u, "match");
}
