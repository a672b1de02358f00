/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "protocols/httpconnect.h"

/* ---- the request ---- */

static const struct write_case {
    const char *name;
    struct httpconnect connect;
    const char *want;
} write_cases[] = {
    {"name",
     {"mail.example.org", 587, NULL, NULL},
     "CONNECT mail.example.org:587 HTTP/1.1\r\nHost: mail.example.org:587\r\n\r\n"},
    {"IPv4",
     {"192.0.2.1", 25, NULL, NULL},
     "CONNECT 192.0.2.1:25 HTTP/1.1\r\nHost: 192.0.2.1:25\r\n\r\n"},
    {"IPv6",
     {"2001:db8::1", 65535, NULL, NULL},
     "CONNECT [2001:db8::1]:65535 HTTP/1.1\r\nHost: [2001:db8::1]:65535\r\n\r\n"},
    {"login, RFC 7617 §2",
     {"a.example", 1, "Aladdin", "open sesame"},
     "CONNECT a.example:1 HTTP/1.1\r\nHost: a.example:1\r\n"
     "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"},
    {"login of three times n bytes",
     {"a.example", 1, "ab", "cde:fg?~"},
     "CONNECT a.example:1 HTTP/1.1\r\nHost: a.example:1\r\n"
     "Proxy-Authorization: Basic YWI6Y2RlOmZnP34=\r\n\r\n"},
    {"login of three times n and two bytes",
     {"a.example", 1, "a", "\xff\xfe\xfd"},
     "CONNECT a.example:1 HTTP/1.1\r\nHost: a.example:1\r\n"
     "Proxy-Authorization: Basic YTr//v0=\r\n\r\n"},
};

static void request_is_written(void **state)
{
    const struct write_case *c = *state;
    char out[HTTPCONNECT_REQUEST_MAX];
    assert_bytes(out, httpconnect_write(&c->connect, out), c->want, strlen(c->want));
}

static void longest_request_fits(void **state)
{
    char host[256], user[256], password[256], out[HTTPCONNECT_REQUEST_MAX];
    const struct httpconnect c = {host, 65535, user, password};
    (void)state;
    memset(host, ':', 255);
    memset(user, 'u', 255);
    memset(password, 'p', 255);
    host[255] = user[255] = password[255] = '\0';
    size_t len = httpconnect_write(&c, out);
    assert_true(len > 1200 && len < HTTPCONNECT_REQUEST_MAX);
    assert_memory_equal(out + len - 4, "\r\n\r\n", 4);
}

/* ---- the reply ---- */

#define OK "HTTP/1.1 200 OK\r\n"

