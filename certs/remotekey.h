/* SPDX-License-Identifier: ISC
 *
 * Private keys as a worker knows them: a number, and a socket to the keeper who has the bytes.
 *
 * A request is one message on a socket that all workers of a service share with the keeper. It
 * carries the descriptor on which the answer is expected, so the keeper keeps no state, several
 * keepers can take turns, and one that dies is replaced without anybody noticing: its end of that
 * descriptor closes, and the worker asks again.
 */
#ifndef CERTS_REMOTEKEY_H
#define CERTS_REMOTEKEY_H

#include <stddef.h>
#include <stdint.h>

enum {
    KEEPER_DATA_MAX = 512,    /* bytes to be signed: a hash; or what is hashed, some 150 or 240 */
    KEEPER_ANSWER_MAX = 1024, /* bytes of a signature: RSA with 8192 bits has 1024 */
};

/* The only requests there are. GnuTLS hands ECDSA and RSA over as a hash, EdDSA as the text. */
enum keeper_request_type {
    KEEPER_SIGN_HASH = 1,
    KEEPER_SIGN_TEXT = 2,
};

/* What a worker writes: this header and then `len` bytes. */
struct keeper_request {
    uint32_t type; /* enum keeper_request_type */
    uint32_t key;  /* index within the service */
    uint32_t algorithm;
    uint32_t len;
};

/* What the keeper writes: this header and then `len` bytes; or nothing, when it refuses. */
struct keeper_answer {
    int32_t error; /* 0 or a GnuTLS error code */
    uint32_t len;
};

struct gnutls_privkey_st;

/* How a service reaches the keeper. */
struct keeper_door {
    int request_fd;   /* the workers' end */
    unsigned seconds; /* how long an answer is waited for */
};

/* A key that signs by asking. `door` is copied, its descriptor borrowed; `algorithm` and
 * `bits` are those of the public key. Returns NULL when out of memory. */
struct gnutls_privkey_st *remotekey_create(const struct keeper_door *door, uint32_t key,
                                           int algorithm, unsigned bits);

#endif
