/* SPDX-License-Identifier: ISC */
#include "certs/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "certs/remotekey.h"

enum {
    BURST = 16,       /* requests of one service before the others are looked at */
    PARTING_MS = 200, /* the master's end, should it be that, is heard of within */
    ASKERS = 1024,    /* processes whose requests are counted at a time */
    PROBES = 8,       /* places of the table that one of them may have */
};

struct keeper_key {
    gnutls_privkey_t key;
    bool for_client;
};

struct keeper_group {
    int request_fd;
    unsigned max_requests;
    struct keeper_key *keys;
    size_t count;
};

/* How often a process has asked since the window began. */
struct asker {
    pid_t pid; /* 0: free */
    unsigned count;
    int64_t since; /* CLOCK_MONOTONIC, seconds */
};

struct keeper {
    struct keeper_group *groups;
    size_t n_groups;
    int report_fd;
    struct asker askers[ASKERS];
};

/* ---- loading ---- */

static bool report(struct keeper *k, struct report_header h, const void *data)
{
    const char *parts[2] = {(const char *)&h, data};
    size_t sizes[2] = {sizeof h, h.len};
    for (int i = 0; i < 2; i++) {
        while (sizes[i] > 0) {
            ssize_t n = write(k->report_fd, parts[i], sizes[i]);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return false;
            parts[i] += n;
            sizes[i] -= (size_t)n;
        }
    }
    return true;
}

__attribute__((format(printf, 2, 3))) static bool complain(struct keeper *k, const char *format,
                                                           ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    (void)report(k, (struct report_header){.type = REPORT_ERROR, .len = (uint32_t)len}, text);
    return false;
}

static bool load_file(struct keeper *k, const char *where, const char *what, const char *path,
                      gnutls_datum_t *out)
{
    int r = gnutls_load_file(path, out);
    if (r == 0)
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC); /* for the system's own word */
    int error = fd < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return complain(k, "%s: cannot read %s file %s: %s", where, what, path,
                    error != 0 ? strerror(error) : gnutls_strerror(r));
}

static void release(gnutls_datum_t *d)
{
    if (d->data != NULL)
        gnutls_memset(d->data, 0, d->size);
    gnutls_free(d->data);
    d->data = NULL;
    d->size = 0;
}

static bool parse_key(struct keeper *k, const struct key_source *s, const gnutls_datum_t *pem,
                      gnutls_x509_privkey_t *out)
{
    const char *file = s->key_file != NULL ? s->key_file : s->cert_file;
    int r = gnutls_x509_privkey_init(out);
    if (r == 0)
        r = gnutls_x509_privkey_import2(*out, pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (r == 0)
        return true;
    if (r == GNUTLS_E_DECRYPTION_FAILED)
        return complain(k,
                        "%s: the key in %s is encrypted; nobody is there to type its password: "
                        "write it out with \"openssl pkey -in %s -out KEY\"",
                        s->key_where, file, file);
    if (s->key_file == NULL)
        return complain(k, "%s: there is no usable private key in %s; name its file with key =",
                        s->key_where, file);
    return complain(k,
                    "%s: %s holds no private key that can be used (PEM: PKCS#8, PKCS#1 or "
                    "SEC1): %s",
                    s->key_where, file, gnutls_strerror(r));
}

static bool report_chain(struct keeper *k, const struct report_header *place,
                         const struct key_source *s, const gnutls_x509_crt_t *chain, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        gnutls_datum_t der = {0};
        int r = gnutls_x509_crt_export2(chain[i], GNUTLS_X509_FMT_DER, &der);
        if (r != 0 || der.size > REPORT_MAX)
            return complain(k, "%s: a certificate in %s cannot be used", s->cert_where,
                            s->cert_file);
        struct report_header h = *place;
        h.type = REPORT_CERT;
        h.len = der.size;
        bool sent = report(k, h, der.data);
        gnutls_free(der.data);
        if (!sent)
            return false;
    }
    return true;
}

