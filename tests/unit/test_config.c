/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <limits.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocols/protocol.h"
#include "proxy/config.h"
#include "proxy/log.h"
#include "proxy/options.h"

/* What was complained about. */
struct told {
    char text[16][1500];
    bool is_error[16];
    size_t count;
};

static void hear(void *ctx, bool is_error, const char *sentence)
{
    struct told *t = ctx;
    assert_true(t->count < 16);
    snprintf(t->text[t->count], sizeof t->text[0], "%s", sentence);
    t->is_error[t->count++] = is_error;
}

/* Parses, and checks if that went well. */
static bool load_bytes(struct config *c, struct told *t, const char *text, size_t len)
{
    config_init(c);
    *t = (struct told){.count = 0};
    c->complain = hear;
    c->complain_ctx = t;
    return config_parse(c, text, len, "test.conf") && config_check(c);
}

static bool load(struct config *c, struct told *t, const char *text)
{
    return load_bytes(c, t, text, strlen(text));
}

static void load_good(struct config *c, const char *text)
{
    struct told t;
    if (!load(c, &t, text))
        fail_msg("%s", t.count > 0 ? t.text[0] : "no reason");
}

/* Three good lines of a section; a line of a case behind them is line 5. */
#define GOOD                                                                                       \
    "[smtp]\naccept = 127.0.0.1:2525\nconnect = 127.0.0.1:10025\ncert = /nonexistent/c.pem\n"
#define S GOOD "protocol = smtp\n" /* what follows is line 6 */

/* The same with a program; what follows is line 5. */
#define PROGRAM "[a]\naccept = 127.0.0.1:2525\nexec = /bin/cat\ncert = /nonexistent/c.pem\n"
#define PIN                                                                                        \
    "verifyPeer = "                                                                                \
    "sha256:0000000000000000000000000000000000000000000000000000000000000000\n"
#define ASK S "verifyClient = ask\n" PIN /* what follows is line 8 */

/* ---- what is wrong is told, with file and line ---- */