static const struct read_case {
    const char *name;
    struct bytes text;
    int want;           /* status; 0: more; -1: bad */
    size_t want_behind; /* bytes behind it */
} read_cases[] = {
    {"established", B("HTTP/1.1 200 Connection established\r\n\r\n"), 200, 0},
    {"version 1.0", B("HTTP/1.0 200 OK\r\n\r\n"), 200, 0},
    {"no reason", B("HTTP/1.1 200 \r\n\r\n"), 200, 0},
    {"no blank behind the status", B("HTTP/1.1 200\r\n\r\n"), 200, 0},
    {"another success", B("HTTP/1.1 299 x\r\n\r\n"), 299, 0},
    {"fields", B(OK "Via: x\r\nX-Y:\r\nZ: \t\x80\xff \r\n\r\n"), 200, 0},
    {"a length that does not count", B(OK "Content-Length: 9\r\n\r\n220 x\r\n"), 200, 7},
    {"a greeting behind it", B(OK "\r\n220 mail.example.org ESMTP\r\n"), 200, 28},
    {"an empty line behind it", B(OK "\r\n\r\n"), 200, 2},
    {"NUL behind it", B(OK "\r\n\0\0"), 200, 2},
    {"refused", B("HTTP/1.1 403 Forbidden\r\n\r\n<html>"), 403, 6},
    {"login wanted", B("HTTP/1.1 407 Proxy Authentication Required\r\nA: b\r\n\r\n"), 407, 0},
    {"gone elsewhere", B("HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n"), 302, 0},
    {"highest status", B("HTTP/1.1 599 x\r\n\r\n"), 599, 0},
    {"interim", B("HTTP/1.1 100 Continue\r\n\r\n" OK "\r\n"), 200, 0},
    {"two interims with fields",
     B("HTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 199 y\r\n\r\n" OK "\r\nX"), 200, 1},

    {"nothing", B(""), 0, 0},
    {"one byte", B("H"), 0, 0},
    {"without its CR", B("HTTP/1.1 200"), 0, 0},
    {"without its LF", B("HTTP/1.1 200\r"), 0, 0},
    {"without the empty line", B(OK), 0, 0},
    {"half of the empty line", B(OK "\r"), 0, 0},
    {"half of a field", B(OK "Via"), 0, 0},
    {"an interim alone", B("HTTP/1.1 100 x\r\n\r\n"), 0, 0},
    {"an interim and a half", B("HTTP/1.1 100 x\r\n\r\nHTTP/1.1 2"), 0, 0},

    {"a mail server", B("220 mail.example.org ESMTP\r\n"), -1, 0},
    {"a mail server's first byte", B("2"), -1, 0},
    {"TLS", B("\x16\x03\x01"), -1, 0},
    {"SOCKS", B("\x05"), -1, 0},
    {"NUL", B("\0"), -1, 0},
    {"version 2", B("HTTP/2 200\r\n\r\n"), -1, 0},
    {"version 0.9", B("HTTP/0.9 200 x\r\n\r\n"), -1, 0},
    {"lower case", B("http/1.1 200 OK\r\n\r\n"), -1, 0},
    {"two digits", B("HTTP/1.1 20 OK\r\n\r\n"), -1, 0},
    {"four digits", B("HTTP/1.1 2000 OK\r\n\r\n"), -1, 0},
    {"no status", B("HTTP/1.1 \r\n\r\n"), -1, 0},
    {"status zero", B("HTTP/1.1 000 x\r\n\r\n"), -1, 0},
    {"status 099", B("HTTP/1.1 099 x\r\n\r\n"), -1, 0},
    {"status 600", B("HTTP/1.1 600 x\r\n\r\n"), -1, 0},
    {"another protocol", B("HTTP/1.1 101 Switching\r\n\r\n" OK "\r\n"), -1, 0},
    {"two blanks", B("HTTP/1.1  200 OK\r\n\r\n"), -1, 0},
    {"tab", B("HTTP/1.1\t200 OK\r\n\r\n"), -1, 0},
    {"blank in front", B(" " OK "\r\n"), -1, 0},
    {"empty line in front", B("\r\n" OK "\r\n"), -1, 0},
    {"bare LF", B("HTTP/1.1 200 OK\n\n"), -1, 0},
    {"bare LF at the end", B(OK "\n"), -1, 0},
    {"bare CR", B("HTTP/1.1 200 O\rK\r\n\r\n"), -1, 0},
    {"NUL in the reason", B("HTTP/1.1 200 O\0K\r\n\r\n"), -1, 0},
    {"NUL in a field", B(OK "A: \0\r\n\r\n"), -1, 0},
    {"DEL in a field", B(OK "A: \x7f\r\n\r\n"), -1, 0},
    {"field without a colon", B(OK "Via\r\n\r\n"), -1, 0},
    {"field without a name", B(OK ": x\r\n\r\n"), -1, 0},
    {"blank behind a name", B(OK "Via : x\r\n\r\n"), -1, 0},
    {"folded field", B(OK "A: b\r\n c\r\n\r\n"), -1, 0},
    {"bytes above ASCII in a name", B(OK "\x80: x\r\n\r\n"), -1, 0},
    {"rubbish behind an interim", B("HTTP/1.1 100 x\r\n\r\n220 x\r\n"), -1, 0},
};

