/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "certs/tls.h"
#include "proxy/config.h"
#include "proxy/demand.h"
#include "proxy/dns.h"

struct told {
    char text[8][1500];
    bool is_error[8];
    size_t count;
};

static void hear(void *ctx, bool is_error, const char *sentence)
{
    struct told *t = ctx;
    assert_true(t->count < 8);
    snprintf(t->text[t->count], sizeof t->text[0], "%s", sentence);
    t->is_error[t->count++] = is_error;
}

static bool load(struct config *c, struct told *t, const char *text)
{
    config_init(c);
    *t = (struct told){.count = 0};
    c->complain = hear;
    c->complain_ctx = t;
    return config_parse(c, text, strlen(text), "c.conf") && config_check(c);
}

static void load_good(struct config *c, const char *text)
{
    struct told t;
    if (!load(c, &t, text))
        fail_msg("%s", t.count > 0 ? t.text[0] : "no reason");
}

/* What follows is line 6, or line 5 without the protocol. */
#define BARE  "[out]\nclient = yes\naccept = 127.0.0.1:1\nconnect = mail.example.org:587\n"
#define NAMED BARE "protocol = smtp\n"
#define LITERAL                                                                                    \
    "[out]\nclient = yes\naccept = 127.0.0.1:1\nconnect = 192.0.2.1:25\nprotocol = smtp\n"
#define HEX    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define PIN    "sha256:" HEX
#define MEMORY "tlsMemory = /var/lib/servers\n"
#define FIRST  "tlsLevel = fingerprint\ntrustOnFirstUse = yes\n"

/* ---- what is wrong ---- */

