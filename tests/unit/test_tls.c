/* SPDX-License-Identifier: ISC
 *
 * Sessions of ours with each other over a socket pair, and with a plain GnuTLS client where one is
 * needed that resumes. The keys are in a keeper, as always.
 */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "certs/creds.h"
#include "certs/keeper.h"
#include "certs/remotekey.h"
#include "certs/tickets.h"
#include "certs/tls.h"
#include "certs/trust.h"
#include "certs/verify.h"
#include "tests/unit/pki.h"

#define TLS12_ONLY                                                                                 \
    "NONE:+VERS-TLS1.2:+AES-128-GCM:+AEAD:+ECDHE-ECDSA:+ECDHE-RSA:+GROUP-X25519:+SIGN-ALL:"        \
    "+COMP-NULL:+CTYPE-X509"
#define TLS13_ONLY                                                                                 \
    "NONE:+VERS-TLS1.3:+AES-128-GCM:+AEAD:+ECDHE-ECDSA:+ECDHE-RSA:+GROUP-X25519:+SIGN-ALL:"        \
    "+COMP-NULL:+CTYPE-X509"

enum { TURNS = 200, DAY = 24 * 3600, PATH_SIZE = 384 };

/* Each of them a service with one certificate and its key. */
enum who {
    SERVER,
    STAPLED,
    UNSTAPLED,
    P256,
    ED25519,
    RSA,
    STRANGER,
    ED25519_SERVER,
    RSA_SERVER,
    WEAK_RSA,
    EXPIRED,
    FOR_SERVERS,
    N_WHO
};

static const struct {
    const char *file;
    struct pki_spec spec;
    bool for_client, by_stranger, stapled;
} people[N_WHO] = {
    [SERVER] = {.file = "server.pem", .spec = {.cn = "mx.example.org", .dns = {"mx.example.org"}}},
    [STAPLED] = {.file = "stapled.pem",
                 .spec = {.dns = {"mx.example.org"}, .must_staple = true},
                 .stapled = true},
    [UNSTAPLED] = {.file = "unstapled.pem",
                   .spec = {.dns = {"mx.example.org"}, .must_staple = true}},
    [P256] = {.file = "p256.pem",
              .spec = {.cn = "Client \"A\"",
                       .dns = {"client.example.org"},
                       .email = "client@example.org",
                       .ip = {"2001:db8::7"},
                       .purpose = {GNUTLS_KP_TLS_WWW_CLIENT}},
              .for_client = true},
    [ED25519] = {.file = "ed25519.pem",
                 .spec = {.dns = {"client.example.org"}, .key = PKI_ED25519},
                 .for_client = true},
    [RSA] = {.file = "rsa.pem",
             .spec = {.dns = {"client.example.org"}, .key = PKI_RSA2048},
             .for_client = true},
    [STRANGER] = {.file = "stranger.pem",
                  .spec = {.dns = {"client.example.org"}},
                  .for_client = true,
                  .by_stranger = true},
    [WEAK_RSA] = {.file = "weak.pem",
                  .spec = {.dns = {"client.example.org"}, .key = PKI_RSA1024},
                  .for_client = true},
    [EXPIRED] = {.file = "expired.pem",
                 .spec = {.dns = {"client.example.org"}, .from_days = -9, .until_days = -1},
                 .for_client = true},
    [FOR_SERVERS] = {.file = "servers.pem",
                     .spec = {.dns = {"client.example.org"}, .purpose = {GNUTLS_KP_TLS_WWW_SERVER}},
                     .for_client = true},
    [RSA_SERVER] = {.file = "rsa-server.pem",
                    .spec = {.dns = {"mx.example.org"}, .key = PKI_RSA2048}},
    [ED25519_SERVER] = {.file = "wrong.pem",
                        .spec = {.dns = {"client.example.org"}, .key = PKI_ED25519}},
};

struct place {
    char dir[64];
    pid_t keeper;
    int stop_fd, request_fds[N_WHO];
    struct creds *creds[N_WHO];
    struct trust *trust;
    struct ticket_key ticket_key;
};

/* ---- the place ---- */

static void path_in(const struct place *p, const char *name, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/%s", p->dir, name);
}

static void write_pki(struct place *p)
{
    time_t now = time(NULL);
    char path[PATH_SIZE];
    struct pki_cert root = pki_issue(&(struct pki_spec){.cn = "Root", .ca = true}, NULL, now);
    struct pki_cert other = pki_issue(&(struct pki_spec){.cn = "Stranger", .ca = true}, NULL, now);
    const struct pki_cert *ca[] = {&root, NULL};
    path_in(p, "ca.pem", path);
    pki_write_certs(path, ca, false);
    for (size_t i = 0; i < N_WHO; i++) {
        struct pki_cert c = pki_issue(&people[i].spec, people[i].by_stranger ? &other : &root, now);
        const struct pki_cert *chain[] = {&c, NULL};
        path_in(p, people[i].file, path);
        pki_write_certs(path, chain, true);
        if (people[i].stapled) {
            gnutls_datum_t response = pki_ocsp(&c, &root, &root, false, now - DAY, now + DAY);
            path_in(p, "ocsp.der", path);
            FILE *f = fopen(path, "w");
            assert_non_null(f);
            fwrite(response.data, 1, response.size, f);
            fclose(f);
            gnutls_free(response.data);
        }
        pki_free(&c);
    }
    pki_free(&root);
    pki_free(&other);
}