static const struct error_case {
    const char *name;
    struct bytes text;
    const char *want; /* how the first error begins */
    const char *want_part;
} error_cases[] = {
    {"empty file", B(""), "there is no [service] section", "nothing to do"},
    {"only comments", B("; a\n# b\n\n"), "there is no [service] section", "nothing to do"},
    {"unknown option", B(S "colour = red\n"), "test.conf:6: ", "no option \"colour\""},
    {"unknown global option", B("\n\ncolour = red\n" S), "test.conf:3: ", "no option \"colour\""},
    {"no name", B(S " = x\n"), "test.conf:6: ", "no option \"\""},
    {"neither option nor section", B(S "verify\n"), "test.conf:6: ", "neither \"name = value\""},
    {"no value", B(S "local =\n"), "test.conf:6: ", "local needs a value"},
    {"blank value", B(S "local = \t\n"), "test.conf:6: ", "local needs a value"},
    {"section without end", B("[smtp\n"), "test.conf:1: ", "written [name]"},
    {"section without name", B("[]\n"), "test.conf:1: ", "written [name]"},
    {"section named by blanks", B("[ \t]\n"), "test.conf:1: ", "written [name]"},
    {"text behind a section", B("[smtp] x\n"), "test.conf:1: ", "written [name]"},
    {"blank in a section's name", B("[a b]\n"), "test.conf:1: ", "section's name has letters"},
    {"slash in a section's name", B("[../x]\n"), "test.conf:1: ", "section's name has letters"},
    {"same section twice", B(S "[SMTP]\n"), "test.conf:6: ", "is there already, at test.conf:1"},
    {"global option in a section", B(S "setuid = nobody\n"),
     "test.conf:6: ", "setuid belongs before the first [section]"},
    {"given twice", B(S "TIMEOUTidle = 1\ntimeoutIDLE = 1\n"),
     "test.conf:7: ", "TIMEOUTidle is given twice"},
    {"global option given twice", B("pid = /a\npid = /b\n" S),
     "test.conf:2: ", "pid is given twice"},
    {"default given twice", B("tlsLevel = may\ntlsLevel = may\n" S),
     "test.conf:2: ", "tlsLevel is given twice"},
    {"NUL byte", B("a\0b\n"), "test.conf:1: ", "holds a NUL byte"},
    {"CR alone ends no line", B("[a]\raccept = 1\n"), "test.conf:1: ", "[name]"},

    /* numbers */
    {"negative number", B(S "maxConnections = -1\n"),
     "test.conf:6: ", "maxConnections must be a whole number from 1 to 100000"},
    {"plus sign", B(S "maxConnections = +1\n"), "test.conf:6: ", "must be a whole number"},
    {"trailing text", B(S "maxConnections = 10x\n"), "test.conf:6: ", "must be a whole number"},
    {"trailing comment", B(S "maxConnections = 10 ; ten\n"),
     "test.conf:6: ", "must be a whole number"},
    {"fraction", B(S "maxConnections = 1.5\n"), "test.conf:6: ", "must be a whole number"},
    {"hexadecimal", B(S "maxConnections = 0x10\n"), "test.conf:6: ", "must be a whole number"},
    {"letters", B(S "maxConnections = many\n"), "test.conf:6: ", "must be a whole number"},
    {"overflow of an int", B(S "maxConnections = 4294967297\n"),
     "test.conf:6: ", "must be a whole number"},
    {"overflow of a long", B(S "maxConnections = 18446744073709551617\n"),
     "test.conf:6: ", "must be a whole number"},
    {"below the range", B(S "maxConnections = 0\n"), "test.conf:6: ", "must be a whole number"},
    {"above the range", B(S "maxConnections = 100001\n"),
     "test.conf:6: ", "must be a whole number"},

    /* choices */
    {"unknown word", B(S "tlsLevel = must\n"),
     "test.conf:6: ", "tlsLevel must be one of: none may encrypt"},
    {"beginning of a word", B(S "tlsLevel = enc\n"), "test.conf:6: ", "must be one of"},
    {"two words", B(S "tlsLevel = none may\n"), "test.conf:6: ", "must be one of"},
    {"number for a word", B(S "sessionResume = 1\n"), "test.conf:6: ", "must be one of: no yes"},

    /* what stunnel has */
    {"obsolete option says what to write", B(S "ciphers = HIGH\n"),
     "test.conf:6: ", "ciphers: GnuTLS knows no OpenSSL cipher lists"},
    {"obsolete global option", B("engine = dynamic\n" S),
     "test.conf:1: ", "engine: GnuTLS has no engines"},

    {"word for clients at a server", B(S "tlsLevel = secure\n"),
     "test.conf:6: ", "tlsLevel = secure is for client = yes"},
    {"client certificates", B(S "verifyChain = yes\n"),
     "test.conf:6: ", "verifyChain needs CAfile = FILE with the authorities"},
    {"table of destinations at a server", B(S "tlsPolicy = /./ none\n"),
     "test.conf:6: ", "tlsPolicy is for client = yes"},
    {"falling back at a server", B(S "fallBack = yes\n"),
     "test.conf:6: ", "fallBack = yes is for client = yes"},

    /* what only the whole shows */
    {"no accept", B("[a]\nconnect = 1\ncert = /c\n"), "test.conf:1: ", "[a] needs accept"},
    {"no connect", B("[a]\naccept = 1\ncert = /c\n"), "test.conf:1: ", "[a] needs connect"},
    {"no certificate", B("[a]\naccept = 1\nconnect = 1\n"), "test.conf:1: ", "[a] needs cert"},
    {"unknown protocol", B(GOOD "protocol = gopher\n"),
     "test.conf:5: ", "protocol = gopher is not known"},
    {"bad address to listen on", B(S "accept = 0\n"), "test.conf:6: ", "accept: "},
    {"bad address of the backend", B(S "connect = localhost:99999\n"),
     "test.conf:6: ", "connect: "},
    {"bad pattern", B(S "hideCapability = /(/\n"), "test.conf:6: ", "hideCapability: "},
    {"pattern without slashes", B(S "hideCapability = VRFY\n"),
     "test.conf:6: ", "hideCapability: a pattern is written"},
    {"more keys than certificates", B(S "key = /a\nkey = /b\n"), "test.conf:7: ", "key: "},
    {"more staples than certificates", B(S "ocspStaple = /a\nocspStaple = /b\n"),
     "test.conf:7: ", "ocspStaple: "},
    {"CAfile that is not there", B(S "CAfile = /nonexistent/ca\n"),
     "test.conf:6: ", "CAfile: cannot read /nonexistent/ca"},
    {"no TLS and implicit TLS", B(S "tlsLevel = none\nimplicitTls = yes\n"),
     "test.conf:1: ", "exclude each other"},
    {"trace without a protocol", B(GOOD "trace = yes\n"),
     "test.conf:5: ", "trace = yes is for services with protocol"},
    {"trace on the client side", B(S "trace = yes\nclient = yes\n"),
     "test.conf:6: ", "trace = yes is for services with protocol"},
    {"balancers by name", B(S "acceptProxy = localhost\n"),
     "test.conf:6: ", "acceptProxy: \"localhost\" is not ADDRESS or ADDRESS/BITS"},
    {"balancers with bits left over", B(S "acceptProxy = 10.0.0.0/8\nacceptProxy = 10.0.0.1/8\n"),
     "test.conf:7: ", "has bits set behind"},
    {"identity that there is not", B(S "identity = proxy3\n"),
     "test.conf:6: ", "identity must be one of: none proxy proxy2 transparent xclient env"},
    {"xclient without a protocol", B(GOOD "identity = xclient\n"),
     "test.conf:5: ", "write protocol = smtp, lmtp, pop3 or managesieve"},
    {"xclient from a path", B(S "identity = xclient\naccept = /run/clients\n"),
     "test.conf:6: ", "needs addresses"},
    {"env without a program", B(S "identity = env\n"), "test.conf:6: ", "is for programs (exec)"},

    /* certificates of clients */
    {"verifyClient without anybody to trust", B(S "verifyClient = ask\n"),
     "test.conf:6: ", "needs CAfile = FILE"},
    {"verifyClient without TLS", B(S "verifyClient = ask\n" PIN "tlsLevel = none\n"),
     "test.conf:6: ", "exclude each other"},
    {"required where TLS is not", B(S "verifyClient = require\n" PIN),
     "test.conf:6: ", "write tlsLevel = encrypt as well"},
    {"required where TLS is not, by stunnel's word", B(S "verifyChain = yes\n" PIN),
     "test.conf:6: ", "write tlsLevel = encrypt as well"},
    {"bad pin", B(S "verifyClient = ask\nverifyPeer = sha1:00\n"),
     "test.conf:7: ", "verifyPeer: \"sha1:00\" is not a pin: it begins neither"},
    {"verifyPeer = yes", B(S "verifyClient = ask\nverifyPeer = yes\n"),
     "test.conf:7: ", "write verifyPeer = sha256:DIGEST"},
    {"checkIP that is a name", B(S "verifyClient = ask\n" PIN "checkIP = localhost\n"),
     "test.conf:8: ", "is not an IP address"},
    {"checkEmail that is a name", B(S "verifyClient = ask\n" PIN "checkEmail = localhost\n"),
     "test.conf:8: ", "is not an e-mail address"},
    {"CApath that is not there", B(S "verifyClient = ask\nCApath = /nonexistent/d\n"),
     "test.conf:7: ", "CApath: cannot read"},
    {"CRLfile without its authority", B(S "verifyClient = ask\n" PIN "CRLfile = /dev/null\n"),
     "test.conf:8: ", "CRLfile means nothing without the authorities"},
    {"CRLfile that is not there", B(S "verifyClient = ask\n" PIN "CRLfile = /nonexistent/l\n"),
     "test.conf:8: ", "CRLfile: cannot read"},
    {"name to check without a question", B(S "checkHost = a.example\n"),
     "test.conf:6: ", "checkHost means nothing with verifyClient = no"},
    {"pin without a question", B(S PIN), "test.conf:6: ", "verifyPeer means nothing"},
    {"rule about certificates without a question", B(S "clientRule = /^name:a$/ refuse\n"),
     "test.conf:6: ", "write verifyClient = ask or require"},
    {"relayAs without a question", B(S "relayAs = /a/ b\n"),
     "test.conf:6: ", "relayAs means nothing"},
    {"verify = 1", B(S "verify = 1\n"), "test.conf:6: ", "write verifyClient = ask"},
    {"verify = 3", B(S "verify = 3\n"), "test.conf:6: ", "verifyPeer = sha256:DIGEST"},
    {"verify = 4", B(S "verify = 4\n"), "test.conf:6: ", "verifyPeer = sha256:DIGEST"},
    {"verify = 5", B(S "verify = 5\n"), "test.conf:6: ", "a whole number from 0 to 4"},
    {"verifyChain = maybe", B(S "verifyChain = maybe\n"), "test.conf:6: ", "one of: no yes"},
    {"verifyChain and ask", B(S "verifyClient = ask\n" PIN "verifyChain = yes\n"),
     "test.conf:8: ", "leave one of the two out"},
    {"requireCert alone", B(S "requireCert = yes\n"), "test.conf:6: ", "takes any certificate"},
    {"requireCert = no with a chain",
     B(S PIN "verifyChain = yes\nrequireCert = no\ntlsLevel = encrypt\n"),
     "test.conf:8: ", "write verifyClient = ask or require"},
    {"relayAs that is no rule", B(ASK "relayAs = /a/\n"), "test.conf:8: ", "write /pattern/ NAME"},
    {"relayAs, and nobody is told", B(ASK "relayAs = /a/ b\n"),
     "test.conf:8: ", "write identity = xclient or proxy2"},
    {"relayAs by the old header", B(ASK "relayAs = /a/ b\nidentity = proxy\n"),
     "test.conf:8: ", "write identity = xclient or proxy2"},
    {"relayAs as the source", B(ASK "relayAs = /a/ b\nidentity = transparent\n"),
     "test.conf:8: ", "write identity = xclient or proxy2"},
    {"relayAs after STARTTLS", B(ASK "relayAs = /a/ b\nidentity = xclient\n"),
     "test.conf:8: ", "write reconnect = yes as well"},
    {"relayAs after STARTTLS, perhaps",
     B(ASK "relayAs = /a/ b\nidentity = proxy2\nimplicitTls = auto\n"),
     "test.conf:8: ", "write reconnect = yes as well"},
    {"question in an sni section", B(S "[b]\ncert = /c\nsni = smtp:mx\nverifyClient = ask\n"),
     "test.conf:9: ", "verifyClient belongs into the service it names"},
    {"transparent and local", B(S "identity = transparent\nlocal = 192.0.2.9\n"),
     "test.conf:6: ", "exclude each other"},
    {"transparent to a path", B(S "identity = transparent\nconnect = /run/mta\n"),
     "test.conf:6: ", "needs addresses"},
    {"transparent from a path", B(S "identity = transparent\naccept = /run/clients\n"),
     "test.conf:6: ", "needs addresses"},
    {"no TLS and no protocol", B(GOOD "tlsLevel = none\n"), "test.conf:1: ", "exclude each other"},
    {"no level of that name", B("debug = loud\n" S),
     "test.conf:1: debug: ", "\"loud\" is no level"},
    {"level 8", B("debug = 8\n" S), "test.conf:1: debug: ", "is no level"},
    {"level with something behind it", B("debug = 5x\n" S), "test.conf:1: debug: ", "is no level"},
    {"facility that there is not", B("debug = mailx.info\n" S),
     "test.conf:1: debug: ", "syslog facility"},
    {"directory that is not there", B("include = /nonexistent/d\n" S),
     "test.conf:1: ", "cannot read the directory /nonexistent/d"},
    {"sni without pattern", B(S "[b]\ncert = /c\nsni = smtp\n"),
     "test.conf:6: ", "write SERVICE:PATTERN"},
    {"sni with empty pattern", B(S "[b]\ncert = /c\nsni = smtp:\n"),
     "test.conf:6: ", "write SERVICE:PATTERN"},
    {"sni for no service", B(S "[b]\ncert = /c\nsni = smtps:mx.example.org\n"),
     "test.conf:6: ", "there is no service [smtps]"},
    {"sni for the beginning of a service", B(S "[b]\ncert = /c\nsni = smt:mx.example.org\n"),
     "test.conf:6: ", "there is no service [smt]"},
    {"sni for itself", B(S "[b]\ncert = /c\nsni = b:mx.example.org\n"),
     "test.conf:6: ", "there is no service [b]"},
    {"sni without certificate", B(S "[b]\nsni = smtp:mx.example.org\n"),
     "test.conf:6: ", "needs cert"},
    {"sni with an address of its own", B(S "[b]\ncert = /c\naccept = 1\nsni = smtp:mx\n"),
     "test.conf:6: ", "accept belongs into the service"},
};

