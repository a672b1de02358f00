/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <unistd.h>

#include "proxy/config.h"
#include "proxy/demand.h"
#include "proxy/original.h"

struct told {
    char text[1500]; /* the first error */
};

static void hear(void *ctx, bool is_error, const char *sentence)
{
    struct told *t = ctx;
    if (is_error && t->text[0] == '\0')
        snprintf(t->text, sizeof t->text, "%s", sentence);
}

static bool load(struct config *c, struct told *t, const char *text)
{
    config_init(c);
    t->text[0] = '\0';
    c->complain = hear;
    c->complain_ctx = t;
    return config_parse(c, text, strlen(text), "c.conf") && config_check(c);
}

static void load_good(struct config *c, const char *text)
{
    struct told t;
    if (!load(c, &t, text))
        fail_msg("%s", t.text);
}

/* What follows is line 6, or 5 without the protocol. */
#define BARE "[out]\nclient = yes\ntransparent = destination\naccept = 127.0.0.1:2525\n"
#define OUT  BARE "protocol = smtp\n"
#define IN   "[in]\naccept = 127.0.0.1:2525\ncert = /nonexistent\n"            /* 4 */
#define NONE "[out]\nclient = yes\naccept = 127.0.0.1:2525\nprotocol = smtp\n" /* 5 */

/* ---- what is wrong ---- */

static const struct error_case {
    const char *name, *text, *want, *want_part;
} error_cases[] = {
    {"stunnel's source", NONE "connect = a:25\ntransparent = source\n",
     "c.conf:6: ", "write identity = transparent"},
    {"stunnel's both", NONE "connect = a:25\ntransparent = both\n",
     "c.conf:6: ", "write transparent = destination"},
    {"for servers", IN "transparent = destination\n", "c.conf:4: ", "is for client = yes"},
    {"host", OUT "connect = mail.example.org:25\n", "c.conf:6: ", "write connect = *:PORT"},
    {"port of this host", OUT "connect = 25\n", "c.conf:6: ", "write connect = *:PORT"},
    {"path", OUT "connect = /run/mta\n", "c.conf:6: ", "write connect = *:PORT"},
    {"host beside a port", OUT "connect = *:25\nconnect = a:25\n", "c.conf:7: ", "connect = a:25"},
    {"port that is none", OUT "connect = *:0\n", "c.conf:6: ", "neither a port"},
    {"no port without SMTP", BARE, "c.conf:3: ", "needs connect = *:PORT"},
    {"any host without the option", NONE "connect = *:25\n",
     "c.conf:5: ", "is for transparent = destination"},
    {"any host in brackets", NONE "connect = [*]:25\n",
     "c.conf:5: ", "is for transparent = destination"},
    {"circle", OUT "accept = 25\n", "c.conf:6: ", "round in a circle"},
    {"circle by the name of the port", OUT "connect = *:smtp\naccept = 192.0.2.1:25\n",
     "c.conf:7: ", "round in a circle"},
    {"accept that is a path", OUT "accept = /run/x\n", "c.conf:6: ", "redirects to a port"},
    {"balancer", OUT "acceptProxy = 192.0.2.1\n", "c.conf:6: ", "leave acceptProxy out"},
    {"identity", OUT "identity = proxy\n", "c.conf:6: ", "leave identity out"},
    {"source of the client", OUT "identity = transparent\n", "c.conf:6: ", "leave identity out"},
    {"failover", OUT "failover = rr\n", "c.conf:6: ", "leave failover out"},
    {"program", OUT "exec = /bin/cat\n", "c.conf:6: ", "client = yes needs a server"},

    /* levels */
    {"secure without a name", OUT "tlsLevel = secure\n",
     "c.conf:6: at level secure a name is needed", "write tlsPolicy = ADDRESS secure match=NAME"},
    {"verify without a name", OUT "tlsLevel = verify\n",
     "c.conf:6: ", "write tlsPolicy = ADDRESS verify match=NAME"},
    {"rule without a name", OUT "tlsPolicy = /^192\\.0\\.2\\.7$/ secure\n",
     "c.conf:6: at level secure a name is needed", "match=NAME"},
    {"rule for a network without a name", OUT "tlsPolicy = 192.0.2.0/24 verify\n",
     "c.conf:6: ", "match=NAME"},
    {"rule without a pin", OUT "tlsPolicy = 192.0.2.7 fingerprint\n", "c.conf:6: ", "needs a pin"},
    {"name for nobody", OUT "checkHost = a.example.org\n", "c.conf:6: ", "means nothing"},
    {"network with too many bits", OUT "tlsPolicy = 192.0.2.0/33 encrypt\n",
     "c.conf:6: ", "number of bits"},
    {"network with bits behind it", OUT "tlsPolicy = 192.0.2.1/24 encrypt\n",
     "c.conf:6: ", "bits set behind"},
    {"network alone", OUT "tlsPolicy = 2001:db8::/32\n", "c.conf:6: ", "a level must follow"},
};

