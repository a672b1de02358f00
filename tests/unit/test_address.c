/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "proxy/address.h"

#define PATH_107                                                                                   \
    "/2345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012" \
    "345678901234567"

static const struct form_case {
    const char *name, *text;
    bool want;
    bool want_local;
    uint16_t want_port; /* 0: address_has_port is of no interest */
} form_cases[] = {
    {"port", "25", true, false, 25},
    {"smallest port", "1", true, false, 1},
    {"largest port", "65535", true, false, 65535},
    {"port with leading zero", "025", true, false, 25},
    {"service name", "smtp", true, false, 25},
    {"IPv4 address and port", "192.0.2.1:587", true, false, 587},
    {"loopback", "127.0.0.1:25", true, true, 25},
    {"other loopback", "127.8.9.10:25", true, true, 25},
    {"localhost", "LocalHost:25", true, true, 25},
    {"IPv6 loopback in brackets", "[::1]:25", true, true, 25},
    {"IPv6 loopback without", "::1:25", true, true, 25},
    {"all IPv6 addresses", ":::25", true, false, 25},
    {"IPv6 address", "[2001:db8::1]:465", true, false, 465},
    {"host name and service name", "mx.example.org:submission", true, false, 587},
    {"no host before the colon", ":25", true, false, 25},
    {"path", "/run/mta.sock", true, true, 0},
    {"longest path", PATH_107, true, true, 0},
    {"path of one byte more", PATH_107 "8", false, true, 0},
    {"port 0", "0", false, false, 0},
    {"port 65536", "65536", false, false, 0},
    {"port 65536 + 25", "65561", false, false, 0},
    {"port of many digits", "99999999999999999999999", false, false, 0},
    {"negative port", "-25", false, false, 0},
    {"plus sign", "+25", false, false, 0},
    {"hexadecimal port", "0x19", false, false, 0},
    {"letters behind the port", "25x", false, false, 0},
    {"blank in the port", "2 5", false, false, 0},
    {"blank before the port", "localhost: 25", false, true, 0},
    {"unknown service name", "no-such-service", false, false, 0},
    {"address without port", "192.0.2.1", false, false, 0},
    {"nothing behind the colon", "localhost:", false, false, 0},
    {"only a colon", ":", false, false, 0},
    {"brackets without port", "[::1]", false, false, 0},
};

static void form_is_judged(void **state)
{
    const struct form_case *c = *state;
    char error[256] = "";
    assert_int_equal(address_is_valid(c->text, error, sizeof error), c->want);
    assert_int_equal(error[0] == '\0', c->want);
    assert_int_equal(address_is_local(c->text), c->want_local);
    if (c->want_port != 0) {
        assert_true(address_has_port(c->text, c->want_port));
        assert_false(address_has_port(c->text, (uint16_t)(c->want_port - 1)));
    } else {
        assert_false(address_has_port(c->text, 25));
    }
}

static void too_long_parts_are_refused(void **state)
{
    (void)state;
    char error[256], text[600];
    memset(text, 'h', sizeof text);
    strcpy(text + 255, ":25");
    assert_true(address_is_valid(text, error, sizeof error));
    memset(text, 'h', sizeof text);
    strcpy(text + 256, ":25");
    assert_false(address_is_valid(text, error, sizeof error));
    memset(text, '1', sizeof text);
    text[500] = '\0';
    assert_false(address_is_valid(text, error, sizeof error));
}

static const struct resolve_case {
    const char *name, *text;
    bool listening;
    const char *want; /* text of the first address; NULL: none */
} resolve_cases[] = {
    {"port to listen on: all IPv4", "2525", true, "0.0.0.0:2525"},
    {"all IPv6", ":::2525", true, "[::]:2525"},
    {"IPv4", "192.0.2.1:25", false, "192.0.2.1:25"},
    {"IPv6 in brackets", "[2001:db8::1]:25", false, "[2001:db8::1]:25"},
    {"IPv6 without brackets", "2001:db8::1:25", false, "[2001:db8::1]:25"},
    {"v4-mapped is shown as IPv4", "[::ffff:192.0.2.1]:25", false, "192.0.2.1:25"},
    {"path", "/run/mta.sock", false, "/run/mta.sock"},
    {"path too long", PATH_107 "8", false, NULL},
    {"no port", "192.0.2.1", false, NULL},
    {"port out of range", "192.0.2.1:65536", false, NULL},
};

static void text_becomes_addresses(void **state)
{
    const struct resolve_case *c = *state;
    struct address out[4];
    char error[256] = "";
    size_t n = address_resolve(c->text, c->listening, out, 4, error, sizeof error);
    if (c->want == NULL) {
        assert_int_equal(n, 0);
        assert_true(error[0] != '\0');
        return;
    }
    if (n == 0)
        fail_msg("%s", error);
    assert_string_equal(out[0].text, c->want);
    assert_true(out[0].len > 0 && out[0].len <= sizeof out[0].sa);
}

