/* SPDX-License-Identifier: ISC */
#include "certs/tls.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/ocsp.h>
#include <gnutls/x509.h>

#include "certs/creds.h"
#include "certs/describe.h"
#include "certs/names.h"
#include "certs/tickets.h"
#include "certs/verify.h"

enum {
    RECORD_MAX = 16384,        /* bytes of plaintext in a record */
    TAKE_MAX = 4 * RECORD_MAX, /* plaintext taken in one tls_write */
    KEEP_MAX = 8 * 1024,       /* kept output that waits for more instead of being sent first */
    READ_AHEAD = 64 * 1024,    /* ciphertext read in one call: GnuTLS alone would make two calls
                                  for each record, one for its five bytes of header */
    ALPN_MAX = 4,
    NAME_MAX_LEN = 255,
    RENEGOTIATIONS_MAX = 2,
    WARNINGS_MAX = 10,
};

/* TLS 1.2 here: ECDHE, AEAD, with the extended master secret GnuTLS always offers. AES-128 first:
 * it is the cheapest and every margin it lacks against AES-256 is theoretical. No RSA-PSS
 * certificates (CVE-2026-42010), no RSA key exchange, no DHE. */
const char tls_default_priority[] =
    "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:+AEAD:"
    "+ECDHE-ECDSA:+ECDHE-RSA:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:"
    "+SIGN-ECDSA-SHA256:+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SHA384:"
    "+SIGN-ECDSA-SECP384R1-SHA384:+SIGN-EDDSA-ED25519:+SIGN-RSA-PSS-RSAE-SHA256:"
    "+SIGN-RSA-PSS-RSAE-SHA384:+SIGN-RSA-PSS-RSAE-SHA512:+SIGN-RSA-SHA256:+SIGN-RSA-SHA384:"
    "+SIGN-RSA-SHA512:+COMP-NULL:+CTYPE-X509:%SERVER_PRECEDENCE:%PROFILE_MEDIUM";

struct tls_setup {
    gnutls_priority_t priority;
    const struct creds *creds;
    const struct trust *trust;
    gnutls_certificate_credentials_t nobody; /* a client without a certificate */
    unsigned char ticket_bytes[TICKET_KEY_SIZE];
    gnutls_datum_t ticket_key; /* those bytes; data NULL: no tickets */
    bool ask_client_cert;
    char *alpn_text; /* the names, each ended by NUL */
    gnutls_datum_t alpn[ALPN_MAX];
    unsigned n_alpn;
};

struct tls {
    const struct tls_setup *setup;
    gnutls_session_t session;
    const char *peer; /* "client" or "server": what the other side is */
    int fd;
    bool done;   /* the handshake */
    bool client; /* we are; then its last flight is ours */
    bool failed; /* nothing may be called any more but destroy */
    bool ticket_due;
    bool last;  /* words: the end of the connection follows */
    bool heard; /* at least one byte of the peer came */
    unsigned renegotiations, warnings;
    /* Ciphertext received ahead, and ciphertext not yet sent. */
    unsigned char *in, *out;
    uint64_t handed; /* bytes of it that GnuTLS has been given, in all */
    size_t in_start, in_end, in_size, out_start, out_len, out_size;
    bool at_eof;
    char sni[NAME_MAX_LEN + 1], alpn[32];
    char error[256];
};

/* ---- global ---- */

bool tls_global_init(char *error, size_t error_size)
{
    tzset(); /* gmtime reads a file at its first call, and in a jail there are none */
    int r = gnutls_global_init();
    if (r == 0 && gnutls_check_version("3.7.0") == NULL) {
        snprintf(error, error_size, "GnuTLS %s is too old; 3.7 is needed",
                 gnutls_check_version(NULL));
        return false;
    }
    if (r != 0)
        snprintf(error, error_size, "GnuTLS does not start: %s", gnutls_strerror(r));
    return r == 0;
}

const char *tls_library_version(void)
{
    return gnutls_check_version(NULL);
}

