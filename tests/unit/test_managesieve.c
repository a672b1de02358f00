/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "protocols/managesieve_list.h"
#include "protocols/managesieve_syntax.h"

/* ---- pieces ---- */

static const struct piece_case {
    const char *name;
    struct bytes text;
    bool behind;
    enum sieve_piece client, server;
    size_t literal; /* where it goes on */
} piece_cases[] = {
    {"atom", B("NOOP"), false, SIEVE_ENDS, SIEVE_ENDS, 0},
    {"atom and string", B("NOOP \"a b\""), false, SIEVE_ENDS, SIEVE_ENDS, 0},
    {"string alone", B("\"x\""), false, SIEVE_ENDS, SIEVE_ENDS, 0},
    {"number", B("HAVESPACE \"x\" 99"), false, SIEVE_ENDS, SIEVE_ENDS, 0},
    {"literal of a client", B("NOOP {8+}"), false, SIEVE_GOES_ON, SIEVE_GOES_ON, 8},
    {"literal of a server", B("NO {8}"), false, SIEVE_BAD, SIEVE_GOES_ON, 8},
    {"literal alone", B("{8+}"), false, SIEVE_GOES_ON, SIEVE_GOES_ON, 8},
    {"literal of nothing", B("NOOP {0+}"), false, SIEVE_GOES_ON, SIEVE_GOES_ON, 0},
    {"literal of nine digits", B("X {999999999+}"), false, SIEVE_GOES_ON, SIEVE_GOES_ON, 999999999},
    {"literal of ten digits", B("X {9999999999+}"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal with a zero in front", B("X {08+}"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal of two zeros", B("X {00+}"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal without a number", B("X {+}"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal that is negative", B("X {-1+}"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal with two signs", B("X {1++}"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal with a blank", B("X {1 +}"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal without an end", B("X {1+"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal that does not end the line", B("X {1+} y"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal and a blank", B("X {1+} "), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal and CR", B("X {1+}\r"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal stuck to an atom", B("X{1+}"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal within quotes", B("X \"{1+}\""), false, SIEVE_ENDS, SIEVE_ENDS, 0},
    {"literal behind an open quote", B("X \"{1+}"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal behind an escaped quote", B("X \"\\\"{1+}"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"closing brace is an atom's", B("X 1+}"), false, SIEVE_ENDS, SIEVE_ENDS, 0},
    {"escaped quote", B("X \"a\\\"b\""), false, SIEVE_ENDS, SIEVE_ENDS, 0},
    {"escaped backslash", B("X \"a\\\\\""), false, SIEVE_ENDS, SIEVE_ENDS, 0},
    {"backslash at the end", B("X \"a\\"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"quote that is open", B("X \"a"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"quote alone", B("\""), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"strings stuck together", B("\"a\"\"b\""), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"UTF-8 in quotes", B("X \"\xc3\xa4\""), false, SIEVE_ENDS, SIEVE_ENDS, 0},
    {"UTF-8 in an atom", B("X \xc3\xa4"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"NUL in quotes", B("X \"\0\""), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"escaped NUL", B("X \"\\\0\""), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"CR in quotes", B("X \"\r\""), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"tab", B("X\ty"), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"empty", B(""), false, SIEVE_BAD, SIEVE_BAD, 0},
    {"blank in front", B(" X"), false, SIEVE_BAD, SIEVE_ENDS, 0},
    {"blank at the end", B("X "), false, SIEVE_BAD, SIEVE_ENDS, 0},
    {"two blanks", B("X  y"), false, SIEVE_BAD, SIEVE_ENDS, 0},
    {"parentheses", B("OK (TAG \"x\") \"Done\""), false, SIEVE_BAD, SIEVE_ENDS, 0},
    {"literal in parentheses", B("OK (TAG {3}"), false, SIEVE_BAD, SIEVE_GOES_ON, 3},
    {"nothing behind a literal", B(""), true, SIEVE_ENDS, SIEVE_ENDS, 0},
    {"string behind a literal", B(" \"x\""), true, SIEVE_ENDS, SIEVE_ENDS, 0},
    {"literal behind a literal", B(" {2+}"), true, SIEVE_GOES_ON, SIEVE_GOES_ON, 2},
    {"parenthesis behind a literal", B(") \"x\""), true, SIEVE_BAD, SIEVE_ENDS, 0},
    {"atom stuck to a literal", B("x"), true, SIEVE_BAD, SIEVE_BAD, 0},
    {"string stuck to a literal", B("\"x\""), true, SIEVE_BAD, SIEVE_BAD, 0},
    {"literal stuck to a literal", B("{2+}"), true, SIEVE_BAD, SIEVE_BAD, 0},
    {"blank behind a literal", B(" "), true, SIEVE_BAD, SIEVE_ENDS, 0},
    {"two blanks behind a literal", B("  x"), true, SIEVE_BAD, SIEVE_ENDS, 0},
};

static void piece_is(void **state)
{
    const struct piece_case *c = *state;
    size_t literal;
    assert_int_equal(sieve_read_piece(c->text.data, c->text.len, SIEVE_CLIENT, c->behind, &literal),
                     c->client);
    if (c->client == SIEVE_GOES_ON)
        assert_int_equal(literal, c->literal);
    assert_int_equal(sieve_read_piece(c->text.data, c->text.len, SIEVE_SERVER, c->behind, &literal),
                     c->server);
    if (c->server == SIEVE_GOES_ON)
        assert_int_equal(literal, c->literal);
}

static const struct length_case {
    const char *name;
    struct bytes data;
    size_t want;
} length_cases[] = {
    {"one line", B("NOOP\r\nLOGOUT\r\n"), 6},
    {"bare LF", B("NOOP\nLOGOUT\r\n"), 5},
    {"line with a literal", B("NOOP {8+}\r\nLOGOUT\r\n\r\nX"), 21},
    {"two literals", B("X {1+}\r\n\r {1+}\r\n\n\r\n"), 19},
    {"literal of line ends", B("NOOP {2+}\r\n\r\n\r\nX"), 15},
    {"line without end", B("NOOP"), 0},
    {"literal that is not whole", B("NOOP {8+}\r\nLOGOUT\r"), 0},
    {"literal without what follows", B("NOOP {2+}\r\nab"), 0},
    {"bad line", B("NOOP {8}\r\nLOGOUT\r\n\r\n"), 0},
    {"bad piece behind a literal", B("NOOP {2+}\r\nabc\r\n"), 0},
    {"nothing", B(""), 0},
};

static void line_has_length(void **state)
{
    const struct length_case *c = *state;
    assert_int_equal(sieve_line_length(c->data.data, c->data.len, SIEVE_CLIENT), c->want);
}

/* ---- what clients say ---- */

static const struct command_case {
    const char *name;
    struct bytes line; /* without its end */
    const char *verb;  /* NULL: none */
    struct bytes args;
} command_cases[] = {
    {"verb alone", B("logout"), "LOGOUT", B("")},
    {"verb and argument", B("Noop \"a\""), "NOOP", B("\"a\"")},
    {"literal of line ends", B("NOOP {2+}\r\n\r\n"), "NOOP", B("{2+}\r\n\r\n")},
    {"verb of 32 letters", B("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 x"),
     "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345", B("x")},
    {"verb of 33 letters", B("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456"), NULL, B("")},
    {"string", B("\"NOOP\""), NULL, B("")},
    {"literal", B("{4+}\r\nNOOP"), NULL, B("")},
    {"odd atom", B("NO.OP"), NULL, B("")},
};

static void command_is_parsed(void **state)
{
    const struct command_case *c = *state;
    struct command out;
    bool good = sieve_parse_command(c->line.data, c->line.len, &out);
    assert_int_equal(good, c->verb != NULL);
    if (!good)
        return;
    assert_string_equal(out.verb, c->verb);
    assert_bytes(out.args, out.args_len, c->args.data, c->args.len);
}

static const struct args_case {
    const char *name;
    struct bytes args;
    bool harmless, answer;
    const char *mechanism; /* what is wrong with it; NULL: nothing */
} args_cases[] = {
    {"nothing", B(""), true, false, "needs a mechanism"},
    {"string", B("\"PLAIN\""), true, true, NULL},
    {"empty string", B("\"\""), true, true, "needs a mechanism"},
    {"literal", B("{5+}\r\nPLAIN"), true, true, NULL},
    {"mechanism and response", B("\"PLAIN\" \"AGpvZQBz\""), false, false, NULL},
    {"mechanism and empty response", B("\"PLAIN\" \"\""), false, false, NULL},
    {"mechanism and literal", B("\"PLAIN\" {4+}\r\nAG+/"), false, false, NULL},
    {"response with a line end", B("\"PLAIN\" {4+}\r\nAG\r\n"), false, false, "not base64"},
    {"response that is an atom", B("\"PLAIN\" AG"), false, false, "not base64"},
    {"three arguments", B("\"PLAIN\" \"\" \"\""), false, false, "two arguments"},
    {"atom", B("PLAIN"), false, false, "needs a mechanism"},
    {"mechanism with a blank", B("\"PL AIN\""), true, false, "needs a mechanism"},
    {"mechanism with a quote", B("\"PL\\\"\""), true, false, "needs a mechanism"},
    {"mechanism with a line end", B("{7+}\r\nPLAIN\r\n"), false, false, "needs a mechanism"},
    {"bound mechanism", B("\"SCRAM-SHA-1-plus\""), true, false, "not available"},
    {"bound mechanism as a literal", B("{6+}\r\nX-PLUS"), true, false, "not available"},
    {"mechanism that begins with plus", B("\"PLUS-X\""), true, false, NULL},
    {"cancellation", B("\"*\""), true, true, "needs a mechanism"},
    {"cancellation as a literal", B("{1+}\r\n*"), true, true, "needs a mechanism"},
    {"two stars", B("\"**\""), true, false, "needs a mechanism"},
    {"base64", B("\"ab+/==\""), true, true, "needs a mechanism"},
    {"line end", B("{2+}\r\n\r\n"), false, false, "needs a mechanism"},
    {"tab", B("\"\t\""), false, false, "needs a mechanism"},
    {"DEL", B("\"\x7f\""), false, false, "needs a mechanism"},
    {"UTF-8", B("\"\xc3\xa4\""), true, false, "needs a mechanism"},
};

static void arguments_are(void **state)
{
    const struct args_case *c = *state;
    const char *wrong = sieve_mind_mechanism(c->args.data, c->args.len);
    assert_int_equal(sieve_is_harmless_string(c->args.data, c->args.len), c->harmless);
    assert_int_equal(sieve_is_answer(c->args.data, c->args.len), c->answer);
    if (c->mechanism == NULL)
        assert_null(wrong);
    else
        assert_true(wrong != NULL && strstr(wrong, c->mechanism) != NULL);
}

static const struct literal_case {
    const char *name;
    struct bytes line, want;
    size_t end;
} literal_cases[] = {
    {"no literal", B("NOOP \"{1+}\"\r\n"), B("NOOP \"{1+}\"\r\n"), 2},
    {"verb alone and bare LF", B("NOOP\n"), B("NOOP\n"), 1},
    {"literal", B("NOOP {6+}\r\nLOGOUT\r\n"), B("NOOP \"LOGOUT\"\r\n"), 2},
    {"empty literal", B("NOOP {0+}\r\n\r\n"), B("NOOP \"\"\r\n"), 2},
    {"two literals", B("X {1+}\r\na {1+}\nb\n"), B("X \"a\" \"b\"\n"), 1},
    {"literal alone", B("{4+}\r\nNOOP\r\n"), B("\"NOOP\"\r\n"), 2},
    {"literal and what is behind it", B("X {1+}\r\na \"b\" c\r\n"), B("X \"a\" \"b\" c\r\n"), 2},
    {"quote and backslash", B("X {2+}\r\n\"\\\r\n"), B("X \"\\\"\\\\\"\r\n"), 2},
    {"announcement in a literal", B("X {4+}\r\n{9+}\r\n"), B("X \"{9+}\"\r\n"), 2},
    {"line end", B("X {2+}\r\n\r\n\r\n"), B("X {2+}\r\n\r\n\r\n"), 2},
    {"line end and another", B("X {1+}\r\n\n {1+}\r\na\r\n"), B("X {1+}\r\n\n \"a\"\r\n"), 2},
    {"NUL", B("X {1+}\r\n\0\r\n"), B("X {1+}\r\n\0\r\n"), 2},
    {"CR before a bare LF", B("X {2+}\r\na\r\n"), B("X {2+}\r\na\r\n"), 1},
};

static void literals_become_quoted(void **state)
{
    const struct literal_case *c = *state;
    struct reply out = {0};
    assert_int_equal(sieve_append_in_quotes(&out, c->line.data, c->line.len), c->end);
    assert_bytes(out.bytes, out.len, c->want.data, c->want.len);
    reply_finish(&out);
}

/* ---- what servers say ---- */

static const struct answer_case {
    const char *name;
    struct bytes line;
    enum answer want;
} answer_cases[] = {
    {"OK", B("OK\r\n"), ANSWER_OK},
    {"OK in lower case", B("ok \"x\"\r\n"), ANSWER_OK},
    {"OK with a code", B("OK (TAG {2}\r\nNO) \"x\"\r\n"), ANSWER_OK},
    {"NO", B("NO (QUOTA/MAXSIZE) \"x\"\r\n"), ANSWER_NO},
    {"BYE", B("BYE {3}\r\nabc\r\n"), ANSWER_BYE},
    {"OKAY", B("OKAY\r\n"), ANSWER_NONSENSE},
    {"\"OK\"", B("\"OK\"\r\n"), ANSWER_CONTINUE},
    {"literal OK", B("{2}\r\nOK\r\n"), ANSWER_CONTINUE},
    {"capability", B("\"SASL\" \"PLAIN\"\r\n"), ANSWER_CONTINUE},
    {"three strings", B("\"A\" \"B\" \"C\"\r\n"), ANSWER_NONSENSE},
    {"string and atom", B("\"MAXREDIRECTS\" 4\r\n"), ANSWER_NONSENSE},
    {"number", B("220 ready\r\n"), ANSWER_NONSENSE},
    {"parenthesis", B("(OK)\r\n"), ANSWER_NONSENSE},
};

static void answer_is(void **state)
{
    const struct answer_case *c = *state;
    assert_int_equal(sieve_answer_of(c->line.data, c->line.len), c->want);
}

static char version[] = "VERSION", redirects[] = "MAXREDIRECTS 4", old[] = "MAXREDIRECTS",
            language[] = "LANGUAGE", odd[] = "OWNER a\"b\\c", starttls[] = "STARTTLS";
static char *hides_version[] = {version}, *adds_redirects[] = {redirects}, *hides_old[] = {old},
            *adds_language[] = {language}, *adds_odd[] = {odd}, *hides_starttls[] = {starttls};
static const struct capability_edit hide_version = {.hide = hides_version, .n_hide = 1},
                                    replace = {.hide = hides_old,
                                               .n_hide = 1,
                                               .add = adds_redirects,
                                               .n_add = 1},
                                    hide_old = {.hide = hides_old, .n_hide = 1},
                                    add_language = {.add = adds_language, .n_add = 1},
                                    add_odd = {.add = adds_odd, .n_add = 1},
                                    hide_starttls = {.hide = hides_starttls, .n_hide = 1};

static const struct list_case {
    const char *name;
    struct bytes in;
    bool offer, hide_login;
    const char *pattern; /* NULL: none */
    const struct capability_edit *edits[2];
    struct bytes want;
} list_cases[] = {
    {"nothing to do",
     B("\"SASL\" \"PLAIN\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("\"SASL\" \"PLAIN\"\r\nOK\r\n")},
    {"STARTTLS is offered",
     B("\"VERSION\" \"1.0\"\r\nOK \"x\"\r\n"),
     true,
     false,
     NULL,
     {0},
     B("\"VERSION\" \"1.0\"\r\n\"STARTTLS\"\r\nOK \"x\"\r\n")},
    {"STARTTLS is offered where nothing else is",
     B("OK\r\n"),
     true,
     false,
     NULL,
     {0},
     B("\"STARTTLS\"\r\nOK\r\n")},
    {"something is added where nothing else is",
     B("OK\r\n"),
     false,
     false,
     NULL,
     {&add_language},
     B("\"LANGUAGE\"\r\nOK\r\n")},
    {"nothing has a name", B("\"\"\r\nOK\r\n"), false, false, "/x/", {0}, B("\"\"\r\nOK\r\n")},
    {"nothing is offered before BYE",
     B("BYE\r\n"),
     true,
     false,
     NULL,
     {&add_language},
     B("BYE\r\n")},
    {"nothing is offered before NO", B("NO\r\n"), true, false, NULL, {&add_language}, B("NO\r\n")},
    {"STARTTLS of the backend", B("\"starttls\"\r\nOK\r\n"), false, false, NULL, {0}, B("OK\r\n")},
    {"STARTTLS as a literal",
     B("{8}\r\nSTARTTLS\r\nOK\r\n"),
     true,
     false,
     NULL,
     {0},
     B("\"STARTTLS\"\r\nOK\r\n")},
    {"STARTTLS with a backslash",
     B("\"START\\TLS\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("OK\r\n")},
    {"STARTTLS with a value",
     B("\"STARTTLS\" \"x\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("OK\r\n")},
    {"STARTTLS with blanks around",
     B("\" STARTTLS \"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("OK\r\n")},
    {"STARTTLSX stays",
     B("\"STARTTLSX\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("\"STARTTLSX\"\r\nOK\r\n")},
    {"STARTTLS as a value stays",
     B("\"X\" \"STARTTLS\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("\"X\" \"STARTTLS\"\r\nOK\r\n")},
    {"STARTTLS that a rule hides is offered",
     B("OK\r\n"),
     true,
     false,
     NULL,
     {&hide_starttls},
     B("\"STARTTLS\"\r\nOK\r\n")},
    {"XCLIENT",
     B("\"XCLIENT\"\r\n\"XCLIENT\" \"ADDR\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("OK\r\n")},
    {"login is hidden",
     B("\"sasl\" \"PLAIN\"\r\nOK\r\n"),
     false,
     true,
     NULL,
     {0},
     B("\"SASL\" \"\"\r\nOK\r\n")},
    {"login as literals is hidden",
     B("{4}\r\nSASL {5}\r\nPLAIN\r\nOK\r\n"),
     false,
     true,
     NULL,
     {0},
     B("\"SASL\" \"\"\r\nOK\r\n")},
    {"no login is hidden",
     B("\"SASL\" \"\"\r\nOK\r\n"),
     false,
     true,
     NULL,
     {0},
     B("\"SASL\" \"\"\r\nOK\r\n")},
    {"bound mechanisms",
     B("\"SASL\" \"A-PLUS B C-plus D\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("\"SASL\" \"B D\"\r\nOK\r\n")},
    {"bound mechanisms in a literal",
     B("\"SASL\" {8}\r\nA-PLUS B\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("\"SASL\" \"B\"\r\nOK\r\n")},
    {"bound mechanisms alone",
     B("\"SASL\" \"A-PLUS\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("\"SASL\" \"\"\r\nOK\r\n")},
    {"-PLUS elsewhere stays",
     B("\"SIEVE\" \"X-PLUS\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("\"SIEVE\" \"X-PLUS\"\r\nOK\r\n")},
    {"line end in a value",
     B("\"A\" {4}\r\nx\r\ny\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("OK\r\n")},
    {"line end at the end of a name",
     B("{3}\r\nA\r\n\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("OK\r\n")},
    {"answer in a value",
     B("\"A\" \"OK\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {0},
     B("\"A\" \"OK\"\r\nOK\r\n")},
    {"hidden by a pattern",
     B("\"SIEVE\" \"fileinto\"\r\nOK\r\n"),
     false,
     false,
     "/^SIEVE file/",
     {0},
     B("OK\r\n")},
    {"hidden by a rule",
     B("\"version\" \"1.0\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {&hide_version},
     B("OK\r\n")},
    {"replaced by a rule",
     B("\"MAXREDIRECTS\" \"9\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {&replace},
     B("\"MAXREDIRECTS\" \"4\"\r\nOK\r\n")},
    {"replaced and hidden by the next rule",
     B("\"MAXREDIRECTS\" \"9\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {&replace, &hide_old},
     B("OK\r\n")},
    {"added once",
     B("\"LANGUAGE\" \"de\"\r\nOK\r\n"),
     false,
     false,
     NULL,
     {&add_language},
     B("\"LANGUAGE\" \"de\"\r\nOK\r\n")},
    {"added without a value",
     B("OK\r\n"),
     false,
     false,
     NULL,
     {&add_language},
     B("\"LANGUAGE\"\r\nOK\r\n")},
    {"added with quotes in it",
     B("OK\r\n"),
     false,
     false,
     NULL,
     {&add_odd},
     B("\"OWNER\" \"a\\\"b\\\\c\"\r\nOK\r\n")},
    {"answer with a literal stays",
     B("OK (TAG {3}\r\n\r\nx) \"y\"\r\n"),
     false,
     false,
     NULL,
     {0},
     B("OK (TAG {3}\r\n\r\nx) \"y\"\r\n")},
};

static void list_becomes(void **state)
{
    const struct list_case *c = *state;
    char error[100];
    struct pattern *pattern = NULL;
    struct pattern_list hide = {.items = &pattern};
    struct capability_edits edits = {0};
    struct reply in = {0}, out = {0};
    if (c->pattern != NULL) {
        pattern = pattern_create(c->pattern, error, sizeof error);
        assert_non_null(pattern);
        hide.count = 1;
    }
    for (size_t i = 0; i < 2 && c->edits[i] != NULL; i++)
        edits.items[edits.count++] = c->edits[i];
    const struct sieve_rules rules = {
        .offer_starttls = c->offer, .hide_login = c->hide_login, .hide = &hide, .edits = &edits};
    reply_append(&in, c->in.data, c->in.len);
    sieve_edit_list(&in, &rules, &out);
    assert_bytes(out.bytes, out.len, c->want.data, c->want.len);
    pattern_destroy(pattern);
    reply_finish(&in);
    reply_finish(&out);
}

static const struct add_case {
    const char *name;
    const char *text;
    const char *want; /* NULL: may be added */
} add_cases[] = {
    {"keyword", "LANGUAGE", NULL},
    {"keyword with a value", "MAXREDIRECTS 4", NULL},
    {"STARTTLS", "starttls", "only the backend or ehlock"},
    {"SASL", "SASL PLAIN", "only the backend or ehlock"},
    {"XCLIENT", "XCLIENT", "only the backend or ehlock"},
    {"UNAUTHENTICATE", "UNAUTHENTICATE", "only the backend or ehlock"},
    {"quoted keyword", "\"X\"", "does not begin with a keyword"},
    {"line end", "X\r\nOK", "not printable"},
};

static void line_may_be_added(void **state)
{
    const struct add_case *c = *state;
    const char *wrong = sieve_may_add(c->text);
    if (c->want == NULL)
        assert_null(wrong);
    else
        assert_true(wrong != NULL && strstr(wrong, c->want) != NULL);
}

static const struct quoted_case {
    const char *name;
    struct bytes text;
    struct bytes want;
} quoted_cases[] = {
    {"nothing", B(""), B("\"\"")},
    {"words", B("a b"), B("\"a b\"")},
    {"quote and backslash", B("\"\\"), B("\"\\\"\\\\\"")},
    {"line end", B("a\r\nOK"), B("\"a  OK\"")},
    {"NUL", B("a\0b"), B("\"a b\"")},
    {"UTF-8", B("\xc3\xa4"), B("\"\xc3\xa4\"")},
};

static void text_is_quoted(void **state)
{
    const struct quoted_case *c = *state;
    struct reply out = {0};
    sieve_append_quoted(&out, c->text.data, c->text.len);
    assert_bytes(out.bytes, out.len, c->want.data, c->want.len);
    reply_finish(&out);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, piece_is, piece_cases);
    UNIT_ADD_TABLE(&u, line_has_length, length_cases);
    UNIT_ADD_TABLE(&u, command_is_parsed, command_cases);
    UNIT_ADD_TABLE(&u, arguments_are, args_cases);
    UNIT_ADD_TABLE(&u, literals_become_quoted, literal_cases);
    UNIT_ADD_TABLE(&u, answer_is, answer_cases);
    UNIT_ADD_TABLE(&u, list_becomes, list_cases);
    UNIT_ADD_TABLE(&u, line_may_be_added, add_cases);
    UNIT_ADD_TABLE(&u, text_is_quoted, quoted_cases);
    return unit_run(&u, "managesieve");
}
