/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "protocols/trace.h"

enum { SHORT_LINE = 78, LONG_LINE = 300 };

#define DATE    "\tSun, 06 Nov 1994 08:49:37 +0000\r\n"
#define BY      "\tby mx.example.org (ehlock) with ESMTP;\r\n" DATE
#define LABEL50 "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvw"
#define NAME255 LABEL50 "." LABEL50 "." LABEL50 "." LABEL50 "." LABEL50 "x"
#define X59     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static struct trace usual(void)
{
    return (struct trace){.client.address = "[192.0.2.1]",
                          .helo = "c.example",
                          .helo_len = 9,
                          .hostname = "mx.example.org",
                          .protocol = "ESMTP",
                          .when = 784111777};
}

/* What must hold of every header: it is one, and it ends. */
static void check_form(const char *text, size_t len, size_t longest)
{
    size_t depth = 0, start = 0;
    assert_true(len >= 2 && len <= TRACE_MAX);
    assert_memory_equal(text, "Received: from", 14);
    assert_memory_equal(text + len - 2, "\r\n", 2);
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        assert_true(c == '\t' || c == '\r' || c == '\n' || (c >= ' ' && c <= '~'));
        assert_true(c != '\r' || text[i + 1] == '\n');
        if (c == '(')
            assert_int_equal(++depth, 1);
        if (c == ')')
            assert_int_equal(depth--, 1);
        if (c != '\n')
            continue;
        assert_true(text[i - 1] == '\r' && i - 1 - start <= longest && i - 1 > start);
        assert_true(i + 1 == len || text[i + 1] == '\t');
        start = i + 1;
    }
    assert_int_equal(depth, 0);
}

static size_t write_trace(const struct trace *t, char out[TRACE_MAX], size_t longest)
{
    memset(out, 0x55, TRACE_MAX);
    size_t len = trace_write(t, "From: a", 7, true, out);
    check_form(out, len, longest);
    return len;
}

/* ---- what the client calls itself ---- */