/* ---- setup ---- */

static void split_alpn(struct tls_setup *s, const char *names)
{
    s->alpn_text = strdup(names);
    if (s->alpn_text == NULL)
        return;
    char *save, *name = strtok_r(s->alpn_text, " ", &save);
    while (name != NULL && s->n_alpn < ALPN_MAX) {
        s->alpn[s->n_alpn++] =
            (gnutls_datum_t){.data = (unsigned char *)name, .size = (unsigned)strlen(name)};
        name = strtok_r(NULL, " ", &save);
    }
}

/* A service that asks for certificates has a ticket secret of its own, made from the common one.
 * Otherwise a client that came back with a ticket of another service, where nobody asked, would not
 * be asked here either. */
static bool set_ticket_key(struct tls_setup *s, const struct ticket_key *key)
{
    static const char label[] = "ehlock: tickets of services that ask for a certificate";
    if (key == NULL)
        return true;
    s->ticket_key = (gnutls_datum_t){.data = s->ticket_bytes, .size = TICKET_KEY_SIZE};
    memcpy(s->ticket_bytes, key->bytes, TICKET_KEY_SIZE);
    _Static_assert(TICKET_KEY_SIZE == 64, "as long as a SHA-512");
    return !s->ask_client_cert || gnutls_hmac_fast(GNUTLS_MAC_SHA512, key->bytes, TICKET_KEY_SIZE,
                                                   label, sizeof label - 1, s->ticket_bytes) == 0;
}

struct tls_setup *tls_setup_create(const struct tls_params *params, char *error, size_t error_size)
{
    const char *text = params->priority != NULL ? params->priority : tls_default_priority;
    const char *where;
    struct tls_setup *s = calloc(1, sizeof *s);
    if (s == NULL) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    int r = gnutls_priority_init(&s->priority, text, &where);
    if (r != 0) {
        snprintf(error, error_size, "priority string not understood at \"%.40s\": %s",
                 where != NULL ? where : text, gnutls_strerror(r));
        free(s);
        return NULL;
    }
    s->creds = params->creds;
    s->trust = params->trust;
    s->ask_client_cert = params->ask_client_cert;
    if (gnutls_certificate_allocate_credentials(&s->nobody) != 0 ||
        !set_ticket_key(s, params->ticket_key)) {
        snprintf(error, error_size, "out of memory");
        tls_setup_destroy(s);
        return NULL;
    }
    if (params->alpn != NULL)
        split_alpn(s, params->alpn);
    return s;
}

void tls_setup_destroy(struct tls_setup *s)
{
    if (s == NULL)
        return;
    gnutls_priority_deinit(s->priority);
    if (s->nobody != NULL)
        gnutls_certificate_free_credentials(s->nobody);
    gnutls_memset(s->ticket_bytes, 0, sizeof s->ticket_bytes);
    free(s->alpn_text);
    free(s);
}

/* ---- bytes to and from the descriptor ---- */

static bool grow(unsigned char **buf, size_t *size, size_t want)
{
    if (want <= *size)
        return true;
    size_t n = *size == 0 ? 4096 : *size;
    while (n < want)
        n *= 2;
    unsigned char *bigger = realloc(*buf, n);
    if (bigger == NULL)
        return false;
    *buf = bigger;
    *size = n;
    return true;
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *data, size_t len)
{
    struct tls *t = ptr;
    if (t->in_start == t->in_end) {
        if (!grow(&t->in, &t->in_size, READ_AHEAD)) {
            gnutls_transport_set_errno(t->session, ENOMEM);
            return -1;
        }
        ssize_t n;
        do
            n = recv(t->fd, t->in, READ_AHEAD, 0);
        while (n < 0 && errno == EINTR);
        if (n < 0)
            gnutls_transport_set_errno(t->session, errno);
        if (n <= 0) {
            t->at_eof = t->at_eof || n == 0;
            return n;
        }
        t->heard = true;
        t->in_start = 0;
        t->in_end = (size_t)n;
    }
    if (len > t->in_end - t->in_start)
        len = t->in_end - t->in_start;
    memcpy(data, t->in + t->in_start, len);
    t->in_start += len;
    t->handed += len;
    return (ssize_t)len;
}