static void error_is_told_with_file_and_line(void **state)
{
    const struct error_case *e = *state;
    struct config c;
    struct told t;
    assert_false(load_bytes(&c, &t, e->text.data, e->text.len));
    size_t i = 0;
    while (i < t.count && !t.is_error[i])
        i++;
    if (i == t.count)
        fail_msg("no error was told");
    if (strncmp(t.text[i], e->want, strlen(e->want)) != 0 ||
        strstr(t.text[i], e->want_part) == NULL)
        fail_msg("\"%s\" is not \"%s...%s\"", t.text[i], e->want, e->want_part);
    assert_true(c.errors > 0);
    config_finish(&c);
}

static void all_errors_are_told_at_once(void **state)
{
    (void)state;
    struct config c;
    struct told t;
    assert_false(load(&c, &t, "colour = red\n[a]\nshape = round\nmaxConnections = x\n"));
    assert_int_equal(t.count, 3);
    assert_int_equal(c.errors, 3);
    assert_true(strncmp(t.text[0], "test.conf:1: ", 13) == 0);
    assert_true(strncmp(t.text[1], "test.conf:3: ", 13) == 0);
    assert_true(strncmp(t.text[2], "test.conf:4: ", 13) == 0);
    config_finish(&c);
}

static void line_may_have_4095_bytes(void **state)
{
    (void)state;
    struct config c;
    struct told t;
    char text[5000];
    for (int over = 0; over <= 1; over++) {
        memset(text, 'x', sizeof text);
        memcpy(text, "; ", 2);
        strcpy(text + 4095 + over, "\n" S);
        assert_int_equal(load(&c, &t, text), !over);
        if (over)
            assert_non_null(strstr(t.text[0], "test.conf:1: the line is longer than 4095 bytes"));
        config_finish(&c);
    }
}