static void error_says_where_and_what_to_write(void **state)
{
    const struct error_case *e = *state;
    struct config c;
    struct told t;
    assert_false(load(&c, &t, e->text));
    if (strncmp(t.text, e->want, strlen(e->want)) != 0 || strstr(t.text, e->want_part) == NULL)
        fail_msg("\"%s\" is not \"%s...%s\"", t.text, e->want, e->want_part);
    config_finish(&c);
}

/* ---- what is decided ---- */

/* Which line of the table is for the address; 0: none, so it is the service's. */
static const struct decision {
    const char *name, *address;
    unsigned line;
} decisions[] = {
    {"address", "192.0.2.7", 1},
    {"v4-mapped", "::ffff:192.0.2.7", 1},
    {"beside it", "192.0.2.70", 0},
    {"first of a network", "198.51.100.0", 2},
    {"last of it", "198.51.100.127", 2},
    {"behind it", "198.51.100.128", 0},
    {"IPv6 network", "2001:db8:7:1::9", 3},
    {"other IPv6 network", "2001:db8:8::9", 0},
    {"pattern for the address", "203.0.113.5", 4},
    {"pattern with the port", "203.0.113.6", 5},
    {"pattern with brackets and the port", "2001:db8::7", 6},
    {"pattern in lower case", "2001:db8::ab", 7},
    {"two rules, the first of them", "203.0.113.66", 8},
};

#define TABLE                                                                                      \
    OUT "tlsPolicy = 192.0.2.7 secure match=mail.example.net\n"                                    \
        "tlsPolicy = 198.51.100.0/25 encrypt\n"                                                    \
        "tlsPolicy = 2001:db8:7::/48 encrypt\n"                                                    \
        "tlsPolicy = /^203\\.0\\.113\\.5$/ none\n"                                                 \
        "tlsPolicy = /^203\\.0\\.113\\.6:25$/ none\n"                                              \
        "tlsPolicy = /^\\[2001:db8::7\\]:25$/ none\n"                                              \
        "tlsPolicy = /^2001:db8::ab$/ none\n"                                                      \
        "tlsPolicy = 203.0.113.64/26 encrypt\n"                                                    \
        "tlsPolicy = 203.0.113.66 none\n"

static void rule_is_found_by_the_address(void **state)
{
    const struct decision *want = *state;
    struct config c;
    struct address to;
    char where[32];
    load_good(&c, TABLE);
    assert_true(address_read(want->address, 25, &to));
    const struct demand *d = demand_for(&c.services[0], &to);
    if (want->line == 0) {
        assert_null(d->where);
        assert_int_equal(d->level, LEVEL_MAY);
        assert_null(d->server_name);
    } else {
        snprintf(where, sizeof where, "c.conf:%u", want->line + 5);
        assert_string_equal(d->where, where);
    }
    config_finish(&c);
}

static void rule_is_whole(void **state)
{
    (void)state;
    struct config c;
    struct address to;
    load_good(&c, TABLE);
    assert_true(address_read("192.0.2.7", 25, &to));
    const struct demand *d = demand_for(&c.services[0], &to);
    assert_int_equal(d->level, LEVEL_SECURE);
    assert_true(d->need_ca);
    assert_int_equal(d->hosts.count, 1);
    assert_string_equal(d->hosts.items[0], "mail.example.net");
    assert_string_equal(d->server_name, "mail.example.net");
    config_finish(&c);
}

