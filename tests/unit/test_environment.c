/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "proxy/arguments.h"
#include "proxy/environment.h"

static struct address ipv4(const char *host, uint16_t port)
{
    struct address a = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in *in = (struct sockaddr_in *)&a.sa;
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    assert_int_equal(inet_pton(AF_INET, host, &in->sin_addr), 1);
    return a;
}

static struct address ipv6(const char *host, uint16_t port)
{
    struct address a = {.len = sizeof(struct sockaddr_in6)};
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a.sa;
    *in = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
    assert_int_equal(inet_pton(AF_INET6, host, &in->sin6_addr), 1);
    return a;
}

/* What a program would see; "" when nothing of that name. */
static const char *seen(char **env, const char *name)
{
    size_t len = strlen(name);
    for (; *env != NULL; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return "";
}

static char **make(const struct session_facts *f)
{
    const char *values[VARIABLES];
    assert_null(session_facts_wrong(f));
    environment_values(f, values);
    return environment_make(values);
}

static void assert_seen(char **env, const char *name, const char *want)
{
    if (strcmp(seen(env, name), want) != 0)
        fail_msg("%s is \"%s\", not \"%s\"", name, seen(env, name), want);
}

static void test_ipv4_in_clear(void **state)
{
    const struct address client = ipv4("192.0.2.77", 4444), local = ipv4("192.0.2.1", 25);
    struct session_facts f;
    (void)state;
    session_facts_set(&f, &client, &local, NULL);
    char **env = make(&f);
    assert_seen(env, "PROTO", "TCP");
    assert_seen(env, "TCPREMOTEIP", "192.0.2.77");
    assert_seen(env, "TCPREMOTEPORT", "4444");
    assert_seen(env, "TCPLOCALIP", "192.0.2.1");
    assert_seen(env, "TCPLOCALPORT", "25");
    assert_seen(env, "REMOTE_HOST", "192.0.2.77");
    assert_seen(env, "REMOTE_PORT", "4444");
    size_t n = 0;
    while (env[n] != NULL)
        assert_true(strncmp(env[n++], "SSL_", 4) != 0);
    assert_int_equal(n, 8);
    arguments_release(env);
}

static void test_ipv6_and_mapped_ipv4(void **state)
{
    const struct address client = ipv6("2001:db8::7", 65535), local = ipv6("::ffff:192.0.2.1", 25);
    struct session_facts f;
    (void)state;
    session_facts_set(&f, &client, &local, NULL);
    char **env = make(&f);
    assert_seen(env, "PROTO", "TCP");
    assert_seen(env, "TCPREMOTEIP", "2001:db8::7");
    assert_seen(env, "TCPREMOTEPORT", "65535");
    assert_seen(env, "TCPLOCALIP", "192.0.2.1");
    arguments_release(env);
}

static void test_unix_socket_has_no_address(void **state)
{
    const struct address a = {.sa.ss_family = AF_UNIX, .len = sizeof(sa_family_t)};
    struct session_facts f;
    (void)state;
    session_facts_set(&f, &a, &a, NULL);
    char **env = make(&f);
    assert_seen(env, "PROTO", "UNIX");
    assert_int_equal(strncmp(env[0], "PATH=/", 6), 0);
    assert_string_equal(env[1], "PROTO=UNIX");
    assert_null(env[2]);
    arguments_release(env);
}

#define LABEL50 "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghi."
#define NAME255 LABEL50 LABEL50 LABEL50 LABEL50 LABEL50 "abcde"

static const struct tls_case {
    const char *name, *version, *cipher, *sni;
    bool resumed;
    const char *want_protocol, *want_cipher, *want_sni, *want_resumed;
} tls_cases[] = {
    {"TLS 1.3", "TLS1.3", "AES-128-GCM", "mx.example.org", false, "TLSv1.3", "AES-128-GCM",
     "mx.example.org", "Initial"},
    {"resumed", "TLS1.2", "AES-256-GCM", "mx.example.org", true, "TLSv1.2", "AES-256-GCM",
     "mx.example.org", "Resumed"},
    {"no server name", "TLS1.3", "AES-128-GCM", "-", false, "TLSv1.3", "AES-128-GCM", "",
     "Initial"},
    {"server name like an option", "TLS1.3", "AES-128-GCM", "-oX", false, "TLSv1.3", "AES-128-GCM",
     "", "Initial"},
    {"server name for a shell", "TLS1.3", "AES-128-GCM", "a;id", false, "TLSv1.3", "AES-128-GCM",
     "", "Initial"},
    {"server name with a blank", "TLS1.3", "AES-128-GCM", "a b", false, "TLSv1.3", "AES-128-GCM",
     "", "Initial"},
    {"longest server name", "TLS1.3", "AES-128-GCM", NAME255, false, "TLSv1.3", "AES-128-GCM",
     NAME255, "Initial"},
    {"server name of one byte more", "TLS1.3", "AES-128-GCM", NAME255 "x", false, "TLSv1.3",
     "AES-128-GCM", "", "Initial"},
};

static void test_tls(void **state)
{
    const struct tls_case *c = *state;
    const struct tls_info tls = {.version = c->version,
                                 .cipher = c->cipher,
                                 .group = "X25519",
                                 .sni = c->sni,
                                 .alpn = "-",
                                 .resumed = c->resumed};
    const struct address a = ipv4("192.0.2.77", 4444);
    struct session_facts f;
    session_facts_set(&f, &a, &a, &tls);
    char **env = make(&f);
    assert_seen(env, "SSL_PROTOCOL", c->want_protocol);
    assert_seen(env, "SSL_CIPHER", c->want_cipher);
    assert_seen(env, "SSL_TLS_SNI", c->want_sni);
    assert_seen(env, "SSL_SESSION_RESUMED", c->want_resumed);
    arguments_release(env);
}

static const struct client_case {
    const char *name;
    enum verdict_cause cause;
    const char *subject, *issuer;
    bool relay;
    const char *want_verify, *want_subject, *want_issuer;
} client_cases[] = {
    {"good, and may relay", VERDICT_OK, "CN=alice,O=A b", "CN=Our CA", true, "SUCCESS",
     "CN=alice,O=A b", "CN=Our CA"},
    {"good", VERDICT_OK, "CN=alice", "CN=Our CA", false, "SUCCESS", "CN=alice", "CN=Our CA"},
    {"good, without names", VERDICT_OK, "-", "", true, "SUCCESS", "", ""},
    {"good, subject like an option", VERDICT_OK, "-C/tmp", "CN=a\tb", false, "SUCCESS", "", ""},
    {"none", VERDICT_NO_CERTIFICATE, "", "", false, "NONE", "", ""},
    {"bad", VERDICT_UNKNOWN_CRITICAL, "", "", false, "FAILED:unknown-critical-extension", "", ""},
};

static void test_client(void **state)
{
    const struct client_case *c = *state;
    const struct address a = ipv4("192.0.2.77", 4444);
    const char *values[VARIABLES];
    struct session_facts f;
    session_facts_set(&f, &a, &a, NULL);
    session_facts_set_client(&f, c->cause, c->subject, c->issuer, c->relay);
    char **env = make(&f);
    assert_seen(env, "SSL_CLIENT_VERIFY", c->want_verify);
    assert_seen(env, "SSL_CLIENT_S_DN", c->want_subject);
    assert_seen(env, "SSL_CLIENT_I_DN", c->want_issuer);
    arguments_release(env);
    environment_values(&f, values); /* it is there and empty, or not there */
    assert_int_equal(values[VARIABLE_RELAYCLIENT] != NULL, c->relay);
    if (c->relay)
        assert_string_equal(values[VARIABLE_RELAYCLIENT], "");
}

/* ---- facts from somebody else ---- */

#define FIELD(member)                                                                              \
    offsetof(struct session_facts, member), sizeof(((struct session_facts *)0)->member)

static const struct wrong_case {
    const char *name;
    size_t at, size;
    const char *text;
    bool unended; /* no NUL in the whole field */
} wrong_cases[] = {
    {"host name for the client", FIELD(remote_ip), "mx.example.org", false},
    {"client's address with something behind", FIELD(remote_ip), "192.0.2.1 -x", false},
    {"client's address in brackets", FIELD(remote_ip), "[::1]", false},
    {"client's address without end", FIELD(remote_ip), "1", true},
    {"no address but a port", FIELD(remote_ip), "", false},
    {"port 65536", FIELD(remote_port), "65536", false},
    {"negative port", FIELD(remote_port), "-1", false},
    {"port with a letter", FIELD(remote_port), "25a", false},
    {"no port", FIELD(remote_port), "", false},
    {"port without end", FIELD(remote_port), "1", true},
    {"local host name", FIELD(local_ip), "localhost", false},
    {"local port without end", FIELD(local_port), "1", true},
    {"line end in the protocol", FIELD(tls_protocol), "TLSv1.3\n", false},
    {"protocol without end", FIELD(tls_protocol), "T", true},
    {"equals sign in the cipher", FIELD(cipher), "AES=1", false},
    {"cipher without end", FIELD(cipher), "A", true},
    {"option for a server name", FIELD(server_name), "-bs", false},
    {"8 bits in the server name", FIELD(server_name), "gr\xc3\xbcn", false},
    {"server name without end", FIELD(server_name), "a", true},
    {"blank in the verdict", FIELD(verify), "FAILED: x", false},
    {"verdict without end", FIELD(verify), "S", true},
    {"line end in the subject", FIELD(subject), "CN=a\nRELAYCLIENT=", false},
    {"option for a subject", FIELD(subject), "-bs", false},
    {"8 bits in the issuer", FIELD(issuer), "CN=gr\xc3\xbcn", false},
    {"issuer without end", FIELD(issuer), "C", true},
    {"half relaying", FIELD(relay), "\2", true},
    {"relaying without a certificate", FIELD(relay), "\1", true},
    {"half resumed", FIELD(resumed), "\2", true},
};

static void test_wrong(void **state)
{
    const struct wrong_case *c = *state;
    const struct address a = ipv4("192.0.2.77", 4444);
    struct session_facts f;
    session_facts_set(&f, &a, &a, NULL);
    assert_null(session_facts_wrong(&f));
    if (c->unended) {
        memset((char *)&f + c->at, c->text[0], c->size);
    } else {
        assert_true(strlen(c->text) < c->size);
        memcpy((char *)&f + c->at, c->text, strlen(c->text) + 1);
    }
    assert_non_null(session_facts_wrong(&f));
}

static void test_environment_of_a_user(void **state)
{
    (void)state;
    char **env = environment_make_user("joe", "/home/joe");
    assert_seen(env, "HOME", "/home/joe");
    assert_seen(env, "LOGNAME", "joe");
    assert_seen(env, "USER", "joe");
    assert_string_not_equal(seen(env, "PATH"), "");
    assert_null(env[4]);
    arguments_release(env);
    env = environment_make_user("", "");
    assert_int_equal(strncmp(env[0], "PATH=", 5), 0);
    assert_null(env[1]);
    arguments_release(env);
}

int main(void)
{
    static struct unit u;
    unit_add(&u, "ipv4 in clear", test_ipv4_in_clear, NULL);
    unit_add(&u, "ipv6 and mapped ipv4", test_ipv6_and_mapped_ipv4, NULL);
    unit_add(&u, "unix socket has no address", test_unix_socket_has_no_address, NULL);
    unit_add(&u, "environment of a user", test_environment_of_a_user, NULL);
    UNIT_ADD_TABLE(&u, test_tls, tls_cases);
    UNIT_ADD_TABLE(&u, test_client, client_cases);
    UNIT_ADD_TABLE(&u, test_wrong, wrong_cases);
    return unit_run(&u, "environment");
}