static void reply_is_read(void **state)
{
    const struct read_case *c = *state;
    int status = 0, nothing;
    ssize_t n = httpconnect_read(c->text.data, c->text.len, &status);
    if (c->want <= 0) {
        assert_int_equal(n, c->want);
        return;
    }
    assert_int_equal(status, c->want);
    assert_int_equal(n, c->text.len - c->want_behind);
    for (size_t i = 0; i < (size_t)n; i++)
        assert_int_equal(httpconnect_read(c->text.data, i, &nothing), 0);
}

/* Exactly so long, and one byte more. */
static void reply_has_8192_bytes(void **state)
{
    char text[HTTPCONNECT_REPLY_MAX + 1];
    int status;
    (void)state;
    for (size_t over = 0; over <= 1; over++) {
        size_t len = HTTPCONNECT_REPLY_MAX + over, n = strlen(OK "A: ");
        memset(text, 'x', sizeof text);
        memcpy(text, OK "A: ", n);
        memcpy(text + len - 4, "\r\n\r\n", 4);
        assert_int_equal(httpconnect_read(text, len, &status), over ? -1 : (ssize_t)len);
        assert_int_equal(httpconnect_read(text, len - 1, &status), over ? -1 : 0);
    }
}

/* The status line, the fields, the empty line. */
static void reply_has_100_lines(void **state)
{
    char text[HTTPCONNECT_REPLY_MAX];
    int status;
    (void)state;
    for (size_t over = 0; over <= 1; over++) {
        size_t len = strlen(OK);
        memcpy(text, OK, len);
        for (size_t i = 0; i < HTTPCONNECT_LINES_MAX - 1 + over; i++, len += 4)
            memcpy(text + len, "a:\r\n", 4);
        memcpy(text + len, "\r\n", 2);
        len += 2;
        assert_int_equal(httpconnect_read(text, len, &status), over ? -1 : (ssize_t)len);
    }
}

/* ---- what it asks for ---- */

#define WANTED "HTTP/1.1 407 x\r\n"

static const struct basic_case {
    const char *name;
    struct bytes text;
    bool want;
} basic_cases[] = {
    {"Basic", B(WANTED "Proxy-Authenticate: Basic realm=\"x\"\r\n\r\n"), true},
    {"any case, no blank", B(WANTED "proxy-AUTHENTICATE:bAsIc realm=x\r\n\r\n"), true},
    {"alone", B(WANTED "Proxy-Authenticate: \t Basic\r\n\r\n"), true},
    {"the second field", B(WANTED "Proxy-Authenticate: NTLM\r\nProxy-Authenticate: Basic\r\n\r\n"),
     true},
    {"others", B(WANTED "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: Digest a=b\r\n\r\n"),
     false},
    {"a longer word", B(WANTED "Proxy-Authenticate: Basics\r\n\r\n"), false},
    {"a shorter word", B(WANTED "Proxy-Authenticate: Basi\r\n\r\n"), false},
    {"the server's own", B(WANTED "WWW-Authenticate: Basic\r\n\r\n"), false},
    {"empty", B(WANTED "Proxy-Authenticate:\r\n\r\n"), false},
    {"nothing", B(""), false},
};

static void scheme_is_found(void **state)
{
    const struct basic_case *c = *state;
    assert_int_equal(httpconnect_asks_for_basic(c->text.data, c->text.len), c->want);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, request_is_written, write_cases);
    unit_add(&u, "longest request", longest_request_fits, NULL);
    UNIT_ADD_TABLE(&u, reply_is_read, read_cases);
    unit_add(&u, "8192 bytes", reply_has_8192_bytes, NULL);
    unit_add(&u, "100 lines", reply_has_100_lines, NULL);
    UNIT_ADD_TABLE(&u, scheme_is_found, basic_cases);
    return unit_run(&u, "httpconnect");
}