static bool report_ocsp(struct keeper *k, const struct report_header *place,
                        const struct key_source *s)
{
    gnutls_datum_t response = {0};
    if (s->ocsp_file == NULL)
        return true;
    if (!load_file(k, s->ocsp_where, "OCSP response", s->ocsp_file, &response))
        return false;
    struct report_header h = *place;
    h.type = REPORT_OCSP;
    h.len = response.size;
    bool sent =
        response.size <= REPORT_MAX
            ? report(k, h, response.data)
            : complain(k, "%s: %s is too large for an OCSP response", s->ocsp_where, s->ocsp_file);
    release(&response);
    return sent;
}

/* Whether the leaf is the key's. The key identifier is a hash of the public part. */
static bool check_pair(struct keeper *k, const struct key_source *s, gnutls_x509_crt_t leaf,
                       gnutls_x509_privkey_t key)
{
    unsigned char of_cert[64], of_key[64];
    size_t cert_size = sizeof of_cert, key_size = sizeof of_key;
    if (gnutls_x509_crt_get_key_id(leaf, GNUTLS_KEYID_USE_SHA256, of_cert, &cert_size) == 0 &&
        gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &key_size) == 0 &&
        cert_size == key_size && memcmp(of_cert, of_key, key_size) == 0)
        return true;
    return complain(k, "%s: the key in %s is not the key of the first certificate in %s",
                    s->key_where, s->key_file != NULL ? s->key_file : s->cert_file, s->cert_file);
}

