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
struct trust;
struct verdict;
struct verify_bytes;
struct verify_peer;
struct verify_rules;

enum tls_result {
    TLS_OK = 0,
    TLS_WANT_READ = -1,
    TLS_WANT_WRITE = -2,
    TLS_TRUNCATED = -3, /* end of file without close_notify: bytes may be missing (RFC 8446 §6.1) */
    TLS_FAILED = -4,    /* see tls_error */
};

/* What all sessions of a service share. Made before the fork. */
struct tls_params {
    const char *priority; /* GnuTLS priority string; NULL: tls_default_priority */
    /* Names separated by blanks (RFC 7301). Server: a client that sends names must send one of
     * these; NULL: any. Client: the names to offer; NULL: none. */
    const char *alpn;
    /* Borrowed. Server: its certificates. Client: what it shows to a server that asks; NULL or
     * empty: nothing. */
    const struct creds *creds;
    const struct trust *trust; /* borrowed, for tls_verify_peer; NULL: nobody */
    /* Servers only. Borrowed; NULL: no resumption. */
    const struct ticket_key *ticket_key;
    /* Servers only: ask for a certificate. A client may send none, and what it sends does not
     * disturb the handshake: it is for tls_verify_peer to judge (RFC 3207 §4.1). The authorities
     * named in the request are those of creds_announce.
     * Bugs: what is no certificate, or comes without the proof of its key, ends the handshake. */
    bool ask_client_cert;
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

struct tls;

/* A server's session over the connected descriptor (borrowed, non-blocking). Dies when out of
 * memory. */
struct tls *tls_create(const struct tls_setup *setup, int fd);

/* The same for a client. `server_name` (UTF-8 or ASCII; NULL: none) is sent as SNI unless it is an
 * address literal, without a dot at its end (RFC 6066 §3); one that cannot be a DNS name makes
 * tls_handshake fail. A stapled OCSP response is asked for. Sessions are not resumed.
 *
 * Anybody is taken for the server: when tls_handshake is done, call tls_verify_peer before a byte
 * is read or written.
 * Bugs: an Ed25519 key (keeper.h) cannot answer to a server that asks for a certificate in TLS 1.2:
 * the handshake fails. */
struct tls *tls_create_client(const struct tls_setup *setup, int fd, const char *server_name);
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

/* Judges, after the handshake and at the present time, what the peer presented (verify.h). A peer
 * that presented nothing is VERDICT_NO_CERTIFICATE whatever the rules are. A resumed session
 * carries the certificates of the first one, and they are judged anew: neither a verdict nor rules
 * are remembered. True: VERDICT_OK. */
bool tls_verify_peer(const struct tls *t, const struct verify_rules *rules,
                     struct verdict *verdict);

/* What the peer presented, for those who look at it themselves (verify.h). `chain` has room for
 * TLS_PEER_CHAIN_MAX, which is all that anybody looks at; `peer` borrows it, and bytes of `t`. */
enum { TLS_PEER_CHAIN_MAX = 16 };
void tls_get_peer(const struct tls *t, struct verify_bytes *chain, struct verify_peer *peer);

/* SHA-256 of the public key (RFC 7469 §2.4) of the certificate that the peer presented, and has
 * shown to have the private key of. False: there is none, or it cannot be read. */
bool tls_get_peer_key(const struct tls *t, unsigned char sha256[32]);

/* Facts for the log. Strings live as long as `t`; "-" where there is nothing to say. Names that a
 * peer chose (sni, alpn) are as they came. */
struct tls_info {
    const char *version, *cipher, *group, *sni, *alpn;
    const char *signature; /* of the server in the handshake ("ECDSA-SECP256R1-SHA256") */
    unsigned cipher_bits;
    bool resumed;
};
void tls_get_info(const struct tls *t, struct tls_info *info);

/* The certificates of both sides, for those who pass them on. "-" and 0 where there is none.
 * Printable; peers chose these texts. Reads the certificates anew each time it is called. */
enum { TLS_PEER_NAMES_MAX = 64 };
struct tls_certificates {
    /* Ours: how it was signed ("ECDSA-SHA256"), its key ("EC/ECDSA", "RSA") and the bits of that.
     */
    const char *our_signature, *our_key;
    unsigned our_key_bits;
    bool peer_presented;
    char peer_sha256[65], peer_spki_sha256[65]; /* hexadecimal, as pins have it (pin.h) */
    /* The subjectAltNames, at most so many; without any the common name. */
    char peer_names[TLS_PEER_NAMES_MAX][256];
    size_t n_peer_names;
    char peer_common_name[256], peer_subject[256], peer_issuer[256]; /* the last two: RFC 4514 */
};
void tls_get_certificates(const struct tls *t, struct tls_certificates *out);

#endif