/* ---- warnings ---- */

static const struct warn_case {
    const char *name, *text;
    const char *want; /* a part; NULL: there is no warning */
} warn_cases[] = {
    {"local only: nothing to warn of", S, NULL},
    {"open to the world: the backend sees us", GOOD "accept = 2526\nprotocol = smtp\n",
     "test.conf:5: [smtp] the backend 127.0.0.1:10025 sees every client as this machine"},
    {"open to the world, LMTP", GOOD "accept = 2526\nprotocol = lmtp\n",
     "sees every client as this machine"},
    {"open to the world, told what to write", GOOD "accept = 2526\nprotocol = smtp\n",
     "identity = proxy, proxy2, xclient or transparent, as the backend understands it, or local = "
     "ADDRESS"},
    {"open to the world, identity = none", GOOD "accept = 2526\nprotocol = smtp\nidentity = none\n",
     "sees every client as this machine"},
    {"open to the world on IPv6", GOOD "accept = :::2526\nprotocol = smtp\n",
     "sees every client as this machine"},
    {"open to a balancer", S "acceptProxy = 127.0.0.1\n", "sees every client as this machine"},
    {"open to the world with local", GOOD "accept = 2526\nprotocol = smtp\nlocal = 192.0.2.9\n",
     NULL},
    {"open to the world with local IPv6",
     GOOD "accept = 2526\nprotocol = smtp\nlocal = 2001:db8::1\n", NULL},
    {"open to the world with local = loopback",
     GOOD "accept = 2526\nprotocol = smtp\nlocal = 127.0.0.2\n",
     "sees every client as this machine"},
    {"open to the world with proxy", GOOD "accept = 2526\nprotocol = smtp\nidentity = proxy\n",
     NULL},
    {"open to the world with proxy2", GOOD "accept = 2526\nprotocol = smtp\nidentity = proxy2\n",
     NULL},
    {"open to the world with transparent",
     GOOD "accept = 2526\nprotocol = smtp\nidentity = transparent\n", NULL},
    {"open to the world with xclient", GOOD "accept = 2526\nprotocol = smtp\nidentity = xclient\n",
     NULL},
    {"program, open to the world", PROGRAM "accept = 2526\n", NULL},
    {"pins", ASK, NULL},
    {"relayAs with xclient", ASK "relayAs = /a/ b\nidentity = xclient\nreconnect = yes\n", NULL},
    {"relayAs with proxy2", ASK "relayAs = /a/ b\nidentity = proxy2\nimplicitTls = yes\n", NULL},
    {"relayAs with a program", PROGRAM "verifyClient = ask\n" PIN "relayAs = /a/ b\n", NULL},
    {"stunnel's words for nothing",
     S "verify = 0\nverifyChain = no\nverifyPeer = no\n"
       "requireCert = no\n",
     NULL},
    {"everybody is a balancer", S "acceptProxy = ::/0\nidentity = proxy\n",
     "test.conf:6: acceptProxy = ::/0: everybody may claim to be anybody"},
    {"open to the world without protocol", GOOD "accept = 2526\n", NULL},
    {"encrypt on port 25", GOOD "accept = 127.0.0.1:25\nprotocol = smtp\ntlsLevel = encrypt\n",
     "test.conf:5: tlsLevel = encrypt on port 25"},
    {"encrypt on port 25 with implicit TLS",
     GOOD "accept = 127.0.0.1:25\nprotocol = smtp\ntlsLevel = encrypt\nimplicitTls = yes\n", NULL},
    {"encrypt on port 25, LMTP",
     GOOD "accept = 127.0.0.1:25\nprotocol = lmtp\ntlsLevel = encrypt\n", NULL},
    {"encrypt on another port", S "tlsLevel = encrypt\n", NULL},
};