static void ignore_refusal(void *ctx, pid_t asker, const char *sentence)
{
    (void)ctx;
    (void)asker;
    (void)sentence;
}

static void ignore_shut_door(void *ctx)
{
    (void)ctx;
}

_Noreturn static void be_keeper(const struct place *p, const int requests[N_WHO], int report_fd,
                                int stop_fd)
{
    const struct keeper_alarm alarm = {.refused = ignore_refusal, .shut_out = ignore_shut_door};
    static char files[N_WHO][PATH_SIZE], ocsp[PATH_SIZE];
    struct key_source sources[N_WHO];
    struct key_group groups[N_WHO];
    path_in(p, "ocsp.der", ocsp);
    for (size_t i = 0; i < N_WHO; i++) {
        path_in(p, people[i].file, files[i]);
        sources[i] = (struct key_source){.cert_file = files[i],
                                         .ocsp_file = people[i].stapled ? ocsp : NULL,
                                         .for_client = people[i].for_client,
                                         .cert_where = "test",
                                         .key_where = "test",
                                         .ocsp_where = "test"};
        groups[i] = (struct key_group){
            .sources = &sources[i], .count = 1, .request_fd = requests[i], .max_requests = 10000};
    }
    struct keeper *k = keeper_load(groups, N_WHO, report_fd);
    close(report_fd);
    if (k != NULL)
        keeper_serve(k, stop_fd, &alarm);
    keeper_destroy(k);
    _exit(0);
}

/* One place serves all tests: its RSA keys take their time. */
static struct place place;