/* Never says "again": what cannot be sent is kept, and tls_write limits how much that is. */
static ssize_t vec_push(gnutls_transport_ptr_t ptr, const giovec_t *iov, int n)
{
    struct tls *t = ptr;
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    if (!grow(&t->out, &t->out_size, t->out_len + total)) {
        gnutls_transport_set_errno(t->session, ENOMEM);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        memcpy(t->out + t->out_len, iov[i].iov_base, iov[i].iov_len);
        t->out_len += iov[i].iov_len;
    }
    return (ssize_t)total;
}

enum tls_result tls_flush(struct tls *t)
{
    while (t->out_start < t->out_len) {
        ssize_t n = send(t->fd, t->out + t->out_start, t->out_len - t->out_start,
                         MSG_NOSIGNAL | (t->last ? MSG_MORE : 0));
        if (n >= 0) {
            t->out_start += (size_t)n;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return TLS_WANT_WRITE;
        t->out_start = t->out_len = 0;
        t->failed = true;
        if (t->error[0] == '\0')
            snprintf(t->error, sizeof t->error, "%s", strerror(errno));
        return TLS_FAILED;
    }
    t->out_start = t->out_len = 0;
    return TLS_OK;
}

/* ---- a session's life ---- */

static int choose_certificate(gnutls_session_t session)
{
    struct tls *t = gnutls_session_get_ptr(session);
    size_t size = sizeof t->sni;
    unsigned type;
    if (gnutls_server_name_get(session, t->sni, &size, &type, 0) != 0 || type != GNUTLS_NAME_DNS)
        t->sni[0] = '\0';
    return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE,
                                  creds_pick(t->setup->creds, t->sni));
}

/* What servers and clients have in common. */
static struct tls *create(const struct tls_setup *setup, int fd, unsigned flags)
{
    struct tls *t = calloc(1, sizeof *t);
    if (t == NULL || gnutls_init(&t->session, flags | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) != 0 ||
        gnutls_priority_set(t->session, setup->priority) != 0)
        _exit(EX_OSERR);
    t->setup = setup;
    t->fd = fd;
    gnutls_session_set_ptr(t->session, t);
    gnutls_transport_set_ptr(t->session, t);
    gnutls_transport_set_pull_function(t->session, pull);
    gnutls_transport_set_vec_push_function(t->session, vec_push);
    return t;
}

static void must(int r)
{
    if (r != 0)
        _exit(EX_OSERR);
}

struct tls *tls_create(const struct tls_setup *setup, int fd)
{
    struct tls *t = create(setup, fd, GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET);
    t->peer = "client";
    must(
        gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, creds_pick(setup->creds, NULL)));
    gnutls_handshake_set_post_client_hello_function(t->session, choose_certificate);
    if (setup->ticket_key.data != NULL)
        gnutls_session_ticket_enable_server(t->session, &setup->ticket_key);
    if (setup->n_alpn > 0)
        gnutls_alpn_set_protocols(t->session, setup->alpn, setup->n_alpn, GNUTLS_ALPN_MANDATORY);
    gnutls_certificate_server_set_request(t->session, setup->ask_client_cert ? GNUTLS_CERT_REQUEST
                                                                             : GNUTLS_CERT_IGNORE);
    return t;
}

static void set_server_name(struct tls *t, const char *name)
{
    size_t len = name != NULL ? strlen(name) : 0;
    if (len > 0 && name[len - 1] == '.')
        len--;
    if (len == 0 || names_is_address(name))
        return;
    int r = len <= NAME_MAX_LEN ? gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, name, len)
                                : GNUTLS_E_INVALID_REQUEST;
    if (r == 0) {
        memcpy(t->sni, name, len);
        return;
    }
    snprintf(t->error, sizeof t->error, "the server's name is no DNS name: %s", gnutls_strerror(r));
    t->failed = true;
}