static void warning_is_no_error(void **state)
{
    const struct warn_case *w = *state;
    struct config c;
    struct told t;
    assert_true(load(&c, &t, w->text));
    if (w->want == NULL) {
        if (t.count > 0)
            fail_msg("unexpected: %s", t.text[0]);
    } else {
        assert_int_equal(t.count, 1);
        assert_false(t.is_error[0]);
        if (strstr(t.text[0], w->want) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", t.text[0], w->want);
    }
    assert_int_equal(c.warnings, t.count);
    assert_int_equal(c.errors, 0);
    config_finish(&c);
}

static void key_that_everybody_can_read_is_warned_of(void **state)
{
    (void)state;
    struct config c;
    struct told t;
    char file[] = "/tmp/ehlock-test-key-XXXXXX", text[512];
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    snprintf(text, sizeof text, S "key = %s\n", file);
    assert_int_equal(fchmod(fd, 0640), 0);
    assert_true(load(&c, &t, text));
    assert_int_equal(t.count, 0);
    config_finish(&c);
    assert_int_equal(fchmod(fd, 0644), 0);
    assert_true(load(&c, &t, text));
    assert_int_equal(t.count, 1);
    assert_non_null(strstr(t.text[0], "test.conf:6: everybody on this machine can read the key"));
    config_finish(&c);
    close(fd);
    unlink(file);
}

/* ---- what is right ---- */

static void form_is_forgiving(void **state)
{
    (void)state;
    struct config c;
    load_good(&c, "\xef\xbb\xbf; with a byte order mark\r\n"
                  "  # and comments \r\n"
                  "PID=/run/x y.pid  \r\n"
                  "\t[ Smtp-1.a_b ]\r\n"
                  "ACCEPT=127.0.0.1:1\r\n"
                  "  connect  =\t/run/a=b  \r\n"
                  "Cert = /c\r\n"
                  "tlslevel = ENCRYPT"); /* no line end */
    assert_string_equal(c.pid_file, "/run/x y.pid");
    assert_int_equal(c.n_services, 1);
    assert_string_equal(c.services[0].name, "Smtp-1.a_b");
    assert_string_equal(c.services[0].where, "test.conf:4");
    assert_string_equal(c.services[0].connect.items[0].text, "/run/a=b");
    assert_string_equal(c.services[0].connect.items[0].where, "test.conf:6");
    assert_int_equal(c.services[0].tls_level, TLS_LEVEL_ENCRYPT);
    config_finish(&c);
}

static void defaults_are_those_of_the_table(void **state)
{
    (void)state;
    struct config c;
    load_good(&c, S);
    const struct service *s = &c.services[0];
    assert_int_equal(c.foreground, FOREGROUND_NO);
    assert_int_equal(c.syslog, true);
    assert_int_equal(c.log_level, LOG_NOTICE);
    assert_int_equal(c.log_facility, LOG_DAEMON);
    assert_non_null(c.hostname);
    assert_null(c.chroot_dir);
    assert_int_equal(s->tls_level, TLS_LEVEL_MAY);
    assert_int_equal(s->implicit_tls, IMPLICIT_NO);
    assert_int_equal(s->bare_newline, BARE_NEWLINE_REFUSE);
    assert_int_equal(s->auth_before_tls, false);
    assert_int_equal(s->session_resume, true);
    assert_int_equal(s->connections_per_worker, 1);
    assert_int_equal(s->max_command_length, 12288);
    assert_ptr_equal(s->protocol, &protocol_smtp);
    assert_int_equal(s->key.count, 0);
    config_finish(&c);
}

static void without_protocol_tls_is_implicit(void **state)
{
    (void)state;
    struct config c;
    load_good(&c, GOOD);
    assert_null(c.services[0].protocol);
    assert_int_equal(c.services[0].implicit_tls, IMPLICIT_YES);
    config_finish(&c);
}

static void programs_know_the_client_by_their_environment(void **state)
{
    (void)state;
    struct config c;
    load_good(&c, PROGRAM);
    assert_int_equal(c.services[0].identity, IDENTITY_ENV);
    config_finish(&c);
    load_good(&c, PROGRAM "identity = proxy2\n");
    assert_int_equal(c.services[0].identity, IDENTITY_PROXY2);
    config_finish(&c);
}

/* verifyChain = yes and verify = 2 demand there what verifyClient = require demands here. */
static void words_of_stunnel_mean_the_same(void **state)
{
    (void)state;
    static const char *const words[] = {"verifyChain = yes\n", "verify = 2\n",
                                        "verifyChain = yes\nrequireCert = yes\n",
                                        "verifyClient = require\n"};
    struct config c;
    char text[512];
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        snprintf(text, sizeof text, "%s", S "tlsLevel = encrypt\n" PIN);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s", words[i]);
        load_good(&c, text);
        assert_int_equal(c.services[0].verify_client, VERIFY_CLIENT_REQUIRE);
        assert_non_null(c.services[0].client_demand);
        config_finish(&c);
    }
    load_good(&c, S "verify = 0\n");
    assert_null(c.services[0].client_demand);
    config_finish(&c);
}