static const struct helo_case {
    const char *name;
    struct bytes helo;
    const char *address;
    const char *want; /* up to "by" */
} helo_cases[] = {
    {"a domain", B("c.example"), "[192.0.2.1]", " c.example ([192.0.2.1])"},
    {"a domain of one label", B("pc"), "[192.0.2.1]", " pc ([192.0.2.1])"},
    {"a domain with an underscore", B("my_pc.lan"), "[192.0.2.1]", " my_pc.lan ([192.0.2.1])"},
    {"IPv6", B("c.example"), "[IPv6:2001:db8::1]", " c.example ([IPv6:2001:db8::1])"},
    {"no address", B("c.example"), "", " c.example"},
    {"an address literal", B("[10.0.0.1]"), "[192.0.2.1]", " [10.0.0.1] ([192.0.2.1])"},
    {"an IPv6 literal", B("[IPv6:fe80::1]"), "[192.0.2.1]", " [IPv6:fe80::1] ([192.0.2.1])"},
    {"nothing", B(""), "[192.0.2.1]", " [192.0.2.1] ([192.0.2.1])"},
    {"nothing at all", B(""), NULL, " unknown"},
    {"a domain of 255 bytes", B(NAME255), "[192.0.2.1]", "\r\n\t" NAME255 "\r\n\t([192.0.2.1])"},
    {"a domain of 256 bytes", B(NAME255 "a"), "[192.0.2.1]",
     " [192.0.2.1] ([192.0.2.1])\r\n\t(helo=" LABEL50 ".abcdefghi)"},
    {"60 bytes that are no name", B(X59 "!"), "[192.0.2.1]",
     " [192.0.2.1] ([192.0.2.1])\r\n\t(helo=" X59 "?)"},
    {"61 bytes that are no name", B("!" X59 "x"), "[192.0.2.1]",
     " [192.0.2.1] ([192.0.2.1])\r\n\t(helo=?" X59 ")"},
    {"600 bytes", B(X59 X59 X59 X59 X59 X59 X59 X59 X59 X59 "yyyyyyyyyy"), "[192.0.2.1]",
     " [192.0.2.1] ([192.0.2.1])\r\n\t(helo=" X59 "x)"},
    {"a header behind CRLF", B("a\r\nBcc: x"), "[192.0.2.1]",
     " [192.0.2.1] ([192.0.2.1]) (helo=a??Bcc:?x)"},
    {"bare CR and LF", B("a\rb\nc"), "[192.0.2.1]", " [192.0.2.1] ([192.0.2.1]) (helo=a?b?c)"},
    {"NUL", B("a\0b"), "[192.0.2.1]", " [192.0.2.1] ([192.0.2.1]) (helo=a?b)"},
    {"NUL alone", B("\0"), "", " unknown (helo=?)"},
    {"parentheses", B("a) by x (b"), "[192.0.2.1]", " [192.0.2.1] ([192.0.2.1]) (helo=a??by?x??b)"},
    {"a backslash at the end", B("a\\"), "[192.0.2.1]", " [192.0.2.1] ([192.0.2.1]) (helo=a?)"},
    {"quotation marks and semicolon", B("\"a\";x"), "[192.0.2.1]",
     " [192.0.2.1] ([192.0.2.1]) (helo=?a??x)"},
    {"a word that looks like ours", B("x verified=root"), "", " unknown (helo=x?verified?root)"},
    {"bytes above 127", B("m\xc3\xbcll.example\xff"), "", " unknown (helo=m??ll.example?)"},
    {"a blank inside", B("a b"), "", " unknown (helo=a?b)"},
    {"an encoded word", B("=?utf-8?q?=0a?="), "", " unknown (helo=??utf-8?q??0a?\?)"},
    {"a dot in front", B(".a"), "", " unknown (helo=.a)"},
    {"a dot behind", B("a."), "", " unknown (helo=a.)"},
    {"two dots", B("a..b"), "", " unknown (helo=a..b)"},
    {"an empty literal", B("[]"), "", " unknown (helo=[])"},
    {"a literal left open", B("[1.2.3.4"), "", " unknown (helo=[1.2.3.4)"},
    {"a literal in a literal", B("[[1]]"), "", " unknown (helo=[[1]])"},
    {"a literal with a blank", B("[1 2]"), "", " unknown (helo=[1?2])"},
    {"an escape sequence", B("\x1b[31m"), "", " unknown (helo=?[31m)"},
};

static void helo_is_written(void **state)
{
    const struct helo_case *c = *state;
    struct trace t = usual();
    char got[TRACE_MAX], want[TRACE_MAX];
    t.helo = c->helo.data;
    t.helo_len = c->helo.len;
    t.client.address = c->address;
    size_t len = write_trace(&t, got, LONG_LINE);
    int want_len = snprintf(want, sizeof want, "Received: from%s\r\n%s", c->want, BY);
    assert_bytes(got, len, want, (size_t)want_len);
}

/* No byte that a client can send gets out of its place, wherever it stands. */
static void every_byte_is_harmless(void **state)
{
    (void)state;
    char text[] = "[a.b]", got[TRACE_MAX];
    struct trace t = usual();
    t.helo = text;
    t.helo_len = 5;
    for (int byte = 0; byte < 256; byte++)
        for (int at = 0; at < 5; at++) {
            memcpy(text, "[a.b]", 5);
            text[at] = (char)byte;
            size_t len = write_trace(&t, got, SHORT_LINE);
            assert_memory_equal(got + len - strlen(BY), BY, strlen(BY));
        }
}

/* ---- TLS ---- */

static const struct tls_case {
    const char *name, *verified, *want; /* between "ESMTPS" and the date */
} tls_cases[] = {
    {"no certificate", NULL, "\r\n\t(version=TLS1.3 cipher=AES-256-GCM bits=256);\r\n"},
    {"a verified name", "client.example.net",
     "\r\n\t(version=TLS1.3 cipher=AES-256-GCM bits=256 verified=client.example.net);\r\n"},
    {"a verified name for the next line", "long-name.client.example.net",
     "\r\n\t(version=TLS1.3 cipher=AES-256-GCM bits=256\r\n"
     "\tverified=long-name.client.example.net);\r\n"},
    {"a hostile name", "a)\r\nBcc: x (b\xff",
     "\r\n\t(version=TLS1.3 cipher=AES-256-GCM bits=256 verified=a???Bcc:?x??b?);\r\n"},
    {"an empty name", "", "\r\n\t(version=TLS1.3 cipher=AES-256-GCM bits=256 verified=);\r\n"},
    {"a name of 256 bytes", NAME255 "!",
     "\r\n\t(version=TLS1.3 cipher=AES-256-GCM bits=256\r\n\tverified=" NAME255 ");\r\n"},
};