static const struct error_case {
    const char *name, *text, *want, *want_part;
} error_cases[] = {
    {"no name to look for", LITERAL, "c.conf:4: ", "write checkHost = NAME, or verifyPeer"},
    {"no name in a path",
     "[o]\nclient = yes\naccept = 127.0.0.1:1\nconnect = /run/x\nprotocol = smtp\n",
     "c.conf:4: ", "write checkHost = NAME"},
    {"dane without a name", LITERAL "tlsLevel = dane\n", "c.conf:4: ", "has no name whose TLSA"},
    {"dane-only in a rule without a name", LITERAL "tlsPolicy = /./ dane-only\n",
     "c.conf:4: ", "has no name whose TLSA"},
    {"a name beside dane", NAMED "tlsLevel = dane\ncheckHost = a.example.org\n",
     "c.conf:7: ", "which verifies by TLSA records"},
    {"sni beside dane", NAMED "tlsLevel = dane\nsni = a.example.org\n",
     "c.conf:7: ", "the TLSA records say which name"},
    {"falling back from dane", NAMED "tlsLevel = dane\nfallBack = yes\n",
     "c.conf:6: ", "fallBack = yes is for"},
    {"a chain beside dane", NAMED "tlsLevel = dane\nverifyChain = yes\n", "c.conf",
     "verifies no chain"},
    {"a pin in a rule of dane", NAMED "tlsPolicy = /./ dane pin=" PIN "\n",
     "c.conf:6: ", "which verifies by TLSA records"},
    {"a name to ask for in a rule of dane", NAMED "tlsPolicy = /./ dane servername=a.example.org\n",
     "c.conf:6: ", "the TLSA records say which name"},
    {"domain that is an address",
     "[o]\nclient = yes\naccept = 127.0.0.1:1\nconnect = mx:192.0.2.1\nprotocol = smtp\n",
     "c.conf:4: ", "is not mx:DOMAIN"},
    {"fingerprint without one", NAMED "tlsLevel = fingerprint\n", "c.conf:6: ", "needs a pin"},
    {"bad pin", NAMED "verifyPeer = sha256:abc\n", "c.conf:6: ", "nor a pin: a SHA-256 has 64"},
    {"word that is no pin", NAMED "verifyPeer = perhaps\n", "c.conf:6: ", "neither yes nor no"},
    {"falling back from secure", NAMED "fallBack = yes\n", "c.conf", "fallBack = yes is for"},
    {"falling back from TLS at once", NAMED "tlsLevel = may\nfallBack = yes\nimplicitTls = yes\n",
     "c.conf:6: ", "there is no way back"},
    {"no TLS from the first byte", NAMED "tlsLevel = none\nimplicitTls = yes\n",
     "c.conf:6: ", "exclude each other"},
    {"no TLS and no protocol", BARE "tlsLevel = none\n", "c.conf:5: ", "exclude each other"},
    {"waiting for a server to begin", NAMED "implicitTls = auto\n",
     "c.conf:6: ", "write yes or no"},
    {"two certificates", NAMED "cert = /a\ncert = /b\n", "c.conf:7: ", "one certificate to show"},
    {"name for nobody", NAMED "tlsLevel = encrypt\ncheckHost = a.example.org\n",
     "c.conf:7: ", "checkHost means nothing with tlsLevel = encrypt"},
    {"authorities for nobody", NAMED "tlsLevel = may\nCApath = /\n",
     "c.conf:7: ", "CApath means nothing with tlsLevel = may"},
    {"no address", NAMED "checkIP = mail.example.org\n", "c.conf:6: ", "is not an IP address"},
    {"no e-mail address", NAMED "checkEmail = example.org\n", "c.conf:6: ", "not an e-mail"},
    {"no CApath", NAMED "CApath = /nonexistent\n", "c.conf:6: ", "cannot read /nonexistent"},
    {"lists without a chain", NAMED "verifyPeer = " PIN "\nCRLfile = /dev/null\n",
     "c.conf:7: ", "CRLfile means nothing where no chain is verified"},
    {"program for a server",
     "[out]\nclient = yes\naccept = 127.0.0.1:1\nexec = /bin/cat\nprotocol = smtp\n",
     "c.conf:4: ", "client = yes needs a server"},
    {"certificates of clients in clear", NAMED "verifyClient = require\n",
     "c.conf:6: ", "verifyClient asks clients for certificates"},
    {"names for clients in clear", NAMED "relayAs = /./ a\n",
     "c.conf:6: ", "relayAs asks clients for certificates"},
    {"xclient", NAMED "identity = xclient\n", "c.conf:6: ", "for services that offer TLS"},
    {"no CRLfile", NAMED "CRLfile = /nonexistent\n", "c.conf:6: ", "cannot read /nonexistent"},

    /* stunnel's words */
    {"chain without a name", NAMED "verifyChain = yes\n", "c.conf:6: ", "write checkHost = NAME"},
    {"level 2 without a name", NAMED "verify = 2\n", "c.conf:6: ", "write checkHost = NAME"},
    {"no chain", NAMED "verifyChain = no\n", "c.conf:6: ", "write tlsLevel = encrypt"},
    {"no chain and secure", NAMED "verifyChain = no\ntlsLevel = secure\n",
     "c.conf:1: ", "leave verifyChain"},
    {"chain and encrypt", NAMED "verifyChain = yes\ntlsLevel = encrypt\n",
     "c.conf:1: ", "verifies no chain"},
    {"nobody and secure", NAMED "verify = 0\ntlsLevel = secure\n", "c.conf:1: ", "leave verify"},
    {"level 5", NAMED "verify = 5\n", "c.conf:6: ", "whole number from 0 to 4"},
    {"peer without a file", NAMED "verifyPeer = yes\n", "c.conf:1: ", "needs CAfile"},
    {"neither yes nor no", NAMED "requireCert = 1\n", "c.conf:6: ", "must be one of: no yes"},

    /* rules */
    {"rule without pattern", NAMED "tlsPolicy = secure\n", "c.conf:6: ", "write /pattern/ LEVEL"},
    {"rule without an end", NAMED "tlsPolicy = /a secure\n", "c.conf:6: ", "write /pattern/ LEVEL"},
    {"rule for a bad network", NAMED "tlsPolicy = 192.0.2.7/24 secure\n",
     "c.conf:6: ", "bits set behind"},
    {"rule without level", NAMED "tlsPolicy = /a/\n", "c.conf:6: ", "a level must follow"},
    {"rule with a bad flag", NAMED "tlsPolicy = /a/q secure\n", "c.conf:6: ", "unknown flag"},
    {"rule with a bad pattern", NAMED "tlsPolicy = /(/ secure\n", "c.conf:6: ", "tlsPolicy: "},
    {"rule with a bad level", NAMED "tlsPolicy = /a/ must\n", "c.conf:6: ", "is no level"},
    {"rule without value", NAMED "tlsPolicy = /a/ secure match=\n", "c.conf:6: ", "not key=value"},
    {"rule without key", NAMED "tlsPolicy = /a/ secure match\n", "c.conf:6: ", "not key=value"},
    {"rule with an unknown key", NAMED "tlsPolicy = /a/ secure ciphers=HIGH\n",
     "c.conf:6: ", "there is no key \"ciphers\""},
    {"rule with an empty name", NAMED "tlsPolicy = /a/ secure match=a::b\n",
     "c.conf:6: ", "empty name"},
    {"rule with a bad version", NAMED "tlsPolicy = /a/ secure minimum=TLS1.1\n",
     "c.conf:6: ", "write TLS1.2 or TLS1.3"},
    {"rule with a relative path", NAMED "tlsPolicy = /a/ secure CAfile=ca.pem\n",
     "c.conf:6: ", "must begin with /"},
    {"rule with a bad pin", NAMED "tlsPolicy = /a/ secure pin=x\n", "c.conf:6: ", "is not a pin"},
    {"rule with a key twice", NAMED "tlsPolicy = /a/ may priority=A priority=B\n",
     "c.conf:6: ", "is there twice"},
    {"rule that verifies nobody by a name", NAMED "tlsPolicy = /a/ encrypt match=b\n",
     "c.conf:6: ", "match= means nothing at level encrypt"},
    {"rule that falls back from secure", NAMED "tlsPolicy = /./ secure fallBack=yes\n",
     "c.conf:6: ", "fallBack = yes is for"},
    /* trust on first use; the file is in line 1 */
    {"first use without a file", NAMED "tlsLevel = fingerprint\ntrustOnFirstUse = yes\n",
     "c.conf:7: ", "write tlsMemory = "},
    {"first use at level secure", MEMORY NAMED "trustOnFirstUse = yes\n",
     "c.conf:7: ", "is for tlsLevel = fingerprint"},
    {"first use at another level", MEMORY NAMED "tlsLevel = may\ntrustOnFirstUse = yes\n",
     "c.conf:8: ", "means nothing with tlsLevel = may"},
    {"first use of a pin", MEMORY NAMED FIRST "verifyPeer = " PIN "\n",
     "c.conf:8: ", "exclude each other for mail.example.org:587"},
    {"first use of a file", MEMORY NAMED FIRST "verifyPeer = yes\nCAfile = /dev/null\n",
     "c.conf:8: ", "exclude each other"},
    {"first use and a login",
     MEMORY NAMED FIRST "protocolUsername = joe\nprotocolPassword = secret\n",
     "c.conf:8: ", "at the first use nobody is"},
    {"first use of redirected connections",
     MEMORY
     "[o]\nclient = yes\naccept = 127.0.0.1:1\ntransparent = destination\nprotocol = smtp\n" FIRST,
     "c.conf:8: ", "is for servers in connect"},
    {"first use of a domain's servers",
     MEMORY
     "[o]\nclient = yes\naccept = 127.0.0.1:1\nconnect = mx:example.org\nprotocol = smtp\n" FIRST,
     "c.conf:8: ", "the servers of a domain change"},
    {"first use of what cannot be remembered",
     MEMORY "[o]\nclient = yes\naccept = 127.0.0.1:1\nconnect = /run/a b\nprotocol = smtp\n" FIRST,
     "c.conf:5: ", "cannot be remembered"},
    {"first use for clients with TLS",
     MEMORY "[o]\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\nprotocol = smtp\ntlsLevel = none\n"
            "trustOnFirstUse = yes\n",
     "c.conf:7: ", "is for client = yes"},
    {"first use neither yes nor no", MEMORY NAMED "trustOnFirstUse = perhaps\n",
     "c.conf:7: ", "must be one of: no yes"},
    {"rule with a first use at level secure",
     MEMORY NAMED "tlsPolicy = /./ secure trustOnFirstUse=yes\n",
     "c.conf:7: ", "is for tlsLevel = fingerprint"},
    {"rule with a first use at level encrypt",
     MEMORY NAMED "tlsPolicy = /./ encrypt trustOnFirstUse=yes\n",
     "c.conf:7: ", "means nothing at level encrypt"},
    {"rule with a first use and a pin",
     MEMORY NAMED "tlsPolicy = /./ fingerprint trustOnFirstUse=yes pin=" PIN "\n",
     "c.conf:7: ", "exclude each other"},
    {"rule with a first use perhaps",
     MEMORY NAMED "tlsPolicy = /./ fingerprint trustOnFirstUse=1\n",
     "c.conf:7: ", "write yes or no"},
    {"rule without the first use of the service",
     MEMORY NAMED FIRST "tlsPolicy = /./ fingerprint trustOnFirstUse=no\n",
     "c.conf:9: ", "needs a pin"},
    {"rule fingerprint without one", NAMED "tlsPolicy = /./ fingerprint\n",
     "c.conf:6: ", "needs a pin"},
};