struct tls *tls_create_client(const struct tls_setup *setup, int fd, const char *server_name)
{
    /* The certificate is sent whatever authorities the server names: it knows best whom it lets in,
     * and its list is often wrong. */
    struct tls *t = create(setup, fd, GNUTLS_CLIENT | GNUTLS_NO_TICKETS | GNUTLS_FORCE_CLIENT_CERT);
    bool has_certificate = setup->creds != NULL && creds_count(setup->creds) > 0;
    t->peer = "server";
    t->client = true;
    must(gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE,
                                has_certificate ? creds_pick(setup->creds, NULL) : setup->nobody));
    if (setup->n_alpn > 0)
        must(gnutls_alpn_set_protocols(t->session, setup->alpn, setup->n_alpn, 0));
    set_server_name(t, server_name);
    return t;
}

void tls_destroy(struct tls *t)
{
    if (t == NULL)
        return;
    gnutls_deinit(t->session);
    free(t->in);
    free(t->out);
    free(t);
}

void tls_feed(struct tls *t, const void *data, size_t len)
{
    size_t want = len > READ_AHEAD ? len : READ_AHEAD;
    if (len == 0)
        return;
    if (!grow(&t->in, &t->in_size, want))
        _exit(EX_OSERR);
    memcpy(t->in, data, len);
    t->in_start = 0;
    t->in_end = len;
    t->heard = true;
}

/* OpenSSL refuses a certificate in TLS 1.3 with an alert in clear, where everything else is
 * encrypted already: GnuTLS can only report that it does not decrypt. The record that it has just
 * been given is still in our buffer. */
static bool was_clear_alert(const struct tls *t, gnutls_alert_description_t *alert)
{
    enum { RECORD = 7, TYPE_ALERT = 21, FATAL = 2 };
    if (t->in_start < RECORD)
        return false;
    const unsigned char *r = t->in + t->in_start - RECORD;
    *alert = (gnutls_alert_description_t)r[6];
    return r[0] == TYPE_ALERT && r[1] == 3 && r[3] == 0 && r[4] == 2 && r[5] == FATAL;
}

static void explain_alert(struct tls *t, gnutls_alert_description_t alert)
{
    bool distrust = alert == GNUTLS_A_UNKNOWN_CA || alert == GNUTLS_A_BAD_CERTIFICATE ||
                    alert == GNUTLS_A_CERTIFICATE_EXPIRED || alert == GNUTLS_A_CERTIFICATE_UNKNOWN;
    const char *name = gnutls_alert_get_name(alert);
    snprintf(t->error, sizeof t->error, "%s sent the alert '%s'%s", t->peer,
             name != NULL ? name : "?", distrust ? ": it does not trust our certificate" : "");
}

