/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "protocols/xclient.h"

#define LIST(line) "250-mx\r\n" line "\r\n"
#define HEX_39     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

static void make_reply(struct reply *r, const struct bytes *text)
{
    const char *at = text->data, *end = at + text->len;
    while (at < end) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((lf != NULL ? lf + 1 : end) - at);
        (void)reply_add_line(r, at, n);
        at += n;
    }
}

/* ---- what is offered ---- */

static const struct offer_case {
    const char *name;
    struct bytes reply;
    bool want;
    const char *want_takes; /* a letter for each: a p A P r l n N h */
} offer_cases[] = {
    {"Postfix",
     B(LIST("250 XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT")), true,
     "apAPrlnNh"},
    {"Dovecot", B(LIST("250 XCLIENT ADDR PORT")), true, "ap"},
    {"any case, tabs and blanks", B(LIST("250 xclient\t addr \tPort  ")), true, "ap"},
    {"nothing behind it", B(LIST("250 XCLIENT")), true, ""},
    {"in the middle", B("250-mx\r\n250-SIZE 1\r\n250-XCLIENT ADDR\r\n250 DSN PORT\r\n"), true, "a"},
    {"bare LF", B("250-mx\n250 XCLIENT ADDR\n"), true, "a"},
    {"longer words are others", B(LIST("250 XCLIENT ADDRESS PORTS XADDR ADDR=1")), true, ""},
    {"not there", B(LIST("250 SIZE 1")), false, ""},
    {"longer keyword", B(LIST("250 XCLIENTS ADDR")), false, ""},
    {"only in the first line", B("250 XCLIENT ADDR\r\n"), false, ""},
    {"as a parameter", B(LIST("250 X XCLIENT ADDR")), false, ""},
    {"NUL in the list", B(LIST("250 XCLIENT ADDR\0 PORT")), true, "p"},
    {"empty", B(""), false, ""},
};

static void offer_is_read(void **state)
{
    static const char letters[] = {'a', 'p', 'A', 'P', 'r', 'l', 'n', 'N', 'h'};
    const struct offer_case *c = *state;
    struct reply r = {0};
    struct xclient_offer offer;
    make_reply(&r, &c->reply);
    assert_int_equal(xclient_read_offer(&r, &offer), c->want);
    for (size_t i = 0; i < XCLIENT_ATTRIBUTES; i++)
        assert_int_equal(offer.takes[i], strchr(c->want_takes, letters[i]) != NULL);
    reply_finish(&r);
}

/* ---- what is said ---- */