static bool load_pair(struct keeper *k, struct report_header place, const struct key_source *s,
                      gnutls_privkey_t *out)
{
    gnutls_datum_t cert_pem = {0}, key_pem = {0};
    gnutls_x509_crt_t *chain = NULL;
    gnutls_x509_privkey_t key = NULL;
    unsigned n = 0, bits = 0;
    bool ok = false;

    if (!load_file(k, s->cert_where, "certificate", s->cert_file, &cert_pem) ||
        (s->key_file != NULL && !load_file(k, s->key_where, "key", s->key_file, &key_pem)))
        goto out;
    int r = gnutls_x509_crt_list_import2(&chain, &n, &cert_pem, GNUTLS_X509_FMT_PEM,
                                         GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
    if (r == GNUTLS_E_CERTIFICATE_LIST_UNSORTED) {
        complain(k,
                 "%s: the certificates in %s are not in order: the server's own comes first, "
                 "then each one's issuer",
                 s->cert_where, s->cert_file);
        goto out;
    }
    if (r < 0 || n == 0) {
        complain(k, "%s: %s holds no certificate that can be used (PEM): %s", s->cert_where,
                 s->cert_file, gnutls_strerror(r));
        goto out;
    }
    if (!parse_key(k, s, s->key_file != NULL ? &key_pem : &cert_pem, &key) ||
        !check_pair(k, s, chain[0], key))
        goto out;

    r = gnutls_privkey_import_x509(*out, key, GNUTLS_PRIVKEY_IMPORT_COPY);
    if (r != 0) {
        complain(k, "%s: the key in %s cannot be used: %s", s->key_where,
                 s->key_file != NULL ? s->key_file : s->cert_file, gnutls_strerror(r));
        goto out;
    }
    place.type = REPORT_KEY;
    place.algorithm = (uint32_t)gnutls_privkey_get_pk_algorithm(*out, &bits);
    place.bits = bits;
    ok =
        report(k, place, NULL) && report_chain(k, &place, s, chain, n) && report_ocsp(k, &place, s);
out:
    for (unsigned i = 0; i < n; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
    gnutls_x509_privkey_deinit(key);
    release(&cert_pem);
    release(&key_pem);
    return ok;
}

static bool load_group(struct keeper *k, size_t g, const struct key_group *from)
{
    struct keeper_group *to = &k->groups[g];
    to->request_fd = from->request_fd;
    to->max_requests = from->max_requests;
    to->keys = calloc(from->count > 0 ? from->count : 1, sizeof *to->keys);
    if (to->keys == NULL)
        return complain(k, "out of memory");
    for (size_t i = 0; i < from->count; i++) {
        if (gnutls_privkey_init(&to->keys[i].key) != 0)
            return complain(k, "out of memory");
        to->count = i + 1;
        to->keys[i].for_client = from->sources[i].for_client;
        struct report_header place = {.group = (uint32_t)g, .index = (uint32_t)i};
        if (!load_pair(k, place, &from->sources[i], &to->keys[i].key))
            return false;
    }
    return true;
}

struct keeper *keeper_load(const struct key_group *groups, size_t n_groups, int report_fd)
{
    struct keeper *k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->report_fd = report_fd;
    k->n_groups = n_groups;
    k->groups = calloc(n_groups > 0 ? n_groups : 1, sizeof *k->groups);
    bool ok = k->groups != NULL || complain(k, "out of memory");
    for (size_t g = 0; ok && g < n_groups; g++)
        ok = load_group(k, g, &groups[g]);
    if (ok)
        ok = report(k, (struct report_header){.type = REPORT_DONE}, NULL);
    k->report_fd = -1;
    if (ok)
        return k;
    keeper_destroy(k);
    return NULL;
}

void keeper_destroy(struct keeper *k)
{
    if (k == NULL)
        return;
    for (size_t g = 0; k->groups != NULL && g < k->n_groups; g++) {
        for (size_t i = 0; i < k->groups[g].count; i++)
            gnutls_privkey_deinit(k->groups[g].keys[i].key);
        free(k->groups[g].keys);
    }
    free(k->groups);
    free(k);
}

/* ---- signing ---- */

/* RFC 8446 §4.4.3: 64 blanks, the context string and its NUL, then a hash. */
static bool is_certificate_verify(const char *context, const unsigned char *data, size_t len)
{
    size_t size = strlen(context) + 1, hash = len - 64 - size;
    if (len <= 64 + size || memcmp(data + 64, context, size) != 0)
        return false;
    for (size_t i = 0; i < 64; i++)
        if (data[i] != ' ')
            return false;
    return hash == 32 || hash == 48;
}

/* RFC 8422 §5.4: both randoms, then a named curve and a point of one length byte. */
static bool is_server_key_exchange(const unsigned char *data, size_t len)
{
    enum { RANDOMS = 64, NAMED_CURVE = 3 };
    return len > RANDOMS + 4 && data[RANDOMS] == NAMED_CURVE &&
           len == RANDOMS + 4u + data[RANDOMS + 3];
}

bool keeper_may_sign(const unsigned char *text, size_t len)
{
    return is_certificate_verify("TLS 1.3, server CertificateVerify", text, len) ||
           is_server_key_exchange(text, len);
}

bool keeper_may_sign_as_client(const unsigned char *text, size_t len)
{
    return is_certificate_verify("TLS 1.3, client CertificateVerify", text, len);
}

static bool may_sign_text(const struct keeper_key *key, gnutls_sign_algorithm_t algorithm,
                          const gnutls_datum_t *text)
{
    (void)algorithm;
    return key->for_client ? keeper_may_sign_as_client(text->data, text->size)
                           : keeper_may_sign(text->data, text->size);
}

/* A hash as TLS uses it: SHA-256, -384 or -512, and as long as the algorithm says. */
static bool may_sign_hash(const struct keeper_key *key, gnutls_sign_algorithm_t algorithm,
                          const gnutls_datum_t *hash)
{
    (void)key;
    gnutls_digest_algorithm_t digest = gnutls_sign_get_hash_algorithm(algorithm);
    return (digest == GNUTLS_DIG_SHA256 || digest == GNUTLS_DIG_SHA384 ||
            digest == GNUTLS_DIG_SHA512) &&
           hash->size == gnutls_hash_get_len(digest);
}

/* All that can be asked for. */
static const struct rule {
    enum keeper_request_type type;
    size_t min, max; /* bytes to be signed */
    bool (*permitted)(const struct keeper_key *key, gnutls_sign_algorithm_t algorithm,
                      const gnutls_datum_t *data);
    int (*sign)(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, unsigned flags,
                const gnutls_datum_t *data, gnutls_datum_t *signature);
} rules[] = {
    {KEEPER_SIGN_HASH, 32, 64, may_sign_hash, gnutls_privkey_sign_hash2},
    {KEEPER_SIGN_TEXT, 64, KEEPER_DATA_MAX, may_sign_text, gnutls_privkey_sign_data2},
};

static const struct rule *find_rule(uint32_t type)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if ((uint32_t)rules[i].type == type)
            return &rules[i];
    return NULL;
}

/* ---- who asks, and how often ---- */

static int64_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

/* Its place in the table; that of the one who has been silent longest, if there is none left. */
static struct asker *place_of(struct keeper *k, pid_t pid)
{
    struct asker *oldest = NULL;
    for (size_t i = 0; i < PROBES; i++) {
        struct asker *a = &k->askers[((size_t)pid + i) % ASKERS];
        if (a->pid == pid)
            return a;
        if (oldest == NULL || a->since < oldest->since)
            oldest = a;
    }
    *oldest = (struct asker){.pid = pid, .since = now()};
    return oldest;
}

/* A process ends after so many sessions, so more requests than that are not for sessions. */
static bool asks_too_often(struct keeper *k, const struct keeper_group *g, pid_t pid)
{
    struct asker *a = place_of(k, pid);
    if (now() - a->since > KEEPER_WINDOW_SECONDS)
        *a = (struct asker){.pid = pid, .since = now()};
    return ++a->count > g->max_requests;
}

struct asked {
    union {
        struct keeper_request header;
        unsigned char bytes[sizeof(struct keeper_request) + KEEPER_DATA_MAX];
    } message;
    ssize_t len;
    int answer_fd;
    pid_t pid; /* of the asker, by the kernel's word; 0: it did not say */
};

/* What came beside the bytes. True when it is what a worker sends: exactly one descriptor. */
static bool take_ancillary(struct msghdr *msg, struct asked *a)
{
    size_t n_fds = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(c), sizeof who);
            a->pid = who.pid;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            int fds[4];
            n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
            a->answer_fd = fds[0];
            for (size_t i = 1; i < n_fds; i++)
                close(fds[i]);
        }
    }
    return n_fds == 1 && !(msg->msg_flags & (MSG_TRUNC | MSG_CTRUNC));
}

