/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "protocols/smtp_command.h"

#define VERB_32 "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

static const struct parse_case {
    const char *name;
    struct bytes text;
    bool want;
    const char *want_verb;
    struct bytes want_args;
} parse_cases[] = {
    {"verb alone", B("QUIT"), true, "QUIT", B("")},
    {"lower case becomes upper case", B("ehlo Client.example"), true, "EHLO", B("Client.example")},
    {"mixed case", B("StArTtLs"), true, "STARTTLS", B("")},
    {"arguments keep their inner blanks", B("MAIL FROM:<a@b>  SIZE=1"), true, "MAIL",
     B("FROM:<a@b>  SIZE=1")},
    {"blanks at the end go", B("STARTTLS \t "), true, "STARTTLS", B("")},
    {"blanks around arguments go", B("NOOP \t x y\t "), true, "NOOP", B("x y")},
    {"tab behind the verb", B("EHLO\tx"), true, "EHLO", B("x")},
    {"hyphen, underscore, digit", B("X-EXPS_2 a"), true, "X-EXPS_2", B("a")},
    {"verb of exactly 32 letters", B(VERB_32), true, VERB_32, B("")},
    {"verb of exactly 32 letters, arguments", B(VERB_32 " a"), true, VERB_32, B("a")},
    {"verb of 33 letters", B(VERB_32 "X"), false, "", B("")},
    {"empty", B(""), false, "", B("")},
    {"blank first", B(" QUIT"), false, "", B("")},
    {"tab first", B("\tQUIT"), false, "", B("")},
    {"only blanks", B("  "), false, "", B("")},
    {"colon in the verb", B("MAIL:x"), false, "", B("")},
    {"NUL behind the verb", B("QUIT\0"), false, "", B("")},
    {"NUL in the arguments", B("NOOP a\0b"), false, "", B("")},
    {"NUL first", B("\0QUIT"), false, "", B("")},
    {"CR in the verb", B("QUIT\r"), false, "", B("")},
    {"vertical tab is no blank", B("QUIT\vx"), false, "", B("")},
    {"byte above 127", B("QUIT\xa0x"), false, "", B("")},
    {"byte above 127 in the arguments", B("NOOP \xc3\xa4"), true, "NOOP", B("\xc3\xa4")},
    {"TLS record", B("\x16\x03\x01\x02"), false, "", B("")},
};

static void command_is_split(void **state)
{
    const struct parse_case *c = *state;
    struct command out;
    assert_int_equal(command_parse(c->text.data, c->text.len, &out), c->want);
    if (!c->want)
        return;
    assert_string_equal(out.verb, c->want_verb);
    assert_bytes(out.args, out.args_len, c->want_args.data, c->want_args.len);
    assert_true(out.args >= c->text.data && out.args + out.args_len <= c->text.data + c->text.len);
}

static const struct utf8_case {
    const char *name;
    struct bytes text; /* the whole line */
    bool want;
} utf8_cases[] = {
    {"SMTPUTF8 at the end", B("MAIL FROM:<a@b> SMTPUTF8"), true},
    {"SMTPUTF8 in the middle", B("MAIL FROM:<a@b> SIZE=1 smtpUtf8\tBODY=8BITMIME"), true},
    {"SMTPUTF8 behind two blanks", B("MAIL FROM:<a@b>  SMTPUTF8"), true},
    {"no SMTPUTF8", B("MAIL FROM:<a@b> BODY=8BITMIME"), false},
    {"SMTPUTF8 with a value", B("MAIL FROM:<a@b> SMTPUTF8=1"), false},
    {"SMTPUTF8 with more letters", B("MAIL FROM:<a@b> SMTPUTF80"), false},
    {"SMTPUTF8 with letters in front", B("MAIL FROM:<a@b> XSMTPUTF8"), false},
    {"SMTPUTF8 in the path", B("MAIL FROM:<SMTPUTF8>"), false},
    {"SMTPUTF8 cut off", B("MAIL FROM:<a@b> SMTPUTF"), false},
    {"SMTPUTF8 alone", B("MAIL SMTPUTF8"), false},
    {"MAIL alone", B("MAIL"), false},
};

static void smtputf8_is_found(void **state)
{
    const struct utf8_case *c = *state;
    struct command command;
    assert_true(command_parse(c->text.data, c->text.len, &command));
    assert_int_equal(smtp_mail_asks_utf8(&command), c->want);
}

static const struct bdat_case {
    const char *name;
    struct bytes text; /* the whole line */
    bool want;
    uint64_t want_size;
    bool want_last;
} bdat_cases[] = {
    {"size", B("BDAT 1000"), true, 1000, false},
    {"size and LAST", B("BDAT 86 LAST"), true, 86, true},
    {"last in lower case", B("bdat 86 last"), true, 86, true},
    {"zero LAST ends a message", B("BDAT 0 LAST"), true, 0, true},
    {"zero", B("BDAT 0"), true, 0, false},
    {"leading zeros", B("BDAT 0010"), true, 10, false},
    {"several blanks", B("BDAT  5 \t LAST  "), true, 5, true},
    {"largest", B("BDAT 2147483647"), true, 2147483647, false},
    {"one too large: 2^31", B("BDAT 2147483648"), false, 0, false},
    {"2^32 + 5 would be 5", B("BDAT 4294967301"), false, 0, false},
    {"2^63", B("BDAT 9223372036854775808"), false, 0, false},
    {"2^64 would be 0", B("BDAT 18446744073709551616"), false, 0, false},
    {"2^64 + 10 would be 10", B("BDAT 18446744073709551626 LAST"), false, 0, false},
    {"thirty digits", B("BDAT 100000000000000000000000000000"), false, 0, false},
    {"no size", B("BDAT"), false, 0, false},
    {"LAST alone", B("BDAT LAST"), false, 0, false},
    {"negative", B("BDAT -1"), false, 0, false},
    {"plus sign", B("BDAT +1"), false, 0, false},
    {"hexadecimal", B("BDAT 0x10"), false, 0, false},
    {"LAST without blank", B("BDAT 10LAST"), false, 0, false},
    {"LASTX", B("BDAT 10 LASTX"), false, 0, false},
    {"LAS", B("BDAT 10 LAS"), false, 0, false},
    {"something behind LAST", B("BDAT 10 LAST x"), false, 0, false},
    {"two sizes", B("BDAT 10 20"), false, 0, false},
    {"fraction", B("BDAT 1.5"), false, 0, false},
};

static void chunk_size_is_read(void **state)
{
    const struct bdat_case *c = *state;
    struct command command;
    uint64_t size = 77;
    bool last;
    assert_true(command_parse(c->text.data, c->text.len, &command));
    assert_int_equal(smtp_bdat_parse(&command, &size, &last), c->want);
    if (!c->want)
        return;
    assert_true(size == c->want_size);
    assert_int_equal(last, c->want_last);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, command_is_split, parse_cases);
    UNIT_ADD_TABLE(&u, smtputf8_is_found, utf8_cases);
    UNIT_ADD_TABLE(&u, chunk_size_is_read, bdat_cases);
    return unit_run(&u, "smtp_command");
}