/* What a failed handshake means to somebody who has to mend it. */
static void explain(struct tls *t, int r)
{
    const char *text = NULL, *did = NULL; /* one of the two, the second about the peer */
    switch (r) {
    case GNUTLS_E_PREMATURE_TERMINATION:
    case GNUTLS_E_PULL_ERROR:
    case GNUTLS_E_PUSH_ERROR:
        did = t->heard ? "closed the connection during the handshake"
                       : "closed the connection without beginning a handshake";
        break;
    case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
    case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
    case GNUTLS_E_RECORD_LIMIT_REACHED:
    case GNUTLS_E_RECORD_OVERFLOW:
        did = "sent something other than TLS, or a version of TLS that is not enabled";
        break;
    case GNUTLS_E_UNEXPECTED_PACKET:
    case GNUTLS_E_UNEXPECTED_HANDSHAKE_PACKET:
        did = "sent something out of order, or something other than TLS";
        break;
    case GNUTLS_E_NO_CIPHER_SUITES:
    case GNUTLS_E_UNKNOWN_CIPHER_SUITE:
    case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
        text = "client and server have no cipher suite and certificate type in common";
        break;
    case GNUTLS_E_NO_COMMON_KEY_SHARE:
        text = "client and server have no key exchange group in common";
        break;
    case GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM:
    case GNUTLS_E_INCOMPATIBLE_SIG_WITH_KEY:
        did = "takes no signature that our key can make";
        break;
    case GNUTLS_E_NO_APPLICATION_PROTOCOL:
        did = "asked for another protocol by ALPN";
        break;
    case GNUTLS_E_DECRYPTION_FAILED:
    case GNUTLS_E_BAD_COOKIE:
        text = "a record could not be decrypted";
        break;
    case GNUTLS_E_TIMEDOUT:
        text = "the keeper of the private key did not answer";
        break;
    }
    gnutls_alert_description_t alert = gnutls_alert_get(t->session);
    if (r == GNUTLS_E_FATAL_ALERT_RECEIVED ||
        (r == GNUTLS_E_DECRYPTION_FAILED && !t->done && was_clear_alert(t, &alert)))
        explain_alert(t, alert);
    else if (did != NULL)
        snprintf(t->error, sizeof t->error, "%s %s (%s)", t->peer, did, gnutls_strerror(r));
    else
        snprintf(t->error, sizeof t->error, "%s (%s)", text != NULL ? text : gnutls_strerror(r),
                 text != NULL ? gnutls_strerror(r) : gnutls_strerror_name(r));
}

/* Tells the peer with an alert, as far as it can still be told. */
static enum tls_result fail(struct tls *t, int r)
{
    if (t->error[0] == '\0')
        explain(t, r);
    if (!t->at_eof)
        gnutls_alert_send_appropriate(t->session, r);
    (void)tls_flush(t);
    t->failed = true;
    return TLS_FAILED;
}

static void remember_facts(struct tls *t)
{
    gnutls_datum_t name;
    if (gnutls_alpn_get_selected_protocol(t->session, &name) == 0 && name.size < sizeof t->alpn)
        memcpy(t->alpn, name.data, name.size);
}

/* Whoever reads on after a warning looks at no clock meanwhile. */
static bool is_bearable(struct tls *t, int r)
{
    if (gnutls_error_is_fatal(r))
        return false;
    if (++t->warnings <= WARNINGS_MAX)
        return true;
    snprintf(t->error, sizeof t->error, "%s sends too many warnings", t->peer);
    return false;
}

enum tls_result tls_handshake(struct tls *t)
{
    int r;
    if (t->failed)
        return TLS_FAILED;
    if (t->done)
        return tls_flush(t);
    do
        r = gnutls_handshake(t->session);
    while (r != 0 && r != GNUTLS_E_AGAIN && is_bearable(t, r));
    if (r == 0) {
        t->done = true;
        remember_facts(t);
        t->ticket_due = gnutls_protocol_get_version(t->session) >= GNUTLS_TLS1_3 &&
                        t->setup->ticket_key.data != NULL;
        /* A server's last flight leaves with its first reply, but who is a client may have to wait
         * for the server to speak, which waits for this. */
        return t->client ? tls_flush(t) : TLS_OK;
    }
    if (r != GNUTLS_E_AGAIN)
        return fail(t, r);
    enum tls_result flushed = tls_flush(t);
    return flushed == TLS_OK ? TLS_WANT_READ : flushed;
}

/* RFC 9325 §3.5: a peer that asks to begin again inside TLS 1.2 is refused; one that insists is
 * cut off. */
static enum tls_result refuse_renegotiation(struct tls *t)
{
    if (++t->renegotiations > RENEGOTIATIONS_MAX) {
        snprintf(t->error, sizeof t->error, "%s insists on renegotiation", t->peer);
        return fail(t, GNUTLS_E_REHANDSHAKE);
    }
    gnutls_alert_send(t->session, GNUTLS_AL_WARNING, GNUTLS_A_NO_RENEGOTIATION);
    return TLS_OK;
}