static void port_25_is_meant_where_none_is_given(void **state)
{
    (void)state;
    struct config c;
    struct backends b;
    char error[200];
    load_good(&c, OUT);
    assert_int_equal(c.services[0].connect.count, 1);
    assert_string_equal(c.services[0].connect.items[0].text, "*:25");
    assert_true(backends_resolve(&b, &c, &c.services[0], error, sizeof error));
    assert_true(b.redirected && b.count == 1 && address_port(&b.addresses[0]) == 25);
    config_finish(&c);
    load_good(&c, OUT "connect = *:587\nconnect = [*]:smtp\n");
    assert_true(backends_resolve(&b, &c, &c.services[0], error, sizeof error));
    assert_int_equal(b.count, 2);
    assert_int_equal(address_port(&b.addresses[0]), 587);
    assert_int_equal(address_port(&b.addresses[1]), 25);
    config_finish(&c);
}

static void rule_for_a_network_is_for_literal_addresses(void **state)
{
    (void)state;
    struct config c;
    load_good(&c, NONE "connect = 192.0.2.7:25\nconnect = [2001:db8::7]:25\n"
                       "connect = mail.example.org:25\ntlsPolicy = 192.0.2.0/24 encrypt\n"
                       "tlsPolicy = 2001:db8::7 none\n");
    assert_int_equal(c.services[0].demands[0].level, LEVEL_ENCRYPT);
    assert_int_equal(c.services[0].demands[1].level, LEVEL_NONE);
    assert_int_equal(c.services[0].demands[2].level, LEVEL_SECURE);
    config_finish(&c);
}

/* ---- one connection, which nobody has redirected ---- */

static const struct going {
    const char *name, *local;
    const char *listener; /* NULL: a single session */
    const char *reason;   /* NULL: it may go there */
} goings[] = {
    {"TPROXY", "192.0.2.7:25", "127.0.0.1:2525", NULL},
    {"TPROXY, IPv6", "[2001:db8::7]:25", "[::1]:2525", NULL},
    {"TPROXY to all addresses", "192.0.2.7:25", "0.0.0.0:2525", NULL},
    {"itself", "127.0.0.1:2525", "127.0.0.1:2525", "connected to directly"},
    {"itself, one of its addresses", "192.0.2.1:2525", "0.0.0.0:2525", "connected to directly"},
    {"itself, IPv6", "[::1]:2525", "[::1]:2525", "connected to directly"},
    {"itself on the port that is meant", "192.0.2.1:25", "0.0.0.0:25", "connected to directly"},
    {"mapped address of one for both", "192.0.2.1:2525", "[::]:2525", "connected to directly"},
    {"loopback", "127.0.0.2:25", "127.0.0.1:2525", "this machine itself"},
    {"loopback, IPv6", "[::1]:25", "[::1]:2525", "this machine itself"},
    {"single session", "192.0.2.7:25", NULL, "connected to directly"},
    {"other port", "192.0.2.7:26", "127.0.0.1:2525", "a port that connect does not have"},
};

static struct address parse(const char *text)
{
    struct address a;
    char error[200];
    assert_int_equal(address_resolve(text, true, &a, 1, error, sizeof error), 1);
    return a;
}

static void connection_may_go_on_or_not(void **state)
{
    const struct going *want = *state;
    const struct address local = parse(want->local);
    struct backends b = {.addresses = {parse("0.0.0.0:25")}, .count = 1, .redirected = true};
    struct listeners l = {.epoll_fd = -1};
    struct address out;
    char reason[200] = "";
    if (want->listener != NULL)
        l.addresses[l.count++] = parse(want->listener);
    int fd = socket(local.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = original_find(fd, &local, &b, &l, &out, reason, sizeof reason);
    close(fd);
    assert_string_equal(out.text, want->local);
    assert_int_equal(ok, want->reason == NULL);
    if (!ok && strstr(reason, want->reason) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", reason, want->reason);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, error_says_where_and_what_to_write, error_cases);
    UNIT_ADD_TABLE(&u, rule_is_found_by_the_address, decisions);
    unit_add(&u, "rule is whole", rule_is_whole, NULL);
    unit_add(&u, "port 25", port_25_is_meant_where_none_is_given, NULL);
    unit_add(&u, "network and connect", rule_for_a_network_is_for_literal_addresses, NULL);
    UNIT_ADD_TABLE(&u, connection_may_go_on_or_not, goings);
    return unit_run(&u, "original");
}
