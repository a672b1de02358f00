/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "protocols/socks.h"

/* ---- what we say ---- */

static const struct write_case {
    const char *name;
    const char *host;
    uint16_t port;
    struct bytes want;
} write_cases[] = {
    {"name", "mx.example", 587, B("\5\1\0\3\12mx.example\2\113")},
    {"IPv4", "192.0.2.1", 25, B("\5\1\0\1\300\0\2\1\0\31")},
    {"IPv6", "2001:db8::1", 65535, B("\5\1\0\4\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\xff\xff")},
    {"v4-mapped", "::ffff:192.0.2.1", 1, B("\5\1\0\4\0\0\0\0\0\0\0\0\0\0\xff\xff\300\0\2\1\0\1")},
    {"nearly an address", "192.0.2.256", 25,
     B("\5\1\0\3\13"
       "192.0.2.256\0\31")},
    {"one letter", "a", 1, B("\5\1\0\3\1a\0\1")},
};

static void request_is_written(void **state)
{
    const struct write_case *c = *state;
    unsigned char out[SOCKS_REQUEST_MAX];
    size_t n = socks_write_request(c->host, c->port, out);
    assert_bytes((char *)out, n, c->want.data, c->want.len);
}

static void greeting_offers_what_we_have(void **state)
{
    unsigned char out[SOCKS_GREETING_MAX];
    (void)state;
    assert_bytes((char *)out, socks_write_greeting(false, out), "\5\1\0", 3);
    assert_bytes((char *)out, socks_write_greeting(true, out), "\5\2\0\2", 4);
}

static void login_is_written(void **state)
{
    unsigned char out[SOCKS_LOGIN_MAX];
    (void)state;
    assert_bytes((char *)out, socks_write_login("bob", "s3cret", out), "\1\3bob\6s3cret", 12);
}

static void longest_parts_fit(void **state)
{
    char part[SOCKS_PART_MAX + 1];
    unsigned char login[SOCKS_LOGIN_MAX], request[SOCKS_REQUEST_MAX];
    (void)state;
    memset(part, 'x', SOCKS_PART_MAX);
    part[SOCKS_PART_MAX] = '\0';
    assert_int_equal(socks_write_login(part, part, login), SOCKS_LOGIN_MAX);
    assert_int_equal(socks_write_request(part, 1, request), SOCKS_REQUEST_MAX);
}

/* ---- what is read ---- */

typedef ssize_t (*reader)(const char *data, size_t len, int *code);