static int set_up(void **state)
{
    struct place *p = &place;
    int report[2], stop[2], keeper_ends[N_WHO];
    struct keeper_door doors[N_WHO];
    char path[PATH_SIZE], error[512];

    snprintf(p->dir, sizeof p->dir, "/tmp/ehlock-tls-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    write_pki(p);
    assert_int_equal(pipe(report) | pipe(stop), 0);
    for (size_t i = 0; i < N_WHO; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
        p->request_fds[i] = pair[0];
        keeper_ends[i] = pair[1];
        doors[i] = (struct keeper_door){.request_fd = pair[0], .seconds = 30};
    }
    p->keeper = fork();
    if (p->keeper == 0) {
        close(stop[1]);
        be_keeper(p, keeper_ends, report[1], stop[0]);
    }
    assert_true(p->keeper > 0);
    close(report[1]);
    close(stop[0]);
    p->stop_fd = stop[1];
    for (size_t i = 0; i < N_WHO; i++)
        close(keeper_ends[i]);
    if (!creds_read_report(report[0], doors, N_WHO, p->creds, 30, error, sizeof error))
        fail_msg("%s", error);
    close(report[0]);

    path_in(p, "ca.pem", path);
    const char *ca_file = path;
    p->trust = trust_create(&(struct trust_sources){.ca_files = &ca_file, .n_ca_files = 1}, error,
                            sizeof error);
    assert_non_null(p->trust);
    assert_int_equal(ticket_key_make(&p->ticket_key), 0);
    (void)state;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    struct place *p = &place;
    (void)state;
    close(p->stop_fd);
    waitpid(p->keeper, NULL, 0);
    for (size_t i = 0; i < N_WHO; i++) {
        close(p->request_fds[i]);
        creds_destroy(p->creds[i]);
    }
    trust_destroy(p->trust);
    return nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- two sessions ---- */

struct talk {
    struct tls_setup *client_setup, *server_setup;
    struct tls *client, *server;
    int client_fd, server_fd;
    enum tls_result client_end, server_end;
};

/* What a test wants to be otherwise. */
struct wish {
    enum who server, client; /* client SERVER: shows no certificate */
    const char *priority, *client_priority, *server_priority, *name, *alpn, *server_alpn;
    bool ask;
};

static void connect_pair(struct talk *t)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    t->client_fd = pair[0];
    t->server_fd = pair[1];
}

static struct tls_setup *make_setup(const struct tls_params *params)
{
    char error[256];
    struct tls_setup *setup = tls_setup_create(params, error, sizeof error);
    if (setup == NULL)
        fail_msg("%s", error);
    return setup;
}

static struct tls_setup *make_server_setup(const struct wish *w)
{
    return make_setup(&(struct tls_params){
        .priority = w->server_priority != NULL ? w->server_priority : w->priority,
        .alpn = w->server_alpn,
        .creds = place.creds[w->server],
        .trust = place.trust,
        .ticket_key = &place.ticket_key,
        .ask_client_cert = w->ask});
}

static void begin(struct talk *t, const struct wish *w)
{
    *t = (struct talk){.client_end = TLS_WANT_READ, .server_end = TLS_WANT_READ};
    t->server_setup = make_server_setup(w);
    t->client_setup = make_setup(&(struct tls_params){
        .priority = w->client_priority != NULL ? w->client_priority : w->priority,
        .alpn = w->alpn,
        .creds = w->client != SERVER ? place.creds[w->client] : NULL,
        .trust = place.trust});
    connect_pair(t);
    t->client = tls_create_client(t->client_setup, t->client_fd, w->name);
    t->server = tls_create(t->server_setup, t->server_fd);
}

static bool is_wanting(enum tls_result r)
{
    return r == TLS_WANT_READ || r == TLS_WANT_WRITE;
}

static void step(struct tls *t, enum tls_result *end)
{
    if (!is_wanting(*end))
        return;
    *end = tls_handshake(t);
    if (*end == TLS_OK)
        (void)tls_flush(t);
}

static void shake(struct talk *t)
{
    for (int i = 0; i < TURNS && (is_wanting(t->client_end) || is_wanting(t->server_end)); i++) {
        step(t->client, &t->client_end);
        step(t->server, &t->server_end);
    }
}

static void talk(struct talk *t, const struct wish *w)
{
    begin(t, w);
    shake(t);
    if (t->client_end != TLS_OK || t->server_end != TLS_OK)
        fail_msg("client: %d \"%s\", server: %d \"%s\"", t->client_end, tls_error(t->client),
                 t->server_end, tls_error(t->server));
}

/* A line each way: what came of the handshake is a session. */
static void exchange(struct talk *t)
{
    char got[16];
    assert_int_equal(tls_write(t->client, "ping", 4), 4);
    assert_int_equal(tls_read(t->server, got, sizeof got), 4);
    assert_int_equal(tls_write(t->server, "pong", 4), 4);
    assert_int_equal(tls_read(t->client, got, sizeof got), 4);
    assert_memory_equal(got, "pong", 4);
}

static void end(struct talk *t)
{
    tls_destroy(t->client);
    tls_destroy(t->server);
    tls_setup_destroy(t->client_setup);
    tls_setup_destroy(t->server_setup);
    if (t->client_fd >= 0)
        close(t->client_fd);
    if (t->server_fd >= 0)
        close(t->server_fd);
}

static const char *const client_names[] = {"client.example.org"};
static const char *const server_names[] = {"mx.example.org"};
static const char *const other_names[] = {"other.example.org"};
static const struct verify_rules of_client = {
    .purpose = VERIFY_CLIENT, .need_ca = true, .hosts = client_names, .n_hosts = 1};
static const struct verify_rules of_server = {
    .purpose = VERIFY_SERVER, .need_ca = true, .hosts = server_names, .n_hosts = 1};
static const struct verify_rules of_other = {
    .purpose = VERIFY_CLIENT, .need_ca = true, .hosts = other_names, .n_hosts = 1};

static void assert_verdict(const struct tls *t, const struct verify_rules *rules,
                           enum verdict_cause want)
{
    struct verdict verdict;
    bool ok = tls_verify_peer(t, rules, &verdict);
    if (verdict.cause != want)
        fail_msg("got %s: \"%s\", want %s", verdict_word(verdict.cause), verdict.sentence,
                 verdict_word(want));
    assert_int_equal(ok, want == VERDICT_OK);
}

/* ---- certificates of clients ---- */

struct client_row {
    const char *name;
    struct wish wish;
    enum verdict_cause want;
};

#define FOR(priority_) .priority = priority_
static const struct client_row client_rows[] = {
    {"tls13-not-asked", {FOR(TLS13_ONLY), .client = P256}, VERDICT_NO_CERTIFICATE},
    {"tls12-not-asked", {FOR(TLS12_ONLY), .client = P256}, VERDICT_NO_CERTIFICATE},
    {"tls13-asked-and-none-sent", {FOR(TLS13_ONLY), .ask = true}, VERDICT_NO_CERTIFICATE},
    {"tls12-asked-and-none-sent", {FOR(TLS12_ONLY), .ask = true}, VERDICT_NO_CERTIFICATE},
    {"tls13-p256", {FOR(TLS13_ONLY), .ask = true, .client = P256}, VERDICT_OK},
    {"tls12-p256", {FOR(TLS12_ONLY), .ask = true, .client = P256}, VERDICT_OK},
    {"tls13-rsa", {FOR(TLS13_ONLY), .ask = true, .client = RSA}, VERDICT_OK},
    {"tls12-rsa", {FOR(TLS12_ONLY), .ask = true, .client = RSA}, VERDICT_OK},
    {"tls13-ed25519", {FOR(TLS13_ONLY), .ask = true, .client = ED25519}, VERDICT_OK},
    {"tls13-of-a-stranger",
     {FOR(TLS13_ONLY), .ask = true, .client = STRANGER},
     VERDICT_UNKNOWN_ISSUER},
    {"tls12-of-a-stranger",
     {FOR(TLS12_ONLY), .ask = true, .client = STRANGER},
     VERDICT_UNKNOWN_ISSUER},
    {"tls13-weak", {FOR(TLS13_ONLY), .ask = true, .client = WEAK_RSA}, VERDICT_WEAK},
    {"tls13-expired", {FOR(TLS13_ONLY), .ask = true, .client = EXPIRED}, VERDICT_EXPIRED},
    {"tls13-for-servers-only",
     {FOR(TLS13_ONLY), .ask = true, .client = FOR_SERVERS},
     VERDICT_WRONG_PURPOSE},
    {"tls12-weak", {FOR(TLS12_ONLY), .ask = true, .client = WEAK_RSA}, VERDICT_WEAK},
    {"tls12-expired", {FOR(TLS12_ONLY), .ask = true, .client = EXPIRED}, VERDICT_EXPIRED},
    {"tls12-for-servers-only",
     {FOR(TLS12_ONLY), .ask = true, .client = FOR_SERVERS},
     VERDICT_WRONG_PURPOSE},
    {"default-priority", {.ask = true, .client = P256}, VERDICT_OK},
};

/* Whatever was presented, there is a session in which a 554 can be said. */
static void client_is_judged_after_the_handshake(void **state)
{
    const struct client_row *r = *state;
    struct talk t;
    talk(&t, &r->wish);
    exchange(&t);
    assert_verdict(t.server, &of_client, r->want);
    end(&t);
}

static void before_the_handshake_there_is_no_peer(void **state)
{
    (void)state;
    struct talk t;
    struct tls_certificates c;
    begin(&t, &(struct wish){.ask = true, .client = P256});
    assert_verdict(t.server, &of_client, VERDICT_NO_CERTIFICATE);
    tls_get_certificates(t.server, &c);
    assert_false(c.peer_presented);
    assert_string_equal(c.peer_sha256, "-");
    end(&t);
}

/* The keeper signs for a client with the keys of clients only. */
static void key_of_a_server_is_not_used_by_a_client(void **state)
{
    (void)state;
    struct talk t;
    begin(&t, &(struct wish){.ask = true, .client = ED25519_SERVER});
    shake(&t);
    assert_int_equal(t.client_end, TLS_FAILED);
    assert_non_null(strstr(tls_error(t.client), "keeper of the private key"));
    end(&t);
}

static void ed25519_client_cannot_answer_in_tls12(void **state)
{
    (void)state;
    struct talk t;
    begin(&t, &(struct wish){FOR(TLS12_ONLY), .ask = true, .client = ED25519});
    shake(&t);
    assert_int_equal(t.client_end, TLS_FAILED);
    assert_string_not_equal(tls_error(t.client), "");
    end(&t);
}

static void both_certificates_are_described(void **state)
{
    (void)state;
    struct talk t;
    struct tls_certificates c;
    struct tls_info info;
    talk(&t, &(struct wish){.ask = true, .client = P256, .name = "mx.example.org"});
    tls_get_certificates(t.server, &c);
    assert_true(c.peer_presented);
    assert_int_equal(c.n_peer_names, 3);
    assert_string_equal(c.peer_names[0], "client.example.org");
    assert_string_equal(c.peer_names[1], "client@example.org");
    assert_string_equal(c.peer_names[2], "2001:db8::7");
    assert_string_equal(c.peer_common_name, "Client ??A??");
    assert_string_equal(c.peer_issuer, "CN=Root");
    assert_int_equal(strlen(c.peer_sha256), 64);
    assert_int_equal(strlen(c.peer_spki_sha256), 64);
    assert_string_not_equal(c.peer_sha256, c.peer_spki_sha256);
    assert_string_equal(c.our_key, "EC/ECDSA");
    assert_int_equal(c.our_key_bits, 256);
    assert_string_equal(c.our_signature, "ECDSA-SHA256");
    tls_get_certificates(t.client, &c);
    assert_string_equal(c.peer_subject, "CN=mx.example.org");
    tls_get_info(t.client, &info);
    assert_string_equal(info.version, "TLS1.3");
    assert_string_equal(info.signature, "ECDSA-SECP256R1-SHA256");
    assert_int_equal(info.cipher_bits, 128);
    assert_string_equal(info.sni, "mx.example.org");
    end(&t);
}

/* ---- clients ---- */

struct sni_row {
    const char *name, *given, *want;
};
static const struct sni_row sni_rows[] = {
    {"sni-is-the-name", "mx.example.org", "mx.example.org"},
    {"sni-without-the-last-dot", "mx.example.org.", "mx.example.org"},
    {"sni-of-an-international-name",
     "mx.b\xc3\xbc"
     "cher.example",
     "mx.xn--bcher-kva.example"},
    {"no-name-no-sni", NULL, "-"},
    {"empty-name-no-sni", "", "-"},
    {"only-a-dot-no-sni", ".", "-"},
    {"ipv4-is-never-sent", "192.0.2.1", "-"},
    {"ipv4-with-a-dot-is-never-sent", "192.0.2.1.", "-"},
    {"ipv6-with-a-scope-is-never-sent", "fe80::1%lo", "-"},
    {"ipv6-is-never-sent", "2001:db8::1", "-"},
    {"ipv6-in-brackets-is-never-sent", "[2001:db8::1]", "-"},
};

static void sni_is_sent(void **state)
{
    const struct sni_row *r = *state;
    struct talk t;
    struct tls_info info;
    talk(&t, &(struct wish){.name = r->given});
    tls_get_info(t.server, &info);
    assert_string_equal(info.sni, r->want);
    end(&t);
}

static void name_that_is_none_fails_before_anything_is_sent(void **state)
{
    (void)state;
    struct talk t;
    char byte, name[300];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    const char *names[] = {"mx.\xff.example", name};
    for (size_t i = 0; i < 2; i++) {
        begin(&t, &(struct wish){.name = names[i]});
        assert_int_equal(tls_handshake(t.client), TLS_FAILED);
        assert_int_equal(tls_handshake(t.client), TLS_FAILED);
        assert_non_null(strstr(tls_error(t.client), "no DNS name"));
        assert_true(recv(t.server_fd, &byte, 1, 0) < 0);
        end(&t);
    }
}

static void alpn_is_offered_and_chosen(void **state)
{
    (void)state;
    struct talk t;
    struct tls_info info;
    talk(&t, &(struct wish){.alpn = "smtp imap", .server_alpn = "imap"});
    tls_get_info(t.client, &info);
    assert_string_equal(info.alpn, "imap");
    end(&t);
    begin(&t, &(struct wish){.alpn = "http/1.1", .server_alpn = "smtp"});
    shake(&t);
    assert_int_equal(t.client_end, TLS_FAILED);
    assert_non_null(strstr(tls_error(t.client), "server sent the alert"));
    assert_non_null(strstr(tls_error(t.server), "client asked for another protocol"));
    end(&t);
}

static void server_is_judged_after_the_handshake(void **state)
{
    (void)state;
    struct talk t;
    struct verify_rules other = of_server;
    other.hosts = other_names;
    talk(&t, &(struct wish){.name = "mx.example.org"});
    assert_verdict(t.client, &of_server, VERDICT_OK);
    assert_verdict(t.client, &other, VERDICT_NAME_MISMATCH);
    end(&t);
}

/* Nobody is trusted by a setup without trust. */
static void setup_without_trust_trusts_nobody(void **state)
{
    (void)state;
    struct talk t;
    struct trust *trust = place.trust;
    place.trust = NULL;
    talk(&t, &(struct wish){.name = "mx.example.org"});
    assert_verdict(t.client, &of_server, VERDICT_UNKNOWN_ISSUER);
    end(&t);
    place.trust = trust;
}

static void must_staple_is_honoured(void **state)
{
    (void)state;
    static const char *const priorities[] = {TLS12_ONLY, TLS13_ONLY};
    for (size_t i = 0; i < 2; i++) {
        struct talk t;
        talk(&t, &(struct wish){FOR(priorities[i]), .server = STAPLED});
        assert_verdict(t.client, &of_server, VERDICT_OK);
        end(&t);
        talk(&t, &(struct wish){FOR(priorities[i]), .server = UNSTAPLED});
        assert_verdict(t.client, &of_server, VERDICT_NO_STAPLE);
        end(&t);
    }
}

static void versions_that_do_not_meet_fail_on_both_sides(void **state)
{
    (void)state;
    struct talk t;
    begin(&t, &(struct wish){.client_priority = TLS13_ONLY, .server_priority = TLS12_ONLY});
    shake(&t);
    assert_int_equal(t.client_end, TLS_FAILED);
    assert_int_equal(t.server_end, TLS_FAILED);
    assert_non_null(strstr(tls_error(t.client), "server"));
    end(&t);
}

static void server_that_does_not_speak_tls_is_named(void **state)
{
    (void)state;
    struct talk t;
    static const char text[] = "220 mail.example.org ESMTP\r\n";
    begin(&t, &(struct wish){0});
    assert_int_equal(send(t.server_fd, text, sizeof text - 1, 0), sizeof text - 1);
    step(t.client, &t.client_end);
    step(t.client, &t.client_end);
    assert_int_equal(t.client_end, TLS_FAILED);
    assert_non_null(strstr(tls_error(t.client), "server sent something"));
    assert_non_null(strstr(tls_error(t.client), "other than TLS"));
    end(&t);
}

/* What came in clear behind the server's go-ahead belongs to the handshake, here as in servers. */
static void bytes_fed_to_a_client_break_its_handshake(void **state)
{
    (void)state;
    struct talk t;
    static const char text[] = "250 AUTH PLAIN\r\n";
    begin(&t, &(struct wish){0});
    tls_feed(t.client, text, sizeof text - 1);
    shake(&t);
    assert_int_equal(t.client_end, TLS_FAILED);
    end(&t);
}

static void server_that_goes_away_is_named(void **state)
{
    (void)state;
    struct talk t;
    begin(&t, &(struct wish){0});
    step(t.client, &t.client_end);
    close(t.server_fd);
    t.server_fd = -1;
    step(t.client, &t.client_end);
    assert_int_equal(t.client_end, TLS_FAILED);
    assert_non_null(strstr(tls_error(t.client), "server closed the connection"));
    end(&t);
}

static void end_without_close_notify_is_truncation(void **state)
{
    (void)state;
    char got[16];
    struct talk t;
    talk(&t, &(struct wish){0});
    exchange(&t);
    assert_int_equal(tls_write(t.server, "half", 4), 4);
    shutdown(t.server_fd, SHUT_WR);
    assert_int_equal(tls_read(t.client, got, sizeof got), 4);
    assert_int_equal(tls_read(t.client, got, sizeof got), TLS_TRUNCATED);
    shutdown(t.client_fd, SHUT_WR);
    assert_int_equal(tls_read(t.server, got, sizeof got), TLS_TRUNCATED);
    end(&t);
}

static void close_notify_is_the_proper_end(void **state)
{
    (void)state;
    char got[16];
    struct talk t;
    talk(&t, &(struct wish){0});
    exchange(&t);
    tls_bye(t.client);
    assert_int_equal(tls_flush(t.client), TLS_OK);
    assert_int_equal(tls_read(t.server, got, sizeof got), 0);
    tls_bye(t.server);
    assert_int_equal(tls_flush(t.server), TLS_OK);
    assert_int_equal(tls_read(t.client, got, sizeof got), 0);
    end(&t);
}

/* Until PKCS #1 v1.5 was handed to the keeper rightly, a client that knows nothing newer (TLS 1.2
 * without PSS) could not have a handshake with an RSA key. */
static void every_signature_that_we_know_works(void **state)
{
    (void)state;
    static const struct {
        enum who server;
        const char *sign, *want;
    } kinds[] = {
        {RSA_SERVER, "RSA-SHA256", "RSA-SHA256"},
        {RSA_SERVER, "RSA-SHA384", "RSA-SHA384"},
        {RSA_SERVER, "RSA-SHA512", "RSA-SHA512"},
        {RSA_SERVER, "RSA-PSS-RSAE-SHA256", "RSA-PSS-RSAE-SHA256"},
        {RSA_SERVER, "RSA-PSS-RSAE-SHA384", "RSA-PSS-RSAE-SHA384"},
        {RSA_SERVER, "RSA-PSS-RSAE-SHA512", "RSA-PSS-RSAE-SHA512"},
        {SERVER, "ECDSA-SHA256", "ECDSA-SHA256"},
        {SERVER, "ECDSA-SHA384", "ECDSA-SHA384"},
        {ED25519_SERVER, "EDDSA-ED25519", "EdDSA-Ed25519"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct talk t;
        struct tls_info info;
        char priority[512];
        snprintf(priority, sizeof priority, "%s:-SIGN-ALL:+SIGN-%s", TLS12_ONLY, kinds[i].sign);
        talk(&t, &(struct wish){.client_priority = priority, .server = kinds[i].server});
        tls_get_info(t.client, &info);
        assert_string_equal(info.signature, kinds[i].want);
        end(&t);
    }
}

/* ---- resumption ---- */

/* A client as others have it: with tickets, and its key at hand. */
struct guest {
    gnutls_session_t session;
    gnutls_certificate_credentials_t creds;
    gnutls_datum_t ticket;
};

static void guest_talks(struct guest *g, const char *priority, const char *pem, struct talk *t)
{
    char got[16];
    int r = GNUTLS_E_AGAIN;
    assert_int_equal(gnutls_init(&g->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK), 0);
    gnutls_certificate_allocate_credentials(&g->creds);
    if (pem != NULL)
        assert_int_equal(
            gnutls_certificate_set_x509_key_file(g->creds, pem, pem, GNUTLS_X509_FMT_PEM), 0);
    gnutls_credentials_set(g->session, GNUTLS_CRD_CERTIFICATE, g->creds);
    gnutls_priority_set_direct(g->session, priority, NULL);
    gnutls_transport_set_int(g->session, t->client_fd);
    if (g->ticket.data != NULL)
        gnutls_session_set_data(g->session, g->ticket.data, g->ticket.size);
    for (int i = 0; i < TURNS && (is_wanting(t->server_end) || r != 0); i++) {
        r = r != 0 ? gnutls_handshake(g->session) : 0;
        step(t->server, &t->server_end);
        if (r < 0 && gnutls_error_is_fatal(r))
            break;
    }
    if (r != 0 || t->server_end != TLS_OK)
        fail_msg("guest: %s, server: %s", gnutls_strerror(r), tls_error(t->server));
    assert_int_equal(gnutls_record_send(g->session, "ping", 4), 4);
    assert_int_equal(tls_read(t->server, got, sizeof got), 4);
    assert_int_equal(tls_write(t->server, "pong", 4), 4); /* the ticket is in front of it */
    do
        r = (int)gnutls_record_recv(g->session, got, sizeof got);
    while (r < 0 && !gnutls_error_is_fatal(r));
    assert_int_equal(r, 4);
    gnutls_free(g->ticket.data);
    assert_int_equal(gnutls_session_get_data2(g->session, &g->ticket), 0);
}

static void forget(struct guest *g)
{
    gnutls_free(g->ticket.data);
    *g = (struct guest){0};
}

static void guest_leaves(struct guest *g)
{
    gnutls_deinit(g->session);
    gnutls_certificate_free_credentials(g->creds);
}

/* One visit to a service. Returns whether the session was resumed. */
static bool visit(struct guest *g, const struct wish *w, const char *file,
                  const struct verify_rules *rules, enum verdict_cause want)
{
    char path[PATH_SIZE];
    struct tls_info info;
    struct talk t = {.server_end = TLS_WANT_READ};
    if (file != NULL)
        path_in(&place, file, path);
    t.server_setup = make_server_setup(w);
    connect_pair(&t);
    t.server = tls_create(t.server_setup, t.server_fd);
    guest_talks(g, w->priority, file != NULL ? path : NULL, &t);
    assert_verdict(t.server, rules, want);
    tls_get_info(t.server, &info);
    guest_leaves(g);
    end(&t);
    return info.resumed;
}

static const char *const versions[] = {TLS12_ONLY, TLS13_ONLY};

/* The ticket carries the client's certificate; it is judged each time, by the rules of the time. */
static void resumed_session_is_judged_by_its_first_certificate(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct guest g = {0};
        const struct wish w = {FOR(versions[i]), .ask = true};
        assert_false(visit(&g, &w, "p256.pem", &of_client, VERDICT_OK));
        assert_true(visit(&g, &w, "p256.pem", &of_client, VERDICT_OK));
        assert_true(visit(&g, &w, NULL, &of_client, VERDICT_OK));
        assert_true(visit(&g, &w, "p256.pem", &of_other, VERDICT_NAME_MISMATCH));
        forget(&g);
    }
}

/* A session that began without a certificate, or with a bad one, is no better for being resumed,
 * whatever the client could show by now. */
static void resumption_does_not_improve_a_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct guest none = {0}, bad = {0};
        const struct wish w = {FOR(versions[i]), .ask = true};
        assert_false(visit(&none, &w, NULL, &of_client, VERDICT_NO_CERTIFICATE));
        assert_true(visit(&none, &w, "p256.pem", &of_client, VERDICT_NO_CERTIFICATE));
        assert_false(visit(&bad, &w, "stranger.pem", &of_client, VERDICT_UNKNOWN_ISSUER));
        assert_true(visit(&bad, &w, "p256.pem", &of_client, VERDICT_UNKNOWN_ISSUER));
        forget(&none);
        forget(&bad);
    }
}

