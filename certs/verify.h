/* SPDX-License-Identifier: ISC
 *
 * Judges the certificates of a peer, after the handshake and before one byte goes either way.
 * GnuTLS does the cryptography; the rules are here (RFC 5280 §6, RFC 9525, RFC 7633).
 */
#ifndef CERTS_VERIFY_H
#define CERTS_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "certs/pin.h"

struct dane_record;
struct trust;

/* One value per cause. When several apply one is told, the gravest: in general the first here. */
enum verdict_cause {
    VERDICT_OK,
    VERDICT_NO_CERTIFICATE,
    VERDICT_UNUSABLE,         /* not a certificate, or one that the library cannot judge */
    VERDICT_WEAK,             /* signed with SHA-1, MD5; RSA or DSA under 2048 bits */
    VERDICT_SELF_SIGNED,      /* by itself, and it is not among the trusted ones */
    VERDICT_UNKNOWN_ISSUER,   /* its chain leads to nobody who is trusted */
    VERDICT_BROKEN_SIGNATURE, /* altered, or not signed by the one it names */
    VERDICT_NOT_A_CA,         /* signed by somebody who may not */
    VERDICT_CONSTRAINTS,      /* path length or name constraints of a CA */
    VERDICT_UNKNOWN_CRITICAL, /* an extension that has to be understood is not */
    VERDICT_WRONG_PURPOSE,    /* extended key usage */
    VERDICT_REVOKED,          /* by a CRL or by the stapled OCSP response */
    VERDICT_NOT_YET_VALID,
    VERDICT_EXPIRED,
    VERDICT_CRL_UNUSABLE, /* the CRL of one of the issuers is outdated or not signed by it */
    VERDICT_NO_STAPLE,    /* RFC 7633: the certificate demands a good OCSP response; none came */
    VERDICT_NAME_MISMATCH,
    VERDICT_EMAIL_MISMATCH,
    VERDICT_IP_MISMATCH,
    VERDICT_PIN_MISMATCH,
    VERDICT_TLSA_MISMATCH, /* no TLSA record fits a certificate that was sent */
    /* Not by us, but for those who remember keys and judge by them: */
    VERDICT_KEY_MISMATCH, /* another key was seen first */
    VERDICT_KEY_UNKNOWN,  /* none was, and this one cannot be remembered */
};

enum verify_purpose {
    VERIFY_SERVER, /* the peer is a server: its extended key usage must allow that */
    VERIFY_CLIENT, /* the peer is a client */
};

/* What is demanded. Strings and arrays are borrowed. */
struct verify_rules {
    enum verify_purpose purpose;
    /* The chain must lead to the trust, and everything about it be in order. Without this only
     * names and pins count: a pinned certificate may have expired, be self-signed, or be weak. */
    bool need_ca;
    /* The certificate must have at least one of all these; without any of them names do not matter.
     */
    const char *const *hosts; /* UTF-8 or ASCII, or address literals */
    size_t n_hosts;
    const char *const *emails;
    size_t n_emails;
    const char *const *addresses;
    size_t n_addresses;
    /* It, and not one of its issuers, must be one of these. */
    const struct pin *pins;
    size_t n_pins;
    /* TLSA records, of which at least one is usable; then nothing else counts but they and `hosts`
     * (RFC 7672 §3.1). A certificate that fits a DANE-EE record is good whatever it says, and
     * `hosts` and dates do not matter. Otherwise its chain must lead to a certificate that was sent
     * and fits a DANE-TA record, and it must have one of the hosts. */
    const struct dane_record *records;
    size_t n_records;
};

struct verify_bytes {
    const unsigned char *data;
    size_t len;
};

/* What the peer presented, in DER. Borrowed. */
struct verify_peer {
    const struct verify_bytes *chain; /* its own certificate first */
    size_t n_chain;
    struct verify_bytes staple; /* OCSP response for it; len 0: none */
};

struct verdict {
    enum verdict_cause cause;
    char sentence[768]; /* for the administrator, printable; "" when it is VERDICT_OK */
    char matched[256];  /* which name, pin or record it was; "" when none was asked for */
};

/* Judges at the time `now`. True: VERDICT_OK. At most 16 certificates are looked at. `trust` may
 * be NULL if need_ca is false. What nobody demanded is not judged: with empty rules any readable
 * certificate is VERDICT_OK, and so proves nothing.
 * Bugs: an issuer without a CRL revokes nothing. Delta CRLs and those in parts are taken for whole
 * ones. A chain that only closes by one of several certificates of the same name for an
 * intermediate is tried with one of them. The certificate in a record "2 0 0" is not taken for one
 * that was sent: servers must send it (RFC 7672 §3.1.2). */
bool verify_chain(const struct trust *trust, const struct verify_rules *rules,
                  const struct verify_peer *peer, time_t now, struct verdict *verdict);

/* The result word of RFC 8460 §4.3 ("certificate-expired"); "" for VERDICT_OK. */
const char *verdict_result_word(enum verdict_cause cause);

/* One word for the log ("expired"); "ok" for VERDICT_OK. */
const char *verdict_word(enum verdict_cause cause);

#endif