/* A build that cannot look names up says so before. */
static const struct error_case dns_error_cases[] = {
    {"no anchor", "dnssecAnchor = /no/such\n" NAMED "tlsLevel = dane\n",
     "c.conf:1: ", "the package dns-root-data"},
    {"resolver that is a name", "resolver = ns.example.org\n" NAMED "delay = yes\n",
     "c.conf:1: ", "is not ADDRESS or ADDRESS:PORT"},
    {"names that a proxy looks up",
     "[o]\nclient = yes\naccept = 127.0.0.1:1\nconnect = a.example.org:25\nprotocol = smtp\n"
     "via = socks5://127.0.0.1:1\ndelay = yes\n",
     "c.conf:6: ", "the proxy looks names up"},
    {"exchanges in turn",
     "[o]\naccept = 127.0.0.1:1\nconnect = mx:example.org\nprotocol = smtp\ntlsLevel = none\n"
     "failover = rr\n",
     "c.conf:3: ", "exclude each other"},
    {"transparent sockets for names that change",
     "[o]\naccept = 127.0.0.1:1\nconnect = a.example.org:25\nprotocol = smtp\ntlsLevel = none\n"
     "delay = yes\nidentity = transparent\n",
     "c.conf:7: ", "identity = transparent has its sockets made before"},
};