/* The services have one ticket secret; still a ticket of the one that does not ask opens nothing
 * at the one that does, and the client is asked there. */
static void ticket_of_a_service_that_does_not_ask_is_not_taken_where_one_asks(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct guest g = {0};
        const struct wish open = {FOR(versions[i])}, asks = {FOR(versions[i]), .ask = true};
        assert_false(visit(&g, &open, "p256.pem", &of_client, VERDICT_NO_CERTIFICATE));
        assert_false(visit(&g, &asks, "p256.pem", &of_client, VERDICT_OK));
        assert_false(visit(&g, &open, "p256.pem", &of_client, VERDICT_NO_CERTIFICATE));
        assert_true(visit(&g, &open, "p256.pem", &of_client, VERDICT_NO_CERTIFICATE));
        forget(&g);
    }
}

/* Others choose by the list of authorities; a client of ours sends what it was told to send. */
static void authorities_are_announced_and_do_not_bind_clients_of_ours(void **state)
{
    (void)state;
    struct talk t;
    struct guest g = {0};
    const struct wish w = {FOR(TLS13_ONLY), .server = RSA_SERVER, .ask = true};
    assert_false(visit(&g, &w, "stranger.pem", &of_client, VERDICT_UNKNOWN_ISSUER));
    forget(&g);
    assert_true(creds_announce(place.creds[RSA_SERVER], place.trust));
    assert_false(visit(&g, &w, "stranger.pem", &of_client, VERDICT_NO_CERTIFICATE));
    forget(&g);
    assert_false(visit(&g, &w, "p256.pem", &of_client, VERDICT_OK));
    forget(&g);
    talk(&t, &(struct wish){.server = RSA_SERVER, .ask = true, .client = STRANGER});
    assert_verdict(t.server, &of_client, VERDICT_UNKNOWN_ISSUER);
    end(&t);
}