static void tls_is_written(void **state)
{
    const struct tls_case *c = *state;
    struct trace t = usual();
    char got[TRACE_MAX], want[TRACE_MAX];
    t.protocol = "ESMTPS";
    t.client = (struct trace_client){"[192.0.2.1]", "TLS1.3", "AES-256-GCM", 256, c->verified};
    size_t len = write_trace(&t, got, LONG_LINE);
    int want_len = snprintf(want, sizeof want,
                            "Received: from c.example ([192.0.2.1])\r\n"
                            "\tby mx.example.org (ehlock) with ESMTPS%s%s",
                            c->want, DATE);
    assert_bytes(got, len, want, (size_t)want_len);
}

static void longest_of_all_fits(void **state)
{
    (void)state;
    static const char long_word[] = NAME255 NAME255;
    char got[TRACE_MAX];
    struct trace t = {.client = {long_word, long_word, long_word, UINT32_MAX, long_word},
                      .helo = long_word,
                      .helo_len = 255,
                      .hostname = long_word,
                      .protocol = "UTF8LMTPSA",
                      .when = INT64_MAX};
    write_trace(&t, got, LONG_LINE);
    t.helo_len = sizeof long_word - 1;
    write_trace(&t, got, LONG_LINE);
}

/* ---- the date ---- */

static const struct date_case {
    const char *name;
    int64_t when;
    const char *want;
} date_cases[] = {
    {"the beginning", 0, "Thu, 01 Jan 1970 00:00:00 +0000"},
    {"last second of a year", 946684799, "Fri, 31 Dec 1999 23:59:59 +0000"},
    {"first second of 2000", 946684800, "Sat, 01 Jan 2000 00:00:00 +0000"},
    {"leap day of 2000", 951782400, "Tue, 29 Feb 2000 00:00:00 +0000"},
    {"day behind it", 951868800, "Wed, 01 Mar 2000 00:00:00 +0000"},
    {"leap day of 2024", 1709210096, "Thu, 29 Feb 2024 12:34:56 +0000"},
    {"end of a leap year", 1735689599, "Tue, 31 Dec 2024 23:59:59 +0000"},
    {"end of 31 bits", 2147483647, "Tue, 19 Jan 2038 03:14:07 +0000"},
    {"no leap day in 2100", 4107542400, "Mon, 01 Mar 2100 00:00:00 +0000"},
    {"last of four digits", 253402300799, "Fri, 31 Dec 9999 23:59:59 +0000"},
    {"one later", 253402300800, "Thu, 01 Jan 1970 00:00:00 +0000"},
    {"before the beginning", -1, "Thu, 01 Jan 1970 00:00:00 +0000"},
};

static void date_is_written(void **state)
{
    const struct date_case *c = *state;
    struct trace t = usual();
    char got[TRACE_MAX];
    t.when = c->when;
    size_t len = write_trace(&t, got, SHORT_LINE);
    assert_memory_equal(got + len - 37, ";\r\n\t", 4);
    assert_bytes(got + len - 33, 31, c->want, strlen(c->want));
}

/* ---- the message behind it ---- */