static void error_says_where_and_what_to_write(void **state)
{
    const struct error_case *e = *state;
    struct config c;
    struct told t;
    assert_false(load(&c, &t, e->text));
    size_t i = 0;
    while (i < t.count && !t.is_error[i])
        i++;
    assert_true(i < t.count);
    if (strncmp(t.text[i], e->want, strlen(e->want)) != 0 ||
        strstr(t.text[i], e->want_part) == NULL)
        fail_msg("\"%s\" is not \"%s...%s\"", t.text[i], e->want, e->want_part);
    config_finish(&c);
}

/* ---- what is decided ---- */

static const struct decision {
    const char *name, *text;
    enum server_level level;
    const char *host;        /* the first; NULL: none */
    const char *server_name; /* NULL: none */
    size_t hosts, pins;
    bool need_ca, pinned_by_file, fall_back;
} decisions[] = {
    {"default", NAMED, LEVEL_SECURE, "mail.example.org", "mail.example.org", 1, 0, true, false,
     false},
    {"no protocol", BARE, LEVEL_SECURE, "mail.example.org", "mail.example.org", 1, 0, true, false,
     false},
    {"verify", NAMED "tlsLevel = verify\n", LEVEL_VERIFY, "mail.example.org", "mail.example.org", 1,
     0, true, false, false},
    {"encrypt", NAMED "tlsLevel = encrypt\n", LEVEL_ENCRYPT, NULL, "mail.example.org", 0, 0, false,
     false, false},
    {"may", NAMED "tlsLevel = may\nfallBack = yes\n", LEVEL_MAY, NULL, "mail.example.org", 0, 0,
     false, false, true},
    {"names of our own", NAMED "checkHost = a.example\ncheckHost = b.example\n", LEVEL_SECURE,
     "a.example", "mail.example.org", 2, 0, true, false, false},
    {"address with a name", LITERAL "checkHost = a.example\n", LEVEL_SECURE, "a.example",
     "a.example", 1, 0, true, false, false},
    {"address and checkIP", LITERAL "checkIP = 192.0.2.1\n", LEVEL_SECURE, NULL, NULL, 0, 0, true,
     false, false},
    {"address and sni", LITERAL "checkIP = 192.0.2.1\nsni = a.example\n", LEVEL_SECURE, NULL,
     "a.example", 0, 0, true, false, false},
    {"address and sni that is one", LITERAL "checkHost = a.example\nsni = 192.0.2.1\n",
     LEVEL_SECURE, "a.example", NULL, 1, 0, true, false, false},
    {"pin", LITERAL "verifyPeer = " PIN "\n", LEVEL_FINGERPRINT, NULL, NULL, 0, 1, false, false,
     false},
    {"pin and secure", LITERAL "verifyPeer = " PIN "\ntlsLevel = secure\n", LEVEL_SECURE, NULL,
     NULL, 0, 1, true, false, false},
    {"level of the servers is not ours", "tlsLevel = may\n" NAMED, LEVEL_SECURE, "mail.example.org",
     "mail.example.org", 1, 0, true, false, false},
    {"level of all clients is ours", "client = yes\ntlsLevel = may\n" NAMED, LEVEL_MAY, NULL,
     "mail.example.org", 0, 0, false, false, false},
    {"chain with a name", NAMED "verifyChain = yes\ncheckHost = a.example\n", LEVEL_SECURE,
     "a.example", "mail.example.org", 1, 0, true, false, false},
    {"peer by file", NAMED "verifyPeer = yes\nCAfile = /dev/null\n", LEVEL_FINGERPRINT, NULL,
     "mail.example.org", 0, 0, false, true, false},
    {"verify = 0", NAMED "verify = 0\n", LEVEL_ENCRYPT, NULL, "mail.example.org", 0, 0, false,
     false, false},
    {"verify = 3", NAMED "verify = 3\ncheckHost = a.example\nCAfile = /dev/null\n", LEVEL_SECURE,
     "a.example", "mail.example.org", 1, 0, true, true, false},
    {"verify = 4", NAMED "verify = 4\nCAfile = /dev/null\n", LEVEL_FINGERPRINT, NULL,
     "mail.example.org", 0, 0, false, true, false},
    {"rule", NAMED "tlsPolicy = /^mail\\.example\\.org:587$/ verify match=a.b:c.d servername=e.f\n",
     LEVEL_VERIFY, "a.b", "e.f", 2, 0, true, false, false},
    {"rule for another", NAMED "tlsPolicy = /^other/ none\n", LEVEL_SECURE, "mail.example.org",
     "mail.example.org", 1, 0, true, false, false},
    {"first rule wins", NAMED "tlsPolicy = /mail/ encrypt\ntlsPolicy = /./ none\n", LEVEL_ENCRYPT,
     NULL, "mail.example.org", 0, 0, false, false, false},
    {"case of a pattern", NAMED "tlsPolicy = /MAIL/i encrypt\n", LEVEL_SECURE, "mail.example.org",
     "mail.example.org", 1, 0, true, false, false},
    {"delimiter in a pattern", NAMED "tlsPolicy = /a\\/b|mail/ encrypt\n", LEVEL_ENCRYPT, NULL,
     "mail.example.org", 0, 0, false, false, false},
    {"rule for a network", LITERAL "tlsPolicy = 192.0.2.0/24 encrypt\n", LEVEL_ENCRYPT, NULL, NULL,
     0, 0, false, false, false},
    {"rule for another network", LITERAL "checkHost = a.example\ntlsPolicy = ::/0 encrypt\n",
     LEVEL_SECURE, "a.example", "a.example", 1, 0, true, false, false},
    {"rule for a network and a name", NAMED "tlsPolicy = 0.0.0.0/0 encrypt\n", LEVEL_SECURE,
     "mail.example.org", "mail.example.org", 1, 0, true, false, false},
    {"rule with a pin", NAMED "tlsPolicy = ,., fingerprint pin=" PIN " pin=spki-" PIN "\n",
     LEVEL_FINGERPRINT, NULL, "mail.example.org", 0, 2, false, false, false},
    {"rule that falls back", NAMED "tlsPolicy = /./ may fallBack=yes\n", LEVEL_MAY, NULL,
     "mail.example.org", 0, 0, false, false, true},
    {"rule that does not",
     NAMED "tlsLevel = may\nfallBack = yes\ntlsPolicy = /./ may fallBack=no\n", LEVEL_MAY, NULL,
     "mail.example.org", 0, 0, false, false, false},
    {"falling back is not for a stricter rule",
     NAMED "tlsLevel = may\nfallBack = yes\ntlsPolicy = /./ secure\n", LEVEL_SECURE,
     "mail.example.org", "mail.example.org", 1, 0, true, false, false},
};