/* The end of the file; an empty request is somebody's. */
static bool is_end(const struct asked *a)
{
    return a->len == 0 && a->pid == 0;
}

/* Takes one request. False: none was there (another keeper had it, or there will be none), or it is
 * malformed, which `why` tells. The answer descriptor is the caller's to close. */
static bool take_request(int fd, struct asked *a, const char **why)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * 4) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec iov = {.iov_base = a->message.bytes, .iov_len = sizeof a->message.bytes};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    a->answer_fd = -1;
    a->pid = 0;
    *why = NULL;
    a->len = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (a->len < 0)
        return false;
    bool whole = take_ancillary(&msg, a);
    if (is_end(a))
        return false;
    if (!whole)
        *why = "a request of the wrong size or without one descriptor";
    else if ((size_t)a->len < sizeof a->message.header ||
             a->message.header.len != (size_t)a->len - sizeof a->message.header)
        *why = "a request whose length is wrong";
    return *why == NULL;
}

/* NULL, or why the request is not granted. */
static const char *find_fault(struct keeper *k, const struct keeper_group *g, const struct asked *a,
                              const struct rule *rule, const gnutls_datum_t *data)
{
    const struct keeper_request *r = &a->message.header;
    if (rule == NULL)
        return "a request that is not a signature";
    if (r->key >= g->count)
        return "a request for a key that the service does not have";
    if (data->size < rule->min || data->size > rule->max ||
        !rule->permitted(&g->keys[r->key], (gnutls_sign_algorithm_t)r->algorithm, data))
        return "a request to sign what is no TLS handshake";
    return asks_too_often(k, g, a->pid) ? "more requests than it can have sessions" : NULL;
}