/* Our own clients begin anew each time and leave no ticket behind. */
static void client_of_ours_is_never_resumed(void **state)
{
    (void)state;
    struct talk t;
    struct tls_info info;
    for (int i = 0; i < 2; i++) {
        talk(&t, &(struct wish){0});
        exchange(&t);
        tls_get_info(t.client, &info);
        assert_false(info.resumed);
        end(&t);
    }
}

/* GnuTLS as a server, which sends tickets when it is told to. */
static gnutls_session_t make_generous_server(int fd, const char *pem,
                                             gnutls_certificate_credentials_t *creds,
                                             gnutls_datum_t *key)
{
    gnutls_session_t g;
    assert_int_equal(gnutls_init(&g, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_AUTO_SEND_TICKET),
                     0);
    gnutls_certificate_allocate_credentials(creds);
    assert_int_equal(gnutls_certificate_set_x509_key_file(*creds, pem, pem, GNUTLS_X509_FMT_PEM),
                     0);
    gnutls_credentials_set(g, GNUTLS_CRD_CERTIFICATE, *creds);
    gnutls_priority_set_direct(g, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL);
    assert_int_equal(gnutls_session_ticket_key_generate(key), 0);
    gnutls_session_ticket_enable_server(g, key);
    gnutls_transport_set_int(g, fd);
    return g;
}

