/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "proxy/arguments.h"

static const char *const names[] = {"IP", "PORT", "UNSET", NULL};
static const char *const values[] = {"192.0.2.1", "a b'\"\\${PORT}", NULL};

enum { WORDS = 8 };

static const struct good_case {
    const char *name, *text;
    const char *want[WORDS];
} good_cases[] = {
    {"one word", "exim4", {"exim4"}},
    {"several words", "exim4 -C /etc/x -bs", {"exim4", "-C", "/etc/x", "-bs"}},
    {"blanks and tabs in a row", " a \t\tb  ", {"a", "b"}},
    {"single quotes", "a 'b c' d", {"a", "b c", "d"}},
    {"double quotes", "a \"b c\" d", {"a", "b c", "d"}},
    {"quotes within a word", "a'b c'd\"e f\"g", {"ab cde fg"}},
    {"empty words", "'' \"\" a ''", {"", "", "a", ""}},
    {"empty quotes in a word add nothing", "a''b\"\"", {"ab"}},
    {"backslash and blank", "a\\ b c", {"a b", "c"}},
    {"backslash and quotes", "\\'a\\\" b", {"'a\"", "b"}},
    {"backslash and backslash", "a\\\\b", {"a\\b"}},
    {"backslash and a letter", "a\\bc", {"abc"}},
    {"single quotes keep backslashes", "'a\\b\\'", {"a\\b\\"}},
    {"single quotes keep double ones", "'\"'", {"\""}},
    {"double quotes keep single ones", "\"'\"", {"'"}},
    {"double quotes and the four escapes", "\"\\\" \\\\ \\$ \\`\"", {"\" \\ $ `"}},
    {"double quotes keep other backslashes", "\"\\n\\'\"", {"\\n\\'"}},
    {"nothing else is special",
     "a;b|c&d <e >f *.? #g ~",
     {"a;b|c&d", "<e", ">f", "*.?", "#g", "~"}},
    {"commands are text", "`id` x", {"`id`", "x"}},
    {"bytes above 127", "gr\xc3\xbc\xc3\x9f", {"gr\xc3\xbc\xc3\x9f"}},
    {"a value", "${IP}", {"192.0.2.1"}},
    {"values within a word", "x${IP}.${IP}y", {"x192.0.2.1.192.0.2.1y"}},
    {"a value in double quotes", "\"<${IP}>\"", {"<192.0.2.1>"}},
    {"a value is not split, not unquoted, not filled",
     "a ${PORT} b",
     {"a", "a b'\"\\${PORT}", "b"}},
    {"a value that is not there is an empty word", "a ${UNSET} b", {"a", "", "b"}},
    {"a value that is not there within a word", "a${UNSET}b", {"ab"}},
    {"no value in single quotes", "'${IP} $x'", {"${IP} $x"}},
    {"no value behind a backslash", "\\${IP}", {"${IP}"}},
    {"a } alone is text", "} {a}", {"}", "{a}"}},
};

static void test_good(void **state)
{
    const struct good_case *c = *state;
    struct argument_list a;
    char error[128];
    if (!arguments_parse(&a, c->text, names, error, sizeof error))
        fail_msg("%s", error);
    char **argv = arguments_fill(&a, values);
    size_t n = 0;
    for (; argv[n] != NULL; n++) {
        assert_true(n < WORDS && c->want[n] != NULL);
        assert_string_equal(argv[n], c->want[n]);
    }
    assert_null(n < WORDS ? c->want[n] : NULL);
    arguments_release(argv);
    arguments_finish(&a);
}

static const struct bad_case {
    const char *name, *text, *want;
} bad_cases[] = {
    {"open single quote", "a 'b", "'"},
    {"open double quote", "a \"b", "\""},
    {"double quote closed by a backslash only", "\"a\\\"", "\""},
    {"backslash at the end", "a\\", "backslash"},
    {"unknown name", "a ${HOME}", "${HOME}"},
    {"name that begins like another", "${I}", "${I}"},
    {"name that another begins like", "${IPX}", "${IPX}"},
    {"lower case", "${ip}", "${ip}"},
    {"empty name", "${}", "${}"},
    {"very long name",
     "${aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}",
     "${aaaa"},
    {"unknown name in double quotes", "\"${HOME}\"", "${HOME}"},
    {"open brace", "${IP", "}"},
    {"variable without braces", "$IP", "${NAME}"},
    {"variable without braces in double quotes", "\"$IP\"", "${NAME}"},
    {"dollar at the end", "a$", "${NAME}"},
    {"a command", "$(id)", "${NAME}"},
    {"nothing", "", "no word"},
    {"only blanks", " \t ", "no word"},
};

static void test_bad(void **state)
{
    const struct bad_case *c = *state;
    struct argument_list a;
    char error[128] = "";
    assert_false(arguments_parse(&a, c->text, names, error, sizeof error));
    if (strstr(error, c->want) == NULL)
        fail_msg("\"%s\" does not mention \"%s\"", error, c->want);
    assert_int_equal(a.count, 0);
}

static void test_single_word_is_kept_as_it_is(void **state)
{
    struct argument_list a;
    (void)state;
    arguments_set(&a, "/opt/my program ${IP}");
    char **argv = arguments_fill(&a, values);
    assert_string_equal(argv[0], "/opt/my program ${IP}");
    assert_null(argv[1]);
    arguments_release(argv);
    arguments_finish(&a);
}

static void test_use_is_known(void **state)
{
    struct argument_list a;
    char error[128];
    (void)state;
    assert_true(arguments_parse(&a, "x a${PORT} '${IP}'", names, error, sizeof error));
    assert_false(arguments_use(&a, 0));
    assert_true(arguments_use(&a, 1));
    assert_false(arguments_use(&a, 2));
    arguments_finish(&a);
}

static const struct first_case {
    const char *name, *text, *want;
} first_cases[] = {
    {"one word", "/bin/true", "/bin/true"},
    {"several", "/bin/true a b", "/bin/true"},
    {"quotes", "'/opt/my 'program\\ x a", "/opt/my program x"},
    {"a value in it", "/bin/${IP} a", NULL},
    {"a value alone", "${IP}", NULL},
    {"the empty word", "'' a", NULL},
};

static void test_first(void **state)
{
    const struct first_case *c = *state;
    struct argument_list a;
    char error[128];
    assert_true(arguments_parse(&a, c->text, names, error, sizeof error));
    const char *first = arguments_first(&a);
    assert_int_equal(first != NULL, c->want != NULL);
    if (c->want != NULL)
        assert_string_equal(first, c->want);
    arguments_finish(&a);
    assert_null(arguments_first(&a));
}

int main(void)
{
    static struct unit u;
    UNIT_ADD_TABLE(&u, test_good, good_cases);
    UNIT_ADD_TABLE(&u, test_bad, bad_cases);
    UNIT_ADD_TABLE(&u, test_first, first_cases);
    unit_add(&u, "single word is kept as it is", test_single_word_is_kept_as_it_is, NULL);
    unit_add(&u, "use is known", test_use_is_known, NULL);
    return unit_run(&u, "arguments");
}