static const struct read_case {
    const char *name;
    reader read;
    struct bytes text;
    ssize_t want; /* length; 0: more; -1: bad */
    int want_code;
} read_cases[] = {
    {"no login", socks_read_method, B("\5\0"), 2, SOCKS_NO_LOGIN},
    {"password", socks_read_method, B("\5\2"), 2, SOCKS_PASSWORD},
    {"nothing fits", socks_read_method, B("\5\xff"), 2, SOCKS_NOTHING_FITS},
    {"method with more behind it", socks_read_method, B("\5\0\5\0\0"), 2, SOCKS_NO_LOGIN},
    {"no byte of a method", socks_read_method, B(""), 0, 0},
    {"half a method", socks_read_method, B("\5"), 0, 0},
    {"version 4", socks_read_method, B("\0\x5a"), -1, 0},
    {"version 4's number", socks_read_method, B("\4"), -1, 0},
    {"HTTP", socks_read_method, B("HTTP/1.1 400"), -1, 0},
    {"a mail server", socks_read_method, B("2"), -1, 0},
    {"GSSAPI, not offered", socks_read_method, B("\5\1"), -1, 0},
    {"a private method, not offered", socks_read_method, B("\5\x80"), -1, 0},

    {"let in", socks_read_login, B("\1\0"), 2, 0},
    {"not let in", socks_read_login, B("\1\1"), 2, 1},
    {"not let in either", socks_read_login, B("\1\xff"), 2, 255},
    {"half a login", socks_read_login, B("\1"), 0, 0},
    {"login of another version", socks_read_login, B("\5\0"), -1, 0},

    {"IPv4", socks_read_reply, B("\5\0\0\1\1\2\3\4\0\1"), 10, 0},
    {"IPv6", socks_read_reply,
     B("\5\0\0\4"
       "1234567890123456\0\1"),
     22, 0},
    {"name", socks_read_reply, B("\5\0\0\3\4abcd\0\1"), 11, 0},
    {"empty name", socks_read_reply, B("\5\0\0\3\0\0\1"), 7, 0},
    {"reserved byte set", socks_read_reply, B("\5\0\7\1\1\2\3\4\0\1"), 10, 0},
    {"a greeting behind it", socks_read_reply,
     B("\5\0\0\1\1\2\3\4\0\1"
       "220 x\r\n"),
     10, 0},
    {"zeros", socks_read_reply, B("\5\0\0\1\0\0\0\0\0\0\0"), 10, 0},
    {"no byte of a reply", socks_read_reply, B(""), 0, 0},
    {"without a kind", socks_read_reply, B("\5\0\0"), 0, 0},
    {"without a length", socks_read_reply, B("\5\0\0\3"), 0, 0},
    {"one byte short, IPv4", socks_read_reply, B("\5\0\0\1\1\2\3\4\0"), 0, 0},
    {"one byte short, name", socks_read_reply, B("\5\0\0\3\377abcd"), 0, 0},
    {"kind 0", socks_read_reply, B("\5\0\0\0\1\2\3\4\0\1"), -1, 0},
    {"kind 2", socks_read_reply, B("\5\0\0\2\1\2\3\4\0\1"), -1, 0},
    {"kind 255", socks_read_reply, B("\5\0\0\377\1\2\3\4\0\1"), -1, 0},
    {"version 4's reply", socks_read_reply, B("\0\132\0\0\0\0\0\0"), -1, 0},
    {"refused", socks_read_reply, B("\5\5\0\1\0\0\0\0\0\0"), 2, 5},
    {"refused, and no more", socks_read_reply, B("\5\1"), 2, 1},
    {"unknown code", socks_read_reply, B("\5\xff"), 2, 255},
};

static void answer_is_read(void **state)
{
    const struct read_case *c = *state;
    int code = 0, nothing;
    ssize_t n = c->read(c->text.data, c->text.len, &code);
    assert_int_equal(n, c->want);
    if (n > 0)
        assert_int_equal(code, c->want_code);
    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(c->read(c->text.data, (size_t)i, &nothing), 0);
}

/* The longest name that the length can say. */
static void longest_reply_is_read(void **state)
{
    char text[SOCKS_REPLY_MAX] = "\5\0\0\3\377";
    int code;
    (void)state;
    assert_int_equal(socks_read_reply(text, SOCKS_REPLY_MAX, &code), SOCKS_REPLY_MAX);
    assert_int_equal(socks_read_reply(text, SOCKS_REPLY_MAX - 1, &code), 0);
}

static void every_code_has_words(void **state)
{
    (void)state;
    for (int code = 1; code <= 8; code++) {
        char number[8];
        snprintf(number, sizeof number, "(%d", code);
        assert_non_null(strstr(socks_reply_text(code), number));
    }
    assert_non_null(strstr(socks_reply_text(9), "does not know"));
    assert_non_null(strstr(socks_reply_text(255), "does not know"));
    assert_non_null(strstr(socks_reply_text(-1), "does not know"));
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, request_is_written, write_cases);
    unit_add(&u, "greeting", greeting_offers_what_we_have, NULL);
    unit_add(&u, "login", login_is_written, NULL);
    unit_add(&u, "longest parts", longest_parts_fit, NULL);
    UNIT_ADD_TABLE(&u, answer_is_read, read_cases);
    unit_add(&u, "longest reply", longest_reply_is_read, NULL);
    unit_add(&u, "words", every_code_has_words, NULL);
    return unit_run(&u, "socks");
}