static void expect_text(const char *got, const char *want)
{
    if (want == NULL)
        assert_null(got);
    else
        assert_string_equal(got, want);
}

static void destination_gets_what_was_written(void **state)
{
    const struct decision *want = *state;
    struct config c;
    load_good(&c, want->text);
    assert_int_equal(c.services[0].n_demands, 1);
    const struct demand *d = &c.services[0].demands[0];
    assert_int_equal(d->level, want->level);
    assert_int_equal(d->hosts.count, want->hosts);
    expect_text(d->hosts.count > 0 ? d->hosts.items[0] : NULL, want->host);
    expect_text(d->server_name, want->server_name);
    assert_int_equal(d->pins.count, want->pins);
    assert_int_equal(d->need_ca, want->need_ca);
    assert_int_equal(d->pinned_by_file, want->pinned_by_file);
    assert_int_equal(d->fall_back, want->fall_back);
    config_finish(&c);
}

static void each_destination_has_its_own(void **state)
{
    (void)state;
    struct config c;
    load_good(&c, NAMED "connect = relay.example.net:25\ntlsPolicy = /:25$/ encrypt\n");
    assert_int_equal(c.services[0].n_demands, 2);
    assert_int_equal(c.services[0].demands[0].level, LEVEL_SECURE);
    assert_int_equal(c.services[0].demands[1].level, LEVEL_ENCRYPT);
    config_finish(&c);
}