/* The asker may be gone, and must not be able to make us wait. */
static void send_answer(const struct asked *a, int error, const gnutls_datum_t *signature)
{
    unsigned char out[sizeof(struct keeper_answer) + KEEPER_ANSWER_MAX];
    if (error == 0 && signature->size > KEEPER_ANSWER_MAX)
        error = GNUTLS_E_INTERNAL_ERROR;
    struct keeper_answer header = {.error = error, .len = error == 0 ? signature->size : 0};
    memcpy(out, &header, sizeof header);
    if (header.len > 0)
        memcpy(out + sizeof header, signature->data, header.len);
    (void)send(a->answer_fd, out, sizeof header + header.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void answer(struct keeper *k, const struct keeper_group *g, const struct asked *a,
                   const char **why)
{
    const struct keeper_request *r = &a->message.header;
    gnutls_datum_t data = {.data = (unsigned char *)a->message.bytes + sizeof *r, .size = r->len};
    gnutls_datum_t signature = {0};
    const struct rule *rule = find_rule(r->type);
    *why = find_fault(k, g, a, rule, &data);
    if (*why != NULL)
        return;
    int error = rule->sign(g->keys[r->key].key, (gnutls_sign_algorithm_t)r->algorithm, 0, &data,
                           &signature);
    send_answer(a, error, &signature);
    gnutls_free(signature.data);
}

enum served { SERVED_ONE, SERVED_NONE, SERVED_ALL };

static enum served serve_one(struct keeper *k, const struct keeper_group *g,
                             const struct keeper_alarm *alarm)
{
    struct asked a;
    const char *why;
    if (take_request(g->request_fd, &a, &why))
        answer(k, g, &a, &why);
    if (why != NULL)
        alarm->refused(alarm->ctx, a.pid, why);
    if (a.answer_fd >= 0)
        close(a.answer_fd);
    return a.len < 0 ? SERVED_NONE : is_end(&a) ? SERVED_ALL : SERVED_ONE;
}

/* Nobody can ask any more: we are to end, or a worker has shut the socket for all. */
static void leave_service(struct pollfd *door, int stop_fd, const struct keeper_alarm *alarm)
{
    struct pollfd stop = {.fd = stop_fd, .events = POLLIN};
    door->fd = -1;
    if (poll(&stop, 1, PARTING_MS) == 0)
        alarm->shut_out(alarm->ctx);
}

static void serve_group(struct keeper *k, size_t number, struct pollfd *door, int stop_fd,
                        const struct keeper_alarm *alarm)
{
    enum served served = SERVED_ONE;
    for (int i = 0; i < BURST && served == SERVED_ONE && (door->revents & POLLIN); i++)
        served = serve_one(k, &k->groups[number], alarm);
    if (served == SERVED_ALL || (door->revents != 0 && !(door->revents & POLLIN)))
        leave_service(door, stop_fd, alarm);
}

void keeper_serve(struct keeper *k, int stop_fd, const struct keeper_alarm *alarm)
{
    struct pollfd *fds = calloc(k->n_groups + 1, sizeof *fds);
    if (fds == NULL)
        return;
    fds[0] = (struct pollfd){.fd = stop_fd, .events = POLLIN};
    for (size_t g = 0; g < k->n_groups; g++)
        fds[g + 1] = (struct pollfd){.fd = k->groups[g].request_fd, .events = POLLIN};
    for (;;) {
        if (poll(fds, k->n_groups + 1, -1) < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        if (fds[0].revents != 0)
            break;
        for (size_t g = 0; g < k->n_groups; g++)
            if (fds[g + 1].fd >= 0)
                serve_group(k, g, &fds[g + 1], stop_fd, alarm);
    }
    free(fds);
}