/* A ticket that was read alone, and then one of the same length with a reply right behind it: the
 * reply was left in our buffer, where poll(2) does not see it. */
static void reply_behind_the_second_of_two_tickets_is_read(void **state)
{
    (void)state;
    struct talk t = {.client_end = TLS_WANT_READ, .server_end = TLS_OK};
    char path[PATH_SIZE], got[16];
    gnutls_certificate_credentials_t creds;
    gnutls_datum_t key;
    int r = GNUTLS_E_AGAIN;
    path_in(&place, "p256.pem", path);
    connect_pair(&t);
    t.client_setup = make_setup(&(struct tls_params){.priority = NULL});
    t.client = tls_create_client(t.client_setup, t.client_fd, NULL);
    gnutls_session_t server = make_generous_server(t.server_fd, path, &creds, &key);
    for (int i = 0; i < TURNS && (r != 0 || is_wanting(t.client_end)); i++) {
        step(t.client, &t.client_end);
        r = r != 0 ? gnutls_handshake(server) : 0;
    }
    assert_int_equal(r, 0);
    assert_int_equal(t.client_end, TLS_OK);
    assert_int_equal(gnutls_session_ticket_send(server, 1, 0), 0);
    assert_int_equal(tls_read(t.client, got, sizeof got), TLS_WANT_READ);
    assert_int_equal(gnutls_session_ticket_send(server, 1, 0), 0);
    assert_int_equal(gnutls_record_send(server, "reply", 5), 5);
    assert_int_equal(tls_read(t.client, got, sizeof got), 5);
    gnutls_deinit(server);
    gnutls_certificate_free_credentials(creds);
    gnutls_free(key.data);
    end(&t);
}

