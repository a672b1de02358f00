/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "proxy/identity.h"

/* The fixed part of version 2: magic, version and command, family, length. */
#define V2(version_command, family, len) "\r\n\r\n\0\r\nQUIT\n" version_command family len
#define IPV4_ENDS                        "\300\0\2\1\300\0\2\2\x11\x5c\0\x19" /* 192.0.2.1:4444, .2:25 */
#define DB8_1                            "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define DB8_2                            "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\2"
#define IPV6_ENDS                        DB8_1 DB8_2 "\x11\x5c\0\x19"
#define HEX_39                           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

/* ---- reading ---- */

static const struct good_case {
    const char *name;
    struct bytes header;
    const char *want_source, *want_destination; /* NULL: not known */
    struct bytes want_id;
} good_cases[] = {
    {"v1 IPv4", B("PROXY TCP4 192.0.2.1 192.0.2.2 4444 25\r\n"), "192.0.2.1:4444", "192.0.2.2:25",
     B("")},
    {"v1 IPv4, longest", B("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
     "255.255.255.255:65535", "255.255.255.255:65535", B("")},
    {"v1 port 0", B("PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n"), "192.0.2.1:0", "192.0.2.2:0", B("")},
    {"v1 IPv6", B("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 4444 25\r\n"), "[2001:db8::1]:4444",
     "[2001:db8::2]:25", B("")},
    {"v1 IPv6, longest", B("PROXY TCP6 " HEX_39 " " HEX_39 " 65535 65535\r\n"),
     "[" HEX_39 "]:65535", "[" HEX_39 "]:65535", B("")},
    {"v1 v4-mapped", B("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 4444 25\r\n"),
     "192.0.2.1:4444", "192.0.2.2:25", B("")},
    {"v1 unknown", B("PROXY UNKNOWN\r\n"), NULL, NULL, B("")},
    {"v1 unknown with something", B("PROXY UNKNOWN anything at all\r\n"), NULL, NULL, B("")},
    {"v1 of 107 bytes", B("PROXY UNKNOWN " HEX_39 " " HEX_39 " 65535 65535\r\n"), NULL, NULL,
     B("")},
    {"v2 IPv4", B(V2("\x21", "\x11", "\0\xc") IPV4_ENDS), "192.0.2.1:4444", "192.0.2.2:25", B("")},
    {"v2 IPv6", B(V2("\x21", "\x21", "\0\x24") IPV6_ENDS), "[2001:db8::1]:4444", "[2001:db8::2]:25",
     B("")},
    {"v2 local", B(V2("\x20", "\0", "\0\0")), NULL, NULL, B("")},
    {"v2 local with addresses", B(V2("\x20", "\x11", "\0\xc") IPV4_ENDS), NULL, NULL, B("")},
    {"v2 local with nonsense", B(V2("\x20", "\xff", "\0\3") "\1\xff\xff"), NULL, NULL, B("")},
    {"v2 unspec", B(V2("\x21", "\0", "\0\0")), NULL, NULL, B("")},
    {"v2 datagrams", B(V2("\x21", "\x12", "\0\xc") IPV4_ENDS), NULL, NULL, B("")},
    {"v2 datagrams, IPv6", B(V2("\x21", "\x22", "\0\x24") IPV6_ENDS), NULL, NULL, B("")},
    {"v2 unknown TLV, empty TLV", B(V2("\x21", "\x11", "\0\x14") IPV4_ENDS "\xe0\0\2xy\4\0\0"),
     "192.0.2.1:4444", "192.0.2.2:25", B("")},
    {"v2 id with NUL", B(V2("\x21", "\x11", "\0\x12") IPV4_ENDS "\5\0\3a\0b"), "192.0.2.1:4444",
     "192.0.2.2:25", B("a\0b")},
    {"v2 TLS", B(V2("\x21", "\x11", "\0\x1c") IPV4_ENDS "\x20\0\xd\1\0\0\0\0\x21\0\5TLSv1"),
     "192.0.2.1:4444", "192.0.2.2:25", B("")},
    /* calculated by another implementation */
    {"v2 checksum",
     B(V2("\x21", "\x11", "\0\x18") IPV4_ENDS "\3\0\4"
                                              "Rf Y"
                                              "\4\0\2ab"),
     "192.0.2.1:4444", "192.0.2.2:25", B("")},
};

static void header_is_read(void **state)
{
    const struct good_case *c = *state;
    struct identity id;
    size_t used;
    assert_int_equal(identity_read(c->header.data, c->header.len, &id, &used), IDENTITY_OK);
    assert_int_equal(used, c->header.len);
    assert_int_equal(id.known, c->want_source != NULL);
    if (id.known) {
        assert_string_equal(id.source.text, c->want_source);
        assert_string_equal(id.destination.text, c->want_destination);
    }
    assert_bytes(id.id, id.id_len, c->want_id.data, c->want_id.len);
}

/* Whatever has come of it, it is good so far; and not one byte behind it is taken. */
static void header_is_read_in_pieces(void **state)
{
    const struct good_case *c = *state;
    char more[512];
    struct identity id;
    size_t used;
    for (size_t n = 0; n < c->header.len; n++) {
        char *exact = malloc(n + 1); /* so that a sanitizer sees a byte too many */
        memcpy(exact, c->header.data, n);
        assert_int_equal(identity_read(exact, n, &id, &used), IDENTITY_MORE);
        free(exact);
    }
    memcpy(more, c->header.data, c->header.len);
    memcpy(more + c->header.len, "EHLO x\r\n", 8);
    assert_int_equal(identity_read(more, c->header.len + 8, &id, &used), IDENTITY_OK);
    assert_int_equal(used, c->header.len);
}

static const struct bad_case {
    const char *name;
    struct bytes header;
} bad_cases[] = {
    {"SMTP", B("E")},
    {"TLS", B("\x16\3\1")},
    {"lower case", B("proxy")},
    {"PROXIED", B("PROXI")},
    {"two blanks at the beginning", B("PROXY  TCP4 192.0.2.1 192.0.2.2 4444 25\r\n")},
    {"two blanks within", B("PROXY TCP4 192.0.2.1  192.0.2.2 4444 25\r\n")},
    {"blank at the end", B("PROXY TCP4 192.0.2.1 192.0.2.2 4444 25 \r\n")},
    {"tabulator", B("PROXY\tTCP4")},
    {"one word more", B("PROXY TCP4 192.0.2.1 192.0.2.2 4444 25 x\r\n")},
    {"one word less", B("PROXY TCP4 192.0.2.1 192.0.2.2 4444\r\n")},
    {"nothing", B("PROXY \r\n")},
    {"TCP5", B("PROXY TCP5 192.0.2.1 192.0.2.2 4444 25\r\n")},
    {"UNKNOWNS", B("PROXY UNKNOWNS\r\n")},
    {"bare LF", B("PROXY TCP4 192.0.2.1 192.0.2.2 4444 25\n")},
    {"bare CR", B("PROXY TCP4 192.0.2.1 192.0.2.2 4444 25\rx")},
    {"CR within unknown", B("PROXY UNKNOWN a\rb\r\n")},
    {"NUL within", B("PROXY UNKNOWN a\0b\r\n")},
    {"IPv4 with leading zero", B("PROXY TCP4 192.0.02.1 192.0.2.2 4444 25\r\n")},
    {"IPv4 with three numbers", B("PROXY TCP4 192.0.2 192.0.2.2 4444 25\r\n")},
    {"IPv4 out of range", B("PROXY TCP4 192.0.2.256 192.0.2.2 4444 25\r\n")},
    {"hexadecimal IPv4", B("PROXY TCP4 0xc0.0.2.1 192.0.2.2 4444 25\r\n")},
    {"IPv6 as TCP4", B("PROXY TCP4 2001:db8::1 192.0.2.2 4444 25\r\n")},
    {"IPv4 as TCP6", B("PROXY TCP6 192.0.2.1 2001:db8::2 4444 25\r\n")},
    {"IPv6 with scope", B("PROXY TCP6 fe80::1%lo fe80::2 4444 25\r\n")},
    {"IPv6 with brackets", B("PROXY TCP6 [2001:db8::1] 2001:db8::2 4444 25\r\n")},
    {"IPv6 with two gaps", B("PROXY TCP6 2001::db8::1 2001:db8::2 4444 25\r\n")},
    {"host name", B("PROXY TCP4 localhost 192.0.2.2 4444 25\r\n")},
    {"port with leading zero", B("PROXY TCP4 192.0.2.1 192.0.2.2 04444 25\r\n")},
    {"port 65536", B("PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n")},
    {"port of six digits", B("PROXY TCP4 192.0.2.1 192.0.2.2 100000 25\r\n")},
    {"port with sign", B("PROXY TCP4 192.0.2.1 192.0.2.2 +444 25\r\n")},
    {"no port", B("PROXY TCP4 192.0.2.1 192.0.2.2  25\r\n")},
    {"bad destination port", B("PROXY TCP4 192.0.2.1 192.0.2.2 4444 x\r\n")},
    {"bad destination", B("PROXY TCP4 192.0.2.1 192.0.2.x 4444 25\r\n")},
    {"v1 of 108 bytes", B("PROXY UNKNOWN " HEX_39 " " HEX_39 " 65535 65535x\r\n")},
    {"v1 of 106 bytes without CR", B("PROXY UNKNOWN " HEX_39 " " HEX_39 " 65535 65535x")},
    {"v2 magic with a slip", B("\r\n\r\n\0\r\nQUIT\r")},
    {"v2 version 1", B("\r\n\r\n\0\r\nQUIT\n\x11")},
    {"v2 version 3", B("\r\n\r\n\0\r\nQUIT\n\x31")},
    {"v2 command 2", B("\r\n\r\n\0\r\nQUIT\n\x22")},
    {"v2 family 4", B(V2("\x21", "\x41", "\0\xc"))},
    {"v2 transport 3", B(V2("\x21", "\x13", "\0\xc"))},
    {"v2 IPv4 without transport", B(V2("\x21", "\x10", "\0\xc"))},
    {"v2 transport without family", B(V2("\x21", "\x01", "\0\xc"))},
    {"v2 IPv4 too short", B(V2("\x21", "\x11", "\0\xb"))},
    {"v2 IPv6 too short", B(V2("\x21", "\x21", "\0\x23"))},
    {"v2 Unix too short", B(V2("\x21", "\x31", "\0\xd7"))},
    {"v2 of 4097 bytes", B(V2("\x21", "\x11", "\xf\xf1"))},
    {"v2 longest", B(V2("\x21", "\x11", "\xff\xff"))},
    {"v2 half a TLV", B(V2("\x21", "\x11", "\0\xe") IPV4_ENDS "\4\0")},
    {"v2 TLV over the end", B(V2("\x21", "\x11", "\0\x10") IPV4_ENDS "\4\0\2x")},
    {"v2 TLV far over the end", B(V2("\x21", "\x11", "\0\x10") IPV4_ENDS "\4\xff\xffx")},
    {"v2 TLV over the end behind unspec", B(V2("\x21", "\0", "\0\4") "\4\0\2x")},
    {"v2 checksum of three bytes", B(V2("\x21", "\x11", "\0\x12") IPV4_ENDS "\3\0\3abc")},
    {"v2 wrong checksum", B(V2("\x21", "\x11", "\0\x18") IPV4_ENDS "\3\0\4"
                                                                   "Rf X"
                                                                   "\4\0\2ab")},
    {"v2 TLS too short", B(V2("\x21", "\x11", "\0\x13") IPV4_ENDS "\x20\0\4\1\0\0\0")},
    {"v2 TLS, inner TLV over its end",
     B(V2("\x21", "\x11", "\0\x1c") IPV4_ENDS "\x20\0\xd\1\0\0\0\0\x21\0\6TLSv1")},
};

static void header_is_bad(void **state)
{
    const struct bad_case *c = *state;
    struct identity id;
    size_t used;
    assert_int_equal(identity_read(c->header.data, c->header.len, &id, &used), IDENTITY_BAD);
}

static void v2_of_exactly_the_limit_is_read(void **state)
{
    (void)state;
    char header[IDENTITY_READ_MAX] = V2("\x21", "\x11", "\xf\xf0") IPV4_ENDS "\4\xf\xe1";
    struct identity id;
    size_t used;
    assert_int_equal(identity_read(header, sizeof header, &id, &used), IDENTITY_OK);
    assert_int_equal(used, sizeof header);
}

static void unix_sockets_are_not_known(void **state)
{
    (void)state;
    char header[16 + 216] = V2("\x21", "\x31", "\0\xd8") "/run/balancer.sock";
    struct identity id;
    size_t used;
    assert_int_equal(identity_read(header, sizeof header, &id, &used), IDENTITY_OK);
    assert_false(id.known);
}

static void ids_have_a_limit(void **state)
{
    (void)state;
    for (unsigned over = 0; over <= 1; over++) {
        char header[16 + 12 + 3 + IDENTITY_ID_MAX + 1] =
            V2("\x21", "\x11", "\0\x8f") IPV4_ENDS "\5\0\x80";
        header[15] = (char)(0x8f + over);
        header[30] = (char)(IDENTITY_ID_MAX + over);
        struct identity id;
        size_t used;
        assert_int_equal(identity_read(header, sizeof header - 1 + over, &id, &used),
                         over ? IDENTITY_BAD : IDENTITY_OK);
        assert_int_equal(id.id_len, over ? 0 : IDENTITY_ID_MAX);
    }
}

/* ---- writing ---- */

static struct address address(const char *text, uint16_t port)
{
    char ip[16];
    int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    assert_int_equal(inet_pton(family, text, ip), 1);
    return address_of(family, ip, port);
}

static const struct write_case {
    const char *name;
    const char *client, *server; /* ports 4444 and 25; "": a Unix socket; NULL: nobody */
    struct tls_info tls;         /* version NULL: none */
    struct tls_certificates certificates;
    const char *verified;
    const char *id;
    struct bytes want_v1, want_v2;
} write_cases[] = {
    {"IPv4",
     "192.0.2.1",
     "192.0.2.2",
     {0},
     {.our_signature = "-", .our_key = "-"},
     NULL,
     "",
     B("PROXY TCP4 192.0.2.1 192.0.2.2 4444 25\r\n"),
     B(V2("\x21", "\x11", "\0\xc") IPV4_ENDS)},
    {"IPv6",
     "2001:db8::1",
     "2001:db8::2",
     {0},
     {.our_signature = "-", .our_key = "-"},
     NULL,
     "",
     B("PROXY TCP6 2001:db8::1 2001:db8::2 4444 25\r\n"),
     B(V2("\x21", "\x21", "\0\x24") IPV6_ENDS)},
    {"longest IPv6",
     HEX_39,
     HEX_39,
     {0},
     {.our_signature = "-", .our_key = "-"},
     NULL,
     "",
     B("PROXY TCP6 " HEX_39 " " HEX_39 " 4444 25\r\n"),
     B(V2("\x21", "\x21",
          "\0\x24") "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
                    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
                    "\x11\x5c\0\x19")},
    {"v4-mapped",
     "::ffff:192.0.2.1",
     "::ffff:192.0.2.2",
     {0},
     {.our_signature = "-", .our_key = "-"},
     NULL,
     "",
     B("PROXY TCP4 192.0.2.1 192.0.2.2 4444 25\r\n"),
     B(V2("\x21", "\x11", "\0\xc") IPV4_ENDS)},
    {"two families",
     "2001:db8::1",
     "192.0.2.2",
     {0},
     {.our_signature = "-", .our_key = "-"},
     NULL,
     "",
     B("PROXY UNKNOWN\r\n"),
     B(V2("\x21", "\0", "\0\0"))},
    {"Unix socket",
     "",
     "",
     {0},
     {.our_signature = "-", .our_key = "-"},
     NULL,
     "x",
     B("PROXY UNKNOWN\r\n"),
     B(V2("\x21", "\0", "\0\4") "\5\0\1x")},
    {"our own connection",
     NULL,
     NULL,
     {0},
     {.our_signature = "-", .our_key = "-"},
     NULL,
     "x",
     B("PROXY UNKNOWN\r\n"),
     B(V2("\x20", "\0", "\0\0"))},
    {"id",
     "192.0.2.1",
     "192.0.2.2",
     {0},
     {.our_signature = "-", .our_key = "-"},
     NULL,
     "0123",
     B("PROXY TCP4 192.0.2.1 192.0.2.2 4444 25\r\n"),
     B(V2("\x21", "\x11", "\0\x13") IPV4_ENDS "\5\0\4"
                                              "0123")},
    {"TLS that says little",
     "192.0.2.1",
     "192.0.2.2",
     {.version = "TLS1.2", .cipher = "-", .sni = "-", .alpn = "-"},
     {.our_signature = "-", .our_key = "-"},
     NULL,
     "",
     B("PROXY TCP4 192.0.2.1 192.0.2.2 4444 25\r\n"),
     B(V2("\x21", "\x11", "\0\x1e") IPV4_ENDS "\x20\0\xf\1\0\0\0\1\x21\0\7TLSv1.2")},
    {"TLS that says all",
     "192.0.2.1",
     "192.0.2.2",
     {.version = "TLS1.3", .cipher = "AES-128-GCM", .sni = "mx", .alpn = "smtp"},
     {.our_signature = "ECDSA-SHA256", .our_key = "EC/ECDSA", .our_key_bits = 256},
     "Joe",
     "i",
     B("PROXY TCP4 192.0.2.1 192.0.2.2 4444 25\r\n"),
     B(V2("\x21", "\x11", "\0\x59") IPV4_ENDS "\1\0\4smtp"
                                              "\2\0\2mx"
                                              "\5\0\1i"
                                              "\x20\0\x3a\7\0\0\0\0"
                                              "\x21\0\7TLSv1.3"
                                              "\x22\0\3Joe"
                                              "\x23\0\xb"
                                              "AES-128-GCM"
                                              "\x24\0\xc"
                                              "ECDSA-SHA256"
                                              "\x25\0\5"
                                              "EC256")},
};

static void header_is_written(void **state)
{
    const struct write_case *c = *state;
    struct address client = {.len = 2, .sa.ss_family = AF_UNIX}, server = client;
    if (c->client != NULL && c->client[0] != '\0') {
        client = address(c->client, 4444);
        server = address(c->server, 25);
    }
    const struct identity_facts f = {.client = c->client != NULL ? &client : NULL,
                                     .server = &server,
                                     .tls = c->tls.version != NULL ? &c->tls : NULL,
                                     .certificates = &c->certificates,
                                     .name = c->verified,
                                     .id = c->id,
                                     .id_len = strlen(c->id)};
    char out[IDENTITY_WRITE_MAX];
    size_t n = identity_write_v1(&f, out);
    assert_bytes(out, n, c->want_v1.data, c->want_v1.len);
    n = identity_write_v2(&f, out);
    assert_bytes(out, n, c->want_v2.data, c->want_v2.len);
}

/* What is written can be read; nothing that peers can choose makes it too long. */
static void longest_header_is_written_and_read(void **state)
{
    (void)state;
    char text[512], out[IDENTITY_WRITE_MAX];
    const struct tls_certificates certificates = {.our_signature = "ECDSA-SECP256R1-SHA256",
                                                  .our_key = "EdDSA (Ed25519)",
                                                  .our_key_bits = 4294967295U};
    const struct address client = address("2001:db8::1", 1), server = address("2001:db8::2", 2);
    memset(text, 'x', sizeof text);
    text[255] = '\0';
    const struct tls_info tls = {
        .version = "TLS1.3", .cipher = "CHACHA20-POLY1305", .sni = text, .alpn = text + 224};
    const struct identity_facts f = {.client = &client,
                                     .server = &server,
                                     .tls = &tls,
                                     .certificates = &certificates,
                                     .name = text,
                                     .id = text,
                                     .id_len = IDENTITY_ID_MAX};
    struct identity id;
    size_t used, n = identity_write_v2(&f, out);
    assert_int_equal(identity_read(out, n, &id, &used), IDENTITY_OK);
    assert_int_equal(used, n);
    assert_string_equal(id.source.text, client.text);
    assert_bytes(id.id, id.id_len, text, IDENTITY_ID_MAX);
}

static void name_too_long_is_left_out(void **state)
{
    (void)state;
    char text[257], out[IDENTITY_WRITE_MAX];
    const struct address client = address("192.0.2.1", 1);
    memset(text, 'x', sizeof text);
    text[256] = '\0';
    const struct tls_info tls = {.version = "TLS1.3", .cipher = "-", .sni = text, .alpn = "-"};
    const struct identity_facts f = {.client = &client, .server = &client, .tls = &tls};
    size_t n = identity_write_v2(&f, out);
    assert_int_equal(n, 16 + 12 + 3 + 5 + 3 + 7);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, header_is_read, good_cases);
    UNIT_ADD_TABLE(&u, header_is_read_in_pieces, good_cases);
    UNIT_ADD_TABLE(&u, header_is_bad, bad_cases);
    unit_add(&u, "v2 of exactly the limit", v2_of_exactly_the_limit_is_read, NULL);
    unit_add(&u, "unix sockets are not known", unix_sockets_are_not_known, NULL);
    unit_add(&u, "ids have a limit", ids_have_a_limit, NULL);
    UNIT_ADD_TABLE(&u, header_is_written, write_cases);
    unit_add(&u, "longest header", longest_header_is_written_and_read, NULL);
    unit_add(&u, "name too long is left out", name_too_long_is_left_out, NULL);
    return unit_run(&u, "identity");
}