static const struct start_case {
    const char *name;
    struct bytes data;
    bool want_in_data, want_in_chunk; /* an empty line in between */
} start_cases[] = {
    {"a header", B("Sub"), false, false},
    {"an empty line", B("\r\na"), false, false},
    {"an empty message", B(".\r\n"), false, false},
    {"an empty chunk", B(""), false, false},
    {"a blank", B(" ab"), true, true},
    {"a tab", B("\tab"), true, true},
    {"a blank alone", B(" "), true, true},
    {"a blank behind a dot", B(". a"), true, false},
    {"a tab behind a dot", B(".\ta"), true, false},
    {"two dots and a blank", B(".. "), false, false},
    {"NUL and a blank", B("\0 a"), true, true},
    {"CR and a blank", B("\r a"), true, true},
    {"CR alone", B("\r"), true, true},
    {"LF and a blank", B("\n a"), true, true},
    {"NUL behind a dot", B(".\0 "), true, false},
    {"CR behind a dot", B(".\r "), true, false},
    {"a byte above 127", B("\xa0 a"), true, true},
    {"DEL", B("\x7f a"), true, true},
    {"the last of ASCII", B("~ab"), false, false},
    {"the first of ASCII", B("!ab"), false, false},
};

static void beginning_does_not_go_on_with_our_header(void **state)
{
    const struct start_case *c = *state;
    struct trace t = usual();
    char plain[TRACE_MAX], got[TRACE_MAX];
    size_t len = trace_write(&t, "a", 1, true, plain);
    size_t in_data = trace_write(&t, c->data.data, c->data.len, true, got);
    assert_int_equal(in_data, len + (c->want_in_data ? 2 : 0));
    assert_memory_equal(got, plain, len);
    assert_memory_equal(got + len - 2, "\r\n\r\n", c->want_in_data ? 4 : 2);
    size_t in_chunk = trace_write(&t, c->data.data, c->data.len, false, got);
    assert_int_equal(in_chunk, len + (c->want_in_chunk ? 2 : 0));
    assert_memory_equal(got + len - 2, "\r\n\r\n", c->want_in_chunk ? 4 : 2);
}

/* ---- RFC 3848, RFC 6531 ---- */

static const struct manner_case {
    const char *want;
    struct trace_manner manner;
} manner_cases[] = {
    {"SMTP", {0}},
    {"SMTP", {.tls = true, .authenticated = true, .utf8 = true}},
    {"ESMTP", {.extended = true}},
    {"ESMTPS", {.extended = true, .tls = true}},
    {"ESMTPA", {.extended = true, .authenticated = true}},
    {"ESMTPSA", {.extended = true, .tls = true, .authenticated = true}},
    {"LMTP", {.lmtp = true, .extended = true}},
    {"LMTPS", {.lmtp = true, .extended = true, .tls = true}},
    {"LMTPA", {.lmtp = true, .extended = true, .authenticated = true}},
    {"LMTPSA", {.lmtp = true, .extended = true, .tls = true, .authenticated = true}},
    {"UTF8SMTP", {.extended = true, .utf8 = true}},
    {"UTF8SMTPS", {.extended = true, .utf8 = true, .tls = true}},
    {"UTF8SMTPA", {.extended = true, .utf8 = true, .authenticated = true}},
    {"UTF8SMTPSA", {.extended = true, .utf8 = true, .tls = true, .authenticated = true}},
    {"UTF8LMTP", {.lmtp = true, .extended = true, .utf8 = true}},
    {"UTF8LMTPS", {.lmtp = true, .extended = true, .utf8 = true, .tls = true}},
    {"UTF8LMTPA", {.lmtp = true, .extended = true, .utf8 = true, .authenticated = true}},
    {"UTF8LMTPSA",
     {.lmtp = true, .extended = true, .utf8 = true, .tls = true, .authenticated = true}},
};

static void manner_has_its_word(void **state)
{
    const struct manner_case *c = *state;
    assert_string_equal(trace_protocol(&c->manner), c->want);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, helo_is_written, helo_cases);
    unit_add(&u, "every byte is harmless", every_byte_is_harmless, NULL);
    UNIT_ADD_TABLE(&u, tls_is_written, tls_cases);
    unit_add(&u, "longest of all fits", longest_of_all_fits, NULL);
    UNIT_ADD_TABLE(&u, date_is_written, date_cases);
    UNIT_ADD_TABLE(&u, beginning_does_not_go_on_with_our_header, start_cases);
    UNIT_ADD_TABLE(&u, manner_has_its_word, manner_cases);
    return unit_run(&u, "trace");
}