ssize_t tls_read(struct tls *t, void *buf, size_t len)
{
    if (t->failed)
        return TLS_FAILED;
    for (;;) {
        uint64_t before = t->handed;
        ssize_t n = gnutls_record_recv(t->session, buf, len);
        if (n >= 0)
            return n;
        if (n == GNUTLS_E_AGAIN && t->in_start < t->in_end && t->handed != before)
            continue; /* it was a session ticket, and there is more behind it */
        if (n == GNUTLS_E_AGAIN)
            return TLS_WANT_READ;
        if (n == GNUTLS_E_PREMATURE_TERMINATION || (n == GNUTLS_E_PULL_ERROR && t->at_eof))
            return TLS_TRUNCATED;
        if (n == GNUTLS_E_REHANDSHAKE) {
            if (refuse_renegotiation(t) != TLS_OK)
                return TLS_FAILED;
            continue;
        }
        if (!is_bearable(t, (int)n))
            return fail(t, (int)n);
    }
}

ssize_t tls_write(struct tls *t, const void *buf, size_t len)
{
    const char *data = buf;
    size_t taken = 0;
    if (t->failed)
        return TLS_FAILED;
    if (t->out_len - t->out_start > KEEP_MAX) {
        enum tls_result r = tls_flush(t);
        if (r != TLS_OK)
            return r;
    }
    /* One ticket is enough for a client that comes back, and it leaves with the first reply. */
    if (t->ticket_due)
        (void)gnutls_session_ticket_send(t->session, 1, 0);
    t->ticket_due = false;
    if (len > TAKE_MAX)
        len = TAKE_MAX;
    while (taken < len) {
        size_t piece = len - taken < RECORD_MAX ? len - taken : RECORD_MAX;
        ssize_t n = gnutls_record_send(t->session, data + taken, piece);
        if (n < 0)
            return fail(t, (int)n);
        taken += (size_t)n;
    }
    if (t->last)
        return (ssize_t)taken;
    enum tls_result r = tls_flush(t);
    return r == TLS_FAILED ? r : (ssize_t)taken;
}

bool tls_pending(const struct tls *t)
{
    return t->in_start < t->in_end || gnutls_record_check_pending(t->session) > 0;
}

void tls_last_words(struct tls *t)
{
    t->last = true;
}

void tls_bye(struct tls *t)
{
    if (t->done && !t->failed)
        (void)gnutls_bye(t->session, GNUTLS_SHUT_WR);
}

const char *tls_error(const struct tls *t)
{
    return t->error;
}

static const char *or_dash(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : "-";
}

void tls_get_info(const struct tls *t, struct tls_info *info)
{
    *info = (struct tls_info){.version = "-",
                              .cipher = "-",
                              .group = "-",
                              .sni = or_dash(t->sni),
                              .alpn = "-",
                              .signature = "-"};
    if (!t->done)
        return;
    info->version = or_dash(gnutls_protocol_get_name(gnutls_protocol_get_version(t->session)));
    info->cipher = or_dash(gnutls_cipher_get_name(gnutls_cipher_get(t->session)));
    info->group = or_dash(gnutls_group_get_name(gnutls_group_get(t->session)));
    info->alpn = or_dash(t->alpn);
    info->signature = or_dash(gnutls_sign_get_name(gnutls_sign_algorithm_get(t->session)));
    info->cipher_bits = 8 * (unsigned)gnutls_cipher_get_key_size(gnutls_cipher_get(t->session));
    info->resumed = gnutls_session_is_resumed(t->session) != 0;
}

/* ---- certificates ---- */

void tls_get_peer(const struct tls *t, struct verify_bytes *chain, struct verify_peer *peer)
{
    unsigned n = 0;
    const gnutls_datum_t *list = t->done ? gnutls_certificate_get_peers(t->session, &n) : NULL;
    gnutls_datum_t staple = {0};
    *peer = (struct verify_peer){.chain = chain};
    for (size_t i = 0; list != NULL && i < n && i < TLS_PEER_CHAIN_MAX; i++)
        chain[peer->n_chain++] = (struct verify_bytes){.data = list[i].data, .len = list[i].size};
    if (list != NULL && gnutls_ocsp_status_request_get(t->session, &staple) == 0)
        peer->staple = (struct verify_bytes){.data = staple.data, .len = staple.size};
}

