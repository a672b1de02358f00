/* SPDX-License-Identifier: ISC
 *
 * A TLS session behind one door. No GnuTLS type is seen from outside this room.
 *
 * Nothing here blocks or waits. Output is kept until tls_flush, tls_write sends what it has, so a
 * flight of handshake messages, or a session ticket and the reply after it, leave in one write.
 */
#ifndef CERTS_TLS_H
#define CERTS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct creds;
struct ticket_key;

enum tls_result {
    TLS_OK = 0,
    TLS_WANT_READ = -1,
    TLS_WANT_WRITE = -2,
    TLS_TRUNCATED = -3, /* end of file without close_notify: bytes may be missing (RFC 8446 §6.1) */
    TLS_FAILED = -4,    /* see tls_error */
};

/* What all sessions of a service share. Made before the fork. */
struct tls_params {
    const char *priority;      /* GnuTLS priority string; NULL: tls_default_priority */
    const char *alpn;          /* accepted names separated by blanks (RFC 7301); NULL: any */
    const struct creds *creds; /* borrowed; NULL: see tls_setup_use */
    const struct ticket_key *ticket_key; /* borrowed; NULL: no resumption */
};
struct tls_setup;

/* TLS 1.2 and 1.3, ECDHE, AEAD; what RFC 9325 recommends and mail in the field can do. */
extern const char tls_default_priority[];

/* Once in a process, before anything else here. False: GnuTLS does not work, says `error`. */
bool tls_global_init(char *error, size_t error_size);

/* Version of the library that runs. */
const char *tls_library_version(void);

/* NULL, with a sentence in `error`, when the priority string is not one. Copies the strings. */
struct tls_setup *tls_setup_create(const struct tls_params *params, char *error, size_t error_size);
void tls_setup_destroy(struct tls_setup *setup);

/* Gives it other credentials, or those it was made without (borrowed). No session may be open. */
void tls_setup_use(struct tls_setup *setup, const struct creds *creds);

struct tls;

/* A server's session over the connected descriptor (borrowed, non-blocking). Dies when out of
 * memory. */
struct tls *tls_create(const struct tls_setup *setup, int fd);
void tls_destroy(struct tls *t);

/* Bytes that were received before TLS was due: the handshake reads them first (RFC 9051 §6.2.1),
 * so commands slipped in behind STARTTLS break it. Copies. Before tls_handshake. */
void tls_feed(struct tls *t, const void *data, size_t len);

/* One step of the handshake: TLS_OK when it is done; WANT_*: call again; or an end. */
enum tls_result tls_handshake(struct tls *t);

/* Bytes read (> 0), 0 after the peer's close_notify, or one of enum tls_result. */
ssize_t tls_read(struct tls *t, void *buf, size_t len);
/* Bytes taken (> 0), or one of enum tls_result. */
ssize_t tls_write(struct tls *t, const void *buf, size_t len);
/* Sends what is kept: TLS_OK when nothing is left. */
enum tls_result tls_flush(struct tls *t);
/* True when tls_read would find bytes that poll(2) does not know of. */
bool tls_pending(const struct tls *t);
/* From here on tls_write keeps what it takes, and tls_flush tells the kernel that more will come
 * (the end of the connection): the last reply, the close_notify and the FIN leave in one packet. */
void tls_last_words(struct tls *t);
/* Puts a close_notify behind everything taken so far; tls_flush sends it. */
void tls_bye(struct tls *t);

/* Why it failed, in words for an administrator; "" when it has not. */
const char *tls_error(const struct tls *t);

/* Facts for the log. Strings live as long as `t`; "-" where there is nothing to say. */
struct tls_info {
    const char *version, *cipher, *group, *sni, *alpn;
    bool resumed;
};
void tls_get_info(const struct tls *t, struct tls_info *info);

#endif