/* Who is a client may have to wait for the server to speak, which waits for the end of the
 * handshake. */
static void client_sends_its_last_flight_by_itself(void **state)
{
    (void)state;
    struct talk t;
    begin(&t, &(struct wish){0});
    for (int i = 0; i < TURNS && is_wanting(t.client_end); i++) {
        t.client_end = tls_handshake(t.client); /* and no flush */
        step(t.server, &t.server_end);
    }
    step(t.server, &t.server_end);
    assert_int_equal(t.client_end, TLS_OK);
    assert_int_equal(t.server_end, TLS_OK);
    end(&t);
}

int main(void)
{
    static struct unit u;
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_the_handshake_there_is_no_peer),
        cmocka_unit_test(key_of_a_server_is_not_used_by_a_client),
        cmocka_unit_test(ed25519_client_cannot_answer_in_tls12),
        cmocka_unit_test(both_certificates_are_described),
        cmocka_unit_test(name_that_is_none_fails_before_anything_is_sent),
        cmocka_unit_test(alpn_is_offered_and_chosen),
        cmocka_unit_test(server_is_judged_after_the_handshake),
        cmocka_unit_test(setup_without_trust_trusts_nobody),
        cmocka_unit_test(must_staple_is_honoured),
        cmocka_unit_test(versions_that_do_not_meet_fail_on_both_sides),
        cmocka_unit_test(server_that_does_not_speak_tls_is_named),
        cmocka_unit_test(bytes_fed_to_a_client_break_its_handshake),
        cmocka_unit_test(server_that_goes_away_is_named),
        cmocka_unit_test(every_signature_that_we_know_works),
        cmocka_unit_test(end_without_close_notify_is_truncation),
        cmocka_unit_test(close_notify_is_the_proper_end),
        cmocka_unit_test(resumed_session_is_judged_by_its_first_certificate),
        cmocka_unit_test(resumption_does_not_improve_a_verdict),
        cmocka_unit_test(ticket_of_a_service_that_does_not_ask_is_not_taken_where_one_asks),
        cmocka_unit_test(authorities_are_announced_and_do_not_bind_clients_of_ours),
        cmocka_unit_test(client_of_ours_is_never_resumed),
        cmocka_unit_test(reply_behind_the_second_of_two_tickets_is_read),
        cmocka_unit_test(client_sends_its_last_flight_by_itself),
    };
    char error[256];
    if (!tls_global_init(error, sizeof error))
        return 1;
    UNIT_ADD_TABLE(&u, client_is_judged_after_the_handshake, client_rows);
    UNIT_ADD_TABLE(&u, sni_is_sent, sni_rows);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        u.tests[u.count++] = tests[i];
    return _cmocka_run_group_tests("tls", u.tests, u.count, set_up, tear_down);
}