static struct address of_ipv4(const char *text, uint16_t port)
{
    struct address a = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in *in = (struct sockaddr_in *)&a.sa;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    assert_int_equal(inet_pton(AF_INET, text, &in->sin_addr), 1);
    return a;
}

static struct address of_ipv6(const char *text, uint16_t port)
{
    struct address a = {.len = sizeof(struct sockaddr_in6)};
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a.sa;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    assert_int_equal(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
    return a;
}

static void unix_peers_without_name_are_unix(void **state)
{
    (void)state;
    struct address a = {.len = sizeof(sa_family_t)};
    a.sa.ss_family = AF_UNIX;
    address_print(&a);
    assert_string_equal(a.text, "unix");
    a = (struct address){.len = sizeof(struct sockaddr_un)};
    a.sa.ss_family = AF_UNIX; /* abstract: the first byte is NUL */
    address_print(&a);
    assert_string_equal(a.text, "unix");
    a.sa.ss_family = AF_UNSPEC;
    address_print(&a);
    assert_string_equal(a.text, "?");
}

static void addresses_are_written_as_smtp_writes_them(void **state)
{
    (void)state;
    char text[ADDRESS_LITERAL_MAX];
    struct address a = of_ipv4("192.0.2.255", 25);
    address_smtp_literal(&a, text);
    assert_string_equal(text, "[192.0.2.255]");
    a = of_ipv6("2001:db8::1", 25);
    address_smtp_literal(&a, text);
    assert_string_equal(text, "[IPv6:2001:db8::1]");
    a = of_ipv6("2001:db8:1111:2222:3333:4444:5555:6666", 25);
    address_smtp_literal(&a, text);
    assert_string_equal(text, "[IPv6:2001:db8:1111:2222:3333:4444:5555:6666]");
    a = of_ipv6("::ffff:192.0.2.1", 25);
    address_smtp_literal(&a, text);
    assert_string_equal(text, "[192.0.2.1]");
    a = (struct address){.len = sizeof(sa_family_t)};
    a.sa.ss_family = AF_UNIX;
    address_smtp_literal(&a, text);
    assert_string_equal(text, "");
}

static bool same_client(struct address a, struct address b)
{
    unsigned char x[16], y[16];
    memset(x, 0x11, sizeof x); /* every byte has to be written */
    memset(y, 0x22, sizeof y);
    address_client_key(&a, x);
    address_client_key(&b, y);
    return memcmp(x, y, sizeof x) == 0;
}

static void clients_are_told_apart_by_what_they_cannot_change(void **state)
{
    (void)state;
    struct address local = {.len = sizeof(sa_family_t)};
    local.sa.ss_family = AF_UNIX;
    assert_true(same_client(of_ipv4("192.0.2.1", 1), of_ipv4("192.0.2.1", 2)));
    assert_false(same_client(of_ipv4("192.0.2.1", 1), of_ipv4("192.0.2.2", 1)));
    assert_true(same_client(of_ipv4("192.0.2.1", 1), of_ipv6("::ffff:192.0.2.1", 9)));
    assert_true(same_client(of_ipv6("2001:db8:0:1::1", 1), of_ipv6("2001:db8:0:1:ffff::2", 2)));
    assert_false(same_client(of_ipv6("2001:db8:0:1::1", 1), of_ipv6("2001:db8:0:2::1", 1)));
    assert_true(same_client(local, local));
    assert_false(same_client(local, of_ipv4("0.0.0.0", 0)));
    assert_false(same_client(of_ipv6("::", 0), of_ipv4("0.0.0.0", 0)));
}

static const struct network_case {
    const char *name, *text;
    bool want; /* it is one */
    const char *inside, *outside;
} network_cases[] = {
    {"IPv4 address", "192.0.2.1", true, "192.0.2.1", "192.0.2.2"},
    {"IPv4 /32", "192.0.2.1/32", true, "192.0.2.1", "192.0.2.0"},
    {"IPv4 /24", "192.0.2.0/24", true, "192.0.2.255", "192.0.3.0"},
    {"IPv4 /25", "192.0.2.128/25", true, "192.0.2.128", "192.0.2.127"},
    {"IPv4 /31", "192.0.2.254/31", true, "192.0.2.255", "192.0.2.253"},
    {"IPv4 /1", "128.0.0.0/1", true, "255.0.0.1", "127.255.255.255"},
    {"IPv4 /0", "0.0.0.0/0", true, "255.255.255.255", "::"},
    {"IPv6 address", "2001:db8::1", true, "2001:db8::1", "2001:db8::2"},
    {"IPv6 /128", "2001:db8::1/128", true, "2001:db8::1", "2001:db8::"},
    {"IPv6 /32", "2001:db8::/32", true, "2001:db8:ffff::1", "2001:db9::"},
    {"IPv6 /33", "2001:db8:8000::/33", true, "2001:db8:ffff::1", "2001:db8:7fff::"},
    {"IPv6 /0 has no IPv4 in it", "::/0", true, "2001:db8::1", "192.0.2.1"},
    {"IPv6 /0 has no v4-mapped in it", "::/0", true, "::1", "::ffff:192.0.2.1"},
    {"v4-mapped client", "192.0.2.0/24", true, "::ffff:192.0.2.1", "::ffff:192.0.3.1"},
    {"v4-mapped network", "::ffff:192.0.2.0/120", true, "192.0.2.1", "192.0.3.1"},
    {"v4-mapped address", "::ffff:192.0.2.1", true, "::ffff:192.0.2.1", "192.0.2.2"},
    {"all v4-mapped", "::ffff:0:0/96", true, "192.0.2.1", "2001:db8::1"},
    {"bits behind /24", "192.0.2.1/24", false, NULL, NULL},
    {"bits behind /25", "192.0.2.64/25", false, NULL, NULL},
    {"bits behind /0", "128.0.0.0/0", false, NULL, NULL},
    {"bits behind IPv6 /32", "2001:db8::1/32", false, NULL, NULL},
    {"IPv4 /33", "192.0.2.0/33", false, NULL, NULL},
    {"IPv6 /129", "2001:db8::/129", false, NULL, NULL},
    {"no bits", "192.0.2.0/", false, NULL, NULL},
    {"sign", "192.0.2.0/+24", false, NULL, NULL},
    {"mask", "192.0.2.0/255.255.255.0", false, NULL, NULL},
    {"many bits", "192.0.2.0/99999999999999999999", false, NULL, NULL},
    {"host name", "localhost", false, NULL, NULL},
    {"port", "192.0.2.1:25", false, NULL, NULL},
    {"three numbers", "192.0.2/24", false, NULL, NULL},
    {"nothing", "", false, NULL, NULL},
    {"only bits", "/24", false, NULL, NULL},
    {"longer than any address", "00000000000000000000000000000000000000000000000001", false, NULL,
     NULL},
};

static struct address of_text(const char *text)
{
    return strchr(text, ':') != NULL ? of_ipv6(text, 1) : of_ipv4(text, 1);
}

static void network_has_its_addresses(void **state)
{
    const struct network_case *c = *state;
    struct network n;
    const struct network_list list = {.items = &n, .count = 1}, none = {0};
    assert_int_equal(network_parse(c->text, &n) == NULL, c->want);
    if (!c->want)
        return;
    const struct address inside = of_text(c->inside), outside = of_text(c->outside);
    assert_true(network_list_has(&list, &inside));
    assert_false(network_list_has(&list, &outside));
    assert_false(network_list_has(&none, &inside));
}

static void network_has_no_unix_sockets(void **state)
{
    (void)state;
    struct network n[2];
    const struct network_list list = {.items = n, .count = 2};
    struct address a = {.len = sizeof(sa_family_t), .sa.ss_family = AF_UNIX};
    assert_null(network_parse("0.0.0.0/0", &n[0]));
    assert_null(network_parse("::/0", &n[1]));
    assert_false(network_list_has(&list, &a));
    a = of_ipv6("::ffff:192.0.2.1", 7);
    assert_true(network_list_has(&list, &a));
}

static void mapped_addresses_are_unmapped(void **state)
{
    (void)state;
    struct address a = of_ipv6("::ffff:192.0.2.1", 25), b = address_unmapped(&a);
    assert_int_equal(b.sa.ss_family, AF_INET);
    assert_string_equal(b.text, "192.0.2.1:25");
    assert_int_equal(address_port(&b), 25);
    a = of_ipv6("2001:db8::1", 25);
    b = address_unmapped(&a);
    assert_int_equal(b.sa.ss_family, AF_INET6);
    assert_int_equal(address_port(&b), 25);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, form_is_judged, form_cases);
    unit_add(&u, "too long parts are refused", too_long_parts_are_refused, NULL);
    UNIT_ADD_TABLE(&u, text_becomes_addresses, resolve_cases);
    unit_add(&u, "unix peers without a name", unix_peers_without_name_are_unix, NULL);
    unit_add(&u, "addresses as SMTP writes them", addresses_are_written_as_smtp_writes_them, NULL);
    unit_add(&u, "clients are told apart", clients_are_told_apart_by_what_they_cannot_change, NULL);
    UNIT_ADD_TABLE(&u, network_has_its_addresses, network_cases);
    unit_add(&u, "network has no unix sockets", network_has_no_unix_sockets, NULL);
    unit_add(&u, "mapped addresses are unmapped", mapped_addresses_are_unmapped, NULL);
    return unit_run(&u, "address");
}