static void expect_first_use(const char *text, bool want)
{
    struct config c;
    load_good(&c, text);
    assert_int_equal(c.services[0].demands[0].first_use, want);
    config_finish(&c);
}

static void first_use_is_for_those_without_a_pin(void **state)
{
    (void)state;
    expect_first_use(NAMED, false);
    expect_first_use(MEMORY NAMED FIRST, true);
    expect_first_use(MEMORY "trustOnFirstUse = yes\nclient = yes\ntlsLevel = fingerprint\n" NAMED,
                     true);
    expect_first_use(MEMORY NAMED "tlsPolicy = /./ fingerprint trustOnFirstUse=yes\n", true);
    expect_first_use(MEMORY NAMED FIRST "tlsPolicy = /./ fingerprint\n", true);
    expect_first_use(MEMORY NAMED FIRST "tlsPolicy = /./ fingerprint pin=" PIN "\n", false);
    expect_first_use(MEMORY NAMED FIRST "tlsPolicy = /./ secure\n", false);
    expect_first_use(MEMORY NAMED FIRST "tlsPolicy = /^other/ secure\n", true);
}

static void minimum_is_put_behind_the_priority(void **state)
{
    (void)state;
    struct config c;
    load_good(&c, NAMED "priority = NORMAL\ntlsPolicy = /./ secure minimum=TLS1.2\n");
    assert_string_equal(c.services[0].demands[0].priority,
                        "NORMAL:-VERS-SSL3.0:-VERS-TLS1.0:-VERS-TLS1.1");
    config_finish(&c);
    load_good(&c, NAMED "tlsPolicy = /./ secure minimum=TLS1.3\n");
    assert_memory_equal(c.services[0].demands[0].priority, tls_default_priority,
                        strlen(tls_default_priority));
    assert_non_null(strstr(c.services[0].demands[0].priority, ":-VERS-TLS1.2"));
    config_finish(&c);
}

/* ---- warnings ---- */

static void expect_warning(const char *text, const char *want)
{
    struct config c;
    struct told t;
    assert_true(load(&c, &t, text));
    assert_int_equal(t.count, want != NULL);
    if (want != NULL)
        assert_non_null(strstr(t.text[0], want));
    config_finish(&c);
}

static void open_door_is_warned_of(void **state)
{
    (void)state;
    expect_warning(NAMED, NULL);
    expect_warning(NAMED "accept = 192.0.2.9:25\n",
                   "c.conf:6: [out] accept = 192.0.2.9:25: everybody who can reach this address");
    expect_warning(NAMED "accept = 2525\n", "c.conf:6: [out] accept = 2525: everybody");
}

static void rule_for_nobody_is_warned_of(void **state)
{
    (void)state;
    expect_warning(NAMED "tlsPolicy = /nobody/ none\n",
                   "c.conf:6: tlsPolicy: the rule is for none");
    expect_warning("tlsPolicy = /nobody/ none\n" NAMED, NULL);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, error_says_where_and_what_to_write, error_cases);
    if (dns_is_built())
        UNIT_ADD_TABLE(&u, error_says_where_and_what_to_write, dns_error_cases);
    UNIT_ADD_TABLE(&u, destination_gets_what_was_written, decisions);
    unit_add(&u, "several destinations", each_destination_has_its_own, NULL);
    unit_add(&u, "first use", first_use_is_for_those_without_a_pin, NULL);
    unit_add(&u, "minimum", minimum_is_put_behind_the_priority, NULL);
    unit_add(&u, "open door", open_door_is_warned_of, NULL);
    unit_add(&u, "rule for nobody", rule_for_nobody_is_warned_of, NULL);
    return unit_run(&u, "demand");
}