bool tls_verify_peer(const struct tls *t, const struct verify_rules *rules, struct verdict *verdict)
{
    struct verify_bytes chain[TLS_PEER_CHAIN_MAX];
    struct verify_peer peer;
    tls_get_peer(t, chain, &peer);
    return verify_chain(t->setup->trust, rules, &peer, time(NULL), verdict);
}

/* NULL when it cannot be read. */
static gnutls_x509_crt_t read_certificate(const gnutls_datum_t *der)
{
    gnutls_x509_crt_t crt;
    if (der == NULL || gnutls_x509_crt_init(&crt) != 0)
        return NULL;
    if (gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) == 0)
        return crt;
    gnutls_x509_crt_deinit(crt);
    return NULL;
}

bool tls_get_peer_key(const struct tls *t, unsigned char sha256[32])
{
    unsigned n = 0;
    gnutls_x509_crt_t crt =
        t->done ? read_certificate(gnutls_certificate_get_peers(t->session, &n)) : NULL;
    bool ok = crt != NULL && describe_hash(crt, true, sha256);
    gnutls_x509_crt_deinit(crt);
    return ok;
}

static void describe_ours(struct tls_certificates *out, gnutls_x509_crt_t crt)
{
    int key = gnutls_x509_crt_get_pk_algorithm(crt, &out->our_key_bits);
    int signature = gnutls_x509_crt_get_signature_algorithm(crt);
    out->our_key = or_dash(gnutls_pk_get_name((gnutls_pk_algorithm_t)key));
    out->our_signature = or_dash(gnutls_sign_get_name((gnutls_sign_algorithm_t)signature));
}

/* One that cannot be written is a name all the same: the common name counts only beside none. */
static void describe_peer_names(struct tls_certificates *out, gnutls_x509_crt_t crt)
{
    size_t n = 0;
    while (n < TLS_PEER_NAMES_MAX &&
           describe_alt_name(crt, (unsigned)n, out->peer_names[n], sizeof out->peer_names[n]))
        n++;
    if (n == 0 && strcmp(out->peer_common_name, "-") != 0)
        memcpy(out->peer_names[n++], out->peer_common_name, sizeof out->peer_common_name);
    out->n_peer_names = n;
}

static void describe_peer(struct tls_certificates *out, gnutls_x509_crt_t crt)
{
    out->peer_presented = true;
    describe_hash_text(crt, false, out->peer_sha256);
    describe_hash_text(crt, true, out->peer_spki_sha256);
    describe_common_name(crt, out->peer_common_name, sizeof out->peer_common_name);
    describe_subject(crt, out->peer_subject, sizeof out->peer_subject);
    describe_issuer(crt, out->peer_issuer, sizeof out->peer_issuer);
    describe_peer_names(out, crt);
}

void tls_get_certificates(const struct tls *t, struct tls_certificates *out)
{
    *out = (struct tls_certificates){.our_signature = "-",
                                     .our_key = "-",
                                     .peer_sha256 = "-",
                                     .peer_spki_sha256 = "-",
                                     .peer_common_name = "-",
                                     .peer_subject = "-",
                                     .peer_issuer = "-"};
    unsigned n = 0;
    if (!t->done)
        return;
    gnutls_x509_crt_t ours = read_certificate(gnutls_certificate_get_ours(t->session));
    gnutls_x509_crt_t theirs = read_certificate(gnutls_certificate_get_peers(t->session, &n));
    if (ours != NULL) {
        describe_ours(out, ours);
        gnutls_x509_crt_deinit(ours);
    }
    if (theirs != NULL) {
        describe_peer(out, theirs);
        gnutls_x509_crt_deinit(theirs);
    }
}