static const struct debug_case {
    const char *name, *value;
    int want_level, want_facility;
} debug_cases[] = {
    {"number", "7", LOG_DEBUG, LOG_DAEMON},
    {"zero", "0", LOG_EMERG, LOG_DAEMON},
    {"word", "Info", LOG_INFO, LOG_DAEMON},
    {"facility and word", "mail.warning", LOG_WARNING, LOG_MAIL},
    {"facility and number", "LOCAL7.3", LOG_ERR, LOG_LOCAL7},
    {"first facility", "auth.emerg", LOG_EMERG, LOG_AUTH},
    {"last facility", "uucp.debug", LOG_DEBUG, LOG_UUCP},
};

static void debug_is_level_and_facility(void **state)
{
    const struct debug_case *d = *state;
    struct config c;
    char text[512];
    snprintf(text, sizeof text, "debug = %s\n" S, d->value);
    load_good(&c, text);
    assert_int_equal(c.log_level, d->want_level);
    assert_int_equal(c.log_facility, d->want_facility);
    config_finish(&c);
}

static void assert_list(const struct values *list, const char *a, const char *b)
{
    assert_int_equal(list->count, (a != NULL) + (b != NULL));
    if (a != NULL)
        assert_string_equal(list->items[0].text, a);
    if (b != NULL)
        assert_string_equal(list->items[1].text, b);
}

/* What stands before the sections is the default of those behind: a list as a whole. */
static void options_before_the_sections_are_inherited(void **state)
{
    (void)state;
    struct config c;
    load_good(&c, "cert = /one\ncert = /two\nkey = /one.key\nTIMEOUTidle = 7\nprotocol = lmtp\n"
                  "hideCapability = /a/\n"
                  "[a]\naccept = 1\nconnect = 1\n"
                  "[b]\naccept = 2\nconnect = 2\ncert = /three\nTIMEOUTidle = 8\n"
                  "[c]\naccept = 3\nconnect = 3\nhideCapability = /b/\nhideCapability = /c/\n"
                  "protocol = smtp\n");
    const struct service *a = &c.services[0], *b = &c.services[1], *d = &c.services[2];
    assert_list(&a->cert, "/one", "/two");
    assert_list(&a->key, "/one.key", NULL);
    assert_list(&a->hide_capability, "/a/", NULL);
    assert_int_equal(a->timeout_idle, 7);
    assert_ptr_equal(a->protocol, &protocol_lmtp);
    assert_list(&b->cert, "/three", NULL);
    assert_list(&b->key, "/one.key", NULL);
    assert_int_equal(b->timeout_idle, 8);
    assert_list(&d->cert, "/one", "/two");
    assert_list(&d->hide_capability, "/b/", "/c/");
    assert_int_equal(d->hide.count, 2);
    assert_int_equal(d->timeout_idle, 7);
    assert_ptr_equal(d->protocol, &protocol_smtp);
    assert_list(&c.defaults.cert, "/one", "/two"); /* the defaults stay what they were */
    config_finish(&c);
}

static void sni_belongs_to_its_service(void **state)
{
    (void)state;
    struct config c;
    load_good(&c, S "[other]\nsni = SMTP:*.example.org\ncert = /c\n");
    assert_ptr_equal(c.services[1].sni_service, &c.services[0]);
    assert_string_equal(c.services[1].sni_pattern, "*.example.org");
    assert_null(c.services[0].sni_service);
    config_finish(&c);
}

static void what_stunnel_has_and_we_do_anyway_is_taken(void **state)
{
    (void)state;
    struct config c;
    load_good(&c, "fips = no\n" S "renegotiation = no\nreset = yes\nreset = no\nstack = 65536\n"
                  "session = 300\nsessionCacheSize = 10\n");
    config_finish(&c);
}

