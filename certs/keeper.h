/* SPDX-License-Identifier: ISC
 *
 * The keeper: the only process that ever reads a private key. It signs TLS handshakes and
 * answers nothing else. The files are read in the keeper, after the fork; the master is given
 * what is public, over a pipe.
 */
#ifndef CERTS_KEEPER_H
#define CERTS_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where a certificate and its key are. Strings are borrowed. */
struct key_source {
    const char *cert_file; /* PEM: leaf first, then its issuers; may hold the key too */
    const char *key_file;  /* PEM: PKCS#8, PKCS#1 or SEC1; NULL: in cert_file */
    const char *ocsp_file; /* DER response to staple; NULL: none */
    bool for_client;       /* signs as a TLS client does and not as a server */
    /* "file:line" of the configuration where each is named, for messages */
    const char *cert_where, *key_where, *ocsp_where;
};

/* The keys of one service: its workers can ask for no others. */
struct key_group {
    const struct key_source *sources;
    size_t count;
    int request_fd; /* the keeper's end of the socket that the service's workers write to; it has
                       SO_PASSCRED, so that the kernel says who asks */
    unsigned max_requests; /* of one process in KEEPER_WINDOW_SECONDS */
};

enum { KEEPER_WINDOW_SECONDS = 5 };

/* What goes over the report pipe: this header and then `len` bytes. */
enum report_type {
    REPORT_KEY = 1,   /* algorithm, bits of source `index` of group `group`; no bytes */
    REPORT_CERT = 2,  /* one certificate of its chain, DER, leaf first */
    REPORT_OCSP = 3,  /* the response to staple, DER */
    REPORT_ERROR = 4, /* a sentence with file name and remedy; nothing follows */
    REPORT_DONE = 5,  /* everything is loaded; nothing follows */
};
struct report_header {
    uint32_t type, group, index;
    uint32_t algorithm, bits;
    uint32_t len;
};
enum { REPORT_MAX = 64 * 1024 }; /* bytes behind one header */

struct keeper;

/* Loads all keys and certificates, checks each pair, and writes the report. Returns NULL after
 * a REPORT_ERROR. Needs the rights to read the files; keeper_serve needs none. */
struct keeper *keeper_load(const struct key_group *groups, size_t n_groups, int report_fd);

/* What the master must know of. */
struct keeper_alarm {
    /* Somebody has asked for what nobody may ask for: why, and who (0: the kernel did not say). */
    void (*refused)(void *ctx, pid_t asker, const char *sentence);
    /* A worker has shut the socket that all those of its service ask on: who, nobody can say. That
     * service has no keeper any more; this is called once for each. */
    void (*shut_out)(void *ctx);
    void *ctx;
};

/* Answers requests until `stop_fd` reads end of file (its writer, the master, is gone). Signed are
 * a hash of the right length under an algorithm of TLS 1.2 or 1.3, and, where the text itself is
 * given (Ed25519), only what the key is for (keeper_may_sign). Anything else, and more requests
 * than a worker has sessions, is not answered, and `refused` is called, which is to end the asker.
 * Bugs: nobody can see what a hash is the hash of, so a worker that has been taken over can have
 * as many hashes signed as it may have sessions; it cannot have the key. */
void keeper_serve(struct keeper *k, int stop_fd, const struct keeper_alarm *alarm);

void keeper_destroy(struct keeper *k);

/* True when the text is one of the two things that a TLS server signs in a handshake: a TLS 1.3
 * CertificateVerify (RFC 8446 §4.4.3) or a TLS 1.2 ServerKeyExchange (RFC 8422 §5.4). Pure. */
bool keeper_may_sign(const unsigned char *text, size_t len);

/* True when it is what a TLS 1.3 client signs, its CertificateVerify. Pure.
 * Bugs: in TLS 1.2 a client signs all of the handshake, which could be anything: an Ed25519 key of
 * a client is for TLS 1.3 only. Other keys sign its hash. */
bool keeper_may_sign_as_client(const unsigned char *text, size_t len);

#endif
