/* SPDX-License-Identifier: ISC */
#include "certs/remotekey.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

enum {
    TRIES = 3,         /* a keeper that dies is replaced in between */
    SEND_TRIES = 5000, /* a millisecond each */
};

struct remote_key {
    struct keeper_door door;
    uint32_t key;
    int algorithm;
    unsigned bits;
};

static void rest(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    nanosleep(&moment, NULL);
}

/* The kernel counts descriptors on their way per user and lets no more pass at a time than a
 * process of that user may have open; ETOOMANYREFS is then a matter of waiting. So is EAGAIN, if
 * one that has gone astray has made the socket so that it does not block. */
static int send_request(int request_fd, int answer_fd, const struct keeper_request *request,
                        const gnutls_datum_t *data)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov[2] = {{.iov_base = (void *)request, .iov_len = sizeof *request},
                           {.iov_base = data->data, .iov_len = data->size}};
    struct msghdr msg = {.msg_iov = iov,
                         .msg_iovlen = 2,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    control.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), &answer_fd, sizeof answer_fd);
    for (int i = 0; i < SEND_TRIES; i++) {
        if (sendmsg(request_fd, &msg, MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno == ETOOMANYREFS || errno == EAGAIN)
            rest();
        else if (errno != EINTR)
            return -1;
    }
    return -1;
}

/* 0 and a signature, a GnuTLS error, or 1: the keeper went away and may be asked again. */
static int read_answer(int fd, unsigned seconds, gnutls_datum_t *signature)
{
    union {
        struct keeper_answer header;
        unsigned char bytes[sizeof(struct keeper_answer) + KEEPER_ANSWER_MAX];
    } answer;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&p, 1, (int)seconds * 1000);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return GNUTLS_E_TIMEDOUT;
    ssize_t n = recv(fd, answer.bytes, sizeof answer.bytes, 0);
    if (n <= 0)
        return 1;
    if ((size_t)n < sizeof answer.header || answer.header.len != (size_t)n - sizeof answer.header)
        return GNUTLS_E_INTERNAL_ERROR;
    if (answer.header.error != 0)
        return answer.header.error;
    signature->data = gnutls_malloc(answer.header.len);
    if (signature->data == NULL)
        return GNUTLS_E_MEMORY_ERROR;
    signature->size = answer.header.len;
    memcpy(signature->data, answer.bytes + sizeof answer.header, answer.header.len);
    return 0;
}

static int ask(const struct remote_key *k, const struct keeper_request *request,
               const gnutls_datum_t *data, gnutls_datum_t *signature)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return GNUTLS_E_INTERNAL_ERROR;
    int result = send_request(k->door.request_fd, pair[1], request, data);
    close(pair[1]); /* so that the end of the keeper is the end of file here */
    result = result == 0 ? read_answer(pair[0], k->door.seconds, signature) : GNUTLS_E_TIMEDOUT;
    close(pair[0]);
    return result;
}

static int sign(const struct remote_key *k, enum keeper_request_type type,
                gnutls_sign_algorithm_t algorithm, const gnutls_datum_t *data,
                gnutls_datum_t *signature)
{
    const struct keeper_request request = {
        .type = type, .key = k->key, .algorithm = (uint32_t)algorithm, .len = data->size};
    int result = 1;
    if (data->size > KEEPER_DATA_MAX)
        return GNUTLS_E_INVALID_REQUEST;
    for (int i = 0; i < TRIES && result == 1; i++)
        result = ask(k, &request, data, signature);
    return result == 1 ? GNUTLS_E_TIMEDOUT : result;
}

static int sign_text(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *userdata,
                     unsigned flags, const gnutls_datum_t *data, gnutls_datum_t *signature)
{
    (void)key;
    (void)flags;
    return sign(userdata, KEEPER_SIGN_TEXT, algorithm, data, signature);
}

/* PKCS #1 v1.5, which TLS 1.2 knows beside PSS: here GnuTLS hands over the hash inside its
 * DigestInfo (RFC 8017 §9.2). The keeper is asked in the usual way, and packs it itself. */
static int sign_digest_info(const struct remote_key *k, const gnutls_datum_t *info,
                            gnutls_datum_t *signature)
{
    unsigned char bytes[64];
    unsigned size = sizeof bytes;
    gnutls_digest_algorithm_t digest;
    int r = gnutls_decode_ber_digest_info(info, &digest, bytes, &size);
    if (r != 0)
        return r;
    gnutls_datum_t hash = {.data = bytes, .size = size};
    return sign(k, KEEPER_SIGN_HASH, gnutls_pk_to_sign(GNUTLS_PK_RSA, digest), &hash, signature);
}

static int sign_hash(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *userdata,
                     unsigned flags, const gnutls_datum_t *hash, gnutls_datum_t *signature)
{
    (void)key;
    (void)flags;
    if (algorithm == GNUTLS_SIGN_RSA_RAW)
        return sign_digest_info(userdata, hash, signature);
    return sign(userdata, KEEPER_SIGN_HASH, algorithm, hash, signature);
}

static int describe(gnutls_privkey_t key, unsigned flags, void *userdata)
{
    const struct remote_key *k = userdata;
    (void)key;
    if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO)
        return k->algorithm;
    if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS)
        return (int)k->bits;
    if (flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO)
        return (int)gnutls_sign_supports_pk_algorithm(GNUTLS_FLAGS_TO_SIGN_ALGO(flags),
                                                      (gnutls_pk_algorithm_t)k->algorithm);
    return -1;
}

static void forget(gnutls_privkey_t key, void *userdata)
{
    (void)key;
    free(userdata);
}

struct gnutls_privkey_st *remotekey_create(const struct keeper_door *door, uint32_t key,
                                           int algorithm, unsigned bits)
{
    gnutls_privkey_t privkey;
    struct remote_key *k = malloc(sizeof *k);
    if (k == NULL)
        return NULL;
    *k = (struct remote_key){.door = *door, .key = key, .algorithm = algorithm, .bits = bits};
    if (gnutls_privkey_init(&privkey) != 0) {
        free(k);
        return NULL;
    }
    if (gnutls_privkey_import_ext4(privkey, k, sign_text, sign_hash, NULL, forget, describe,
                                   GNUTLS_PRIVKEY_IMPORT_AUTO_RELEASE) != 0) {
        gnutls_privkey_deinit(privkey);
        free(k);
        return NULL;
    }
    return privkey;
}