/* ---- includes ---- */

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void remove_files(const char *directory, const char *const *names)
{
    char path[256];
    for (; *names != NULL; names++) {
        snprintf(path, sizeof path, "%s/%s", directory, *names);
        unlink(path);
    }
    rmdir(directory);
}

static void directory_is_read_in_the_order_of_names(void **state)
{
    (void)state;
    static const char *const names[] = {"20-b.conf", "10-a.conf", ".hidden", NULL};
    struct config c;
    struct told t;
    char directory[] = "/tmp/ehlock-test-include-XXXXXX", text[256], want[256];
    assert_non_null(mkdtemp(directory));
    write_file(directory, names[0], "[b]\naccept = 2\nconnect = 2\ncert = /c\n\nnonsense\n");
    write_file(directory, names[1], "[a]\naccept = 1\nconnect = 1\ncert = /c\n");
    write_file(directory, names[2], "nonsense\n");
    snprintf(text, sizeof text, "include = %s\n", directory);
    assert_false(load(&c, &t, text));
    assert_int_equal(t.count, 1);
    snprintf(want, sizeof want, "%s/20-b.conf:6: ", directory);
    assert_true(strncmp(t.text[0], want, strlen(want)) == 0);
    assert_int_equal(c.n_services, 2);
    assert_string_equal(c.services[0].name, "a");
    assert_string_equal(c.services[1].name, "b");
    config_finish(&c);
    remove_files(directory, names);
}

static void directory_that_includes_itself_ends(void **state)
{
    (void)state;
    static const char *const names[] = {"a.conf", NULL};
    struct config c;
    struct told t;
    char directory[] = "/tmp/ehlock-test-include-XXXXXX", text[256];
    assert_non_null(mkdtemp(directory));
    snprintf(text, sizeof text, "include = %s\n", directory);
    write_file(directory, names[0], text);
    assert_false(load(&c, &t, text));
    assert_int_equal(t.count, 1);
    assert_non_null(strstr(t.text[0], "nested deeper than 4"));
    config_finish(&c);
    remove_files(directory, names);
}

static void file_that_is_not_there_is_told(void **state)
{
    (void)state;
    struct config c;
    struct told t = {.count = 0};
    config_init(&c);
    c.complain = hear;
    c.complain_ctx = &t;
    assert_false(config_read(&c, "/nonexistent/file"));
    assert_string_equal(t.text[0], "cannot read /nonexistent/file: "
                                   "No such file or directory");
    config_finish(&c);
}

/* ---- --show-config ---- */

static char *shown(const struct config *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    config_show(c, f);
    assert_int_equal(fclose(f), 0);
    return text;
}

static const struct show_case {
    const char *name, *text, *want_part;
} show_cases[] = {
    {"least that is needed", S, "bareNewline = refuse\n"},
    {"no protocol", GOOD, "implicitTls = yes\n"},
    {"two services with defaults before",
     "cert = /one\ncert = /two\nTIMEOUTidle = 7\ntlsLevel = encrypt\nsetuid = x\ndebug = "
     "mail.info\n"
     "[a]\naccept = 1\naccept = :::1\nconnect = 1\n[b]\naccept = 2\nconnect = /run/x\n",
     "\n[b]\n"},
    {"lists keep their order", S "hideCapability = /b/\nhideCapability = /a/x\n",
     "hideCapability = /b/\nhideCapability = /a/x\n"},
    {"values with '=', ';' and '#'", S "priority = NORMAL:%COMPAT;#=\n",
     "priority = NORMAL:%COMPAT;#=\n"},
    {"sni", S "[b]\nsni = smtp:mx.example.org\ncert = /c\n", "sni = smtp:mx.example.org\n"},
};

static void what_is_shown_means_the_same(void **state)
{
    const struct show_case *s = *state;
    struct config c, again;
    load_good(&c, s->text);
    char *first = shown(&c);
    if (strstr(first, s->want_part) == NULL)
        fail_msg("no \"%s\" in:\n%s", s->want_part, first);
    load_good(&again, first);
    char *second = shown(&again);
    assert_string_equal(first, second);
    assert_int_equal(c.n_services, again.n_services);
    free(first);
    free(second);
    config_finish(&c);
    config_finish(&again);
}

/* ---- the table of options ---- */

/* Tries one value of one option in the place where it belongs. */
static bool takes(const struct option_row *row, const char *value)
{
    union {
        struct config config;
        struct service service;
    } base;
    memset(&base, 0, sizeof base);
    const char *wrong = option_set(row, &base, value, "x:1");
    options_finish(&base, row->scope);
    return wrong == NULL;
}

static bool takes_number(const struct option_row *row, long n)
{
    char text[32];
    snprintf(text, sizeof text, "%ld", n);
    return takes(row, text);
}

static void check_limits(const struct option_row *row)
{
    assert_true(row->min >= 0 && row->min < row->max);
    assert_true(takes_number(row, row->min));
    assert_true(takes_number(row, row->max));
    assert_false(takes_number(row, (long)row->min - 1));
    assert_false(takes_number(row, (long)row->max + 1));
    assert_false(takes_number(row, (long)row->min + (1L << 32)));
    assert_false(takes(row, "99999999999999999999"));
    assert_false(takes(row, "1 "));
    assert_false(takes(row, " 1"));
    assert_false(takes(row, "1s"));
}