static const struct write_case {
    const char *name;
    struct bytes reply;
    struct xclient_facts facts;
    const char *want; /* NULL: nothing can be said */
    const char *want_why;
} write_cases[] = {
    {"everything",
     B(LIST("250 XCLIENT LOGIN PROTO DESTPORT DESTADDR PORT ADDR")),
     {"192.0.2.1", "4444", "192.0.2.2", "25", "ESMTP", "alice"},
     "XCLIENT ADDR=192.0.2.1 PORT=4444 DESTADDR=192.0.2.2 DESTPORT=25 PROTO=ESMTP LOGIN=alice\r\n",
     NULL},
    {"only what is known",
     B(LIST("250 XCLIENT LOGIN PROTO DESTPORT DESTADDR PORT ADDR")),
     {"192.0.2.1", NULL, "", NULL, NULL, ""},
     "XCLIENT ADDR=192.0.2.1\r\n",
     NULL},
    {"only what is taken",
     B(LIST("250 XCLIENT ADDR")),
     {"192.0.2.1", "4444", "192.0.2.2", "25", "ESMTP", NULL},
     "XCLIENT ADDR=192.0.2.1\r\n",
     NULL},
    {"names are unknown, and not ours",
     B(LIST("250 XCLIENT NAME ADDR REVERSE_NAME HELO")),
     {"192.0.2.1", NULL, NULL, NULL, NULL, NULL},
     "XCLIENT ADDR=192.0.2.1 NAME=[UNAVAILABLE] REVERSE_NAME=[UNAVAILABLE] HELO=[UNAVAILABLE]\r\n",
     NULL},
    {"IPv6",
     B(LIST("250 XCLIENT ADDR DESTADDR")),
     {"2001:db8::1", "1", "::1", "1", NULL, NULL},
     "XCLIENT ADDR=IPV6:2001:db8::1 DESTADDR=IPV6:::1\r\n",
     NULL},
    {"xtext",
     B(LIST("250 XCLIENT ADDR LOGIN")),
     {"192.0.2.1", NULL, NULL, NULL, NULL, "a+b=c d\r\ne\x7f\xff~!"},
     "XCLIENT ADDR=192.0.2.1 LOGIN=a+2Bb+3Dc+20d+0D+0Ae+7F+FF~!\r\n",
     NULL},
    {"no address",
     B(LIST("250 XCLIENT ADDR")),
     {"", "1", NULL, NULL, NULL, NULL},
     NULL,
     "the client has no address"},
    {"ADDR is not taken",
     B(LIST("250 XCLIENT PORT LOGIN")),
     {"192.0.2.1", "1", NULL, NULL, NULL, "x"},
     NULL,
     "does not take ADDR"},
    {"LOGIN is not taken",
     B(LIST("250 XCLIENT ADDR")),
     {"192.0.2.1", "1", NULL, NULL, NULL, "x"},
     NULL,
     "does not take LOGIN"},
};

static void command_is_written(void **state)
{
    const struct write_case *c = *state;
    struct reply r = {0};
    struct xclient_offer offer;
    char out[XCLIENT_MAX + 1];
    const char *why;
    make_reply(&r, &c->reply);
    assert_true(xclient_read_offer(&r, &offer));
    size_t len = xclient_write(&offer, &c->facts, out, &why);
    if (c->want != NULL) {
        assert_null(why);
        assert_bytes(out, len, c->want, strlen(c->want));
    } else {
        assert_int_equal(len, 0);
        assert_non_null(strstr(why, c->want_why));
    }
    reply_finish(&r);
}

/* 512 bytes with CRLF, and one more. */
static void command_has_at_most_512_bytes(void **state)
{
    struct xclient_offer offer = {.takes[XCLIENT_ADDR] = true, .takes[XCLIENT_LOGIN] = true};
    char login[600], out[XCLIENT_MAX + 1];
    const char *why;
    const size_t fixed = strlen("XCLIENT ADDR=192.0.2.1 LOGIN=\r\n");
    (void)state;
    for (size_t over = 0; over <= 1; over++) {
        const struct xclient_facts facts = {.address = "192.0.2.1", .login = login};
        memset(login, 'x', sizeof login);
        login[XCLIENT_MAX - fixed + over] = '\0';
        assert_int_equal(xclient_write(&offer, &facts, out, &why), over ? 0 : XCLIENT_MAX);
        assert_int_equal(why != NULL, over);
    }
}

/* Whatever a name of relayAs can be, there is room for it. */
static void longest_facts_fit(void **state)
{
    struct xclient_offer offer;
    char login[65], out[XCLIENT_MAX + 1];
    const struct xclient_facts facts = {HEX_39, "65535", HEX_39, "65535", "ESMTP", login};
    const char *why;
    (void)state;
    memset(&offer, 1, sizeof offer);
    memset(login, '+', 64);
    login[64] = '\0';
    assert_true(xclient_write(&offer, &facts, out, &why) > 360);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, offer_is_read, offer_cases);
    UNIT_ADD_TABLE(&u, command_is_written, write_cases);
    unit_add(&u, "512 bytes", command_has_at_most_512_bytes, NULL);
    unit_add(&u, "longest facts", longest_facts_fit, NULL);
    return unit_run(&u, "xclient");
}