static void check_choices(const struct option_row *row)
{
    char words[256];
    snprintf(words, sizeof words, "%s", row->choices);
    assert_false(takes(row, words)); /* all of them at once */
    for (char *place, *word = strtok_r(words, " ", &place); word != NULL;
         word = strtok_r(NULL, " ", &place))
        assert_true(takes(row, word));
    assert_false(takes(row, "perhaps"));
}

static void check_row(const struct option_row *row)
{
    assert_ptr_equal(option_find(row->name), row); /* also: no name twice */
    assert_true(row->help != NULL && row->help[0] != '\0' && strchr(row->help, '\n') == NULL);
    assert_false(takes(row, ""));
    if (row->initial != NULL)
        assert_true(takes(row, row->initial));
    switch (row->type) {
    case OPTION_NUMBER:
        assert_non_null(row->initial);
        check_limits(row);
        break;
    case OPTION_CHOICE:
        assert_non_null(row->initial);
        check_choices(row);
        break;
    case OPTION_TEXT:
    case OPTION_FILE:
    case OPTION_SECRET:
    case OPTION_LIST:
    case OPTION_FILES:
    case OPTION_NOTHING:
        assert_true(takes(row, "anything at all"));
        break;
    case OPTION_GONE:
        assert_false(takes(row, "anything at all"));
        break;
    case OPTION_INCLUDE:
        break;
    }
}

static void every_row_is_sound(void **state)
{
    check_row(*state);
}

static void no_two_rows_share_a_place(void **state)
{
    (void)state;
    const struct option_row *a, *b;
    for (size_t i = 0; (a = option_at(i)) != NULL; i++) {
        if (a->type == OPTION_NOTHING || a->type == OPTION_GONE || a->type == OPTION_INCLUDE)
            continue;
        for (size_t k = i + 1; (b = option_at(k)) != NULL; k++)
            if (b->type != OPTION_NOTHING && b->type != OPTION_GONE && b->type != OPTION_INCLUDE)
                assert_false(a->scope == b->scope && a->offset == b->offset);
    }
}

static void names_are_found_in_any_case_and_only_whole(void **state)
{
    (void)state;
    assert_non_null(option_find("TLSLEVEL"));
    assert_ptr_equal(option_find("tlslevel"), option_find("tlsLevel"));
    assert_null(option_find("tlsLeve"));
    assert_null(option_find("tlsLevels"));
    assert_null(option_find(""));
    assert_null(option_at(100000));
}

/* --help has every option that does something, and no other. */
static void help_lists_what_there_is(void **state)
{
    (void)state;
    const struct option_row *row;
    char *text = NULL, line[128];
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    options_help(f);
    fclose(f);
    for (size_t i = 0; (row = option_at(i)) != NULL; i++) {
        snprintf(line, sizeof line, "\n  %s%s", row->name,
                 row->choices != NULL   ? " ="
                 : row->initial != NULL ? " ("
                                        : "\n");
        bool want = row->type != OPTION_NOTHING && row->type != OPTION_GONE;
        if ((strstr(text, line) != NULL) != want)
            fail_msg("%s is %s --help", row->name, want ? "not in" : "in");
    }
    free(text);
}

int main(void)
{
    struct unit u = {0};
    const struct option_row *row;
    UNIT_ADD_TABLE(&u, error_is_told_with_file_and_line, error_cases);
    UNIT_ADD_TABLE(&u, warning_is_no_error, warn_cases);
    UNIT_ADD_TABLE(&u, debug_is_level_and_facility, debug_cases);
    UNIT_ADD_TABLE(&u, what_is_shown_means_the_same, show_cases);
    for (size_t i = 0; (row = option_at(i)) != NULL; i++)
        unit_add(&u, row->name, every_row_is_sound, row);
    unit_add(&u, "all errors are told at once", all_errors_are_told_at_once, NULL);
    unit_add(&u, "line may have 4095 bytes", line_may_have_4095_bytes, NULL);
    unit_add(&u, "readable key", key_that_everybody_can_read_is_warned_of, NULL);
    unit_add(&u, "form is forgiving", form_is_forgiving, NULL);
    unit_add(&u, "defaults", defaults_are_those_of_the_table, NULL);
    unit_add(&u, "no protocol: implicit TLS", without_protocol_tls_is_implicit, NULL);
    unit_add(&u, "exec: identity", programs_know_the_client_by_their_environment, NULL);
    unit_add(&u, "stunnel's verify", words_of_stunnel_mean_the_same, NULL);
    unit_add(&u, "inheritance", options_before_the_sections_are_inherited, NULL);
    unit_add(&u, "sni", sni_belongs_to_its_service, NULL);
    unit_add(&u, "stunnel's idle options", what_stunnel_has_and_we_do_anyway_is_taken, NULL);
    unit_add(&u, "include: order", directory_is_read_in_the_order_of_names, NULL);
    unit_add(&u, "include: itself", directory_that_includes_itself_ends, NULL);
    unit_add(&u, "file that is not there", file_that_is_not_there_is_told, NULL);
    unit_add(&u, "no two rows share a place", no_two_rows_share_a_place, NULL);
    unit_add(&u, "names", names_are_found_in_any_case_and_only_whole, NULL);
    unit_add(&u, "help", help_lists_what_there_is, NULL);
    return unit_run(&u, "config");
}
