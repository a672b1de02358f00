/* SPDX-License-Identifier: ISC
 *
 * TLS towards the server of one session, and judging the server before a byte goes either way.
 */
#ifndef PROXY_UPSTREAM_H
#define PROXY_UPSTREAM_H

#include "certs/verify.h"
#include "protocols/protocol.h"
#include "proxy/destination.h"
#include "proxy/route.h"
#include "proxy/tlsmemory.h"

struct upstream {
    const struct destination *to;  /* borrowed; NULL: no server has been reached */
    const struct route_host *host; /* the same, as DNS names it; borrowed; NULL: it was not asked */
    enum server_level level;       /* what `to` demands, with what DNS says of the host */
    struct dane_record records[ROUTE_RECORDS]; /* LEVEL_DANE_ONLY: at least one is usable */
    size_t n_records;
    struct tls *tls; /* NULL: none */
    bool secured, judged;
    struct verdict verdict; /* where judged */
    /* upstream_set_memory; NULL: no key is known, and none can be. */
    const struct tls_memory *memory;
    const char *service;
    char remedy[512]; /* what an administrator is told to do about the verdict; "": nothing */
};

/* This is the server that has been reached: its level is the policy's from here on. At the levels
 * that need DANE (RFC 7672 §2.2) that is: TLS and a judgement by its TLSA records if one of them is
 * usable, TLS without a judgement if none is, else as LEVEL_MAY. `host`: NULL where the resolver
 * does not watch. */
void upstream_set(struct upstream *u, const struct destination *to, const struct route_host *host,
                  struct policy *policy);

/* Where keys that are trusted on first use are known, and for which service; both are borrowed. */
void upstream_set_memory(struct upstream *u, const struct tls_memory *memory, const char *service);

/* The `secure` of struct dialogue: handshake and judgement over its connected backend, and all that
 * the dialogue knows of them. Ends after so many seconds, at its pretls_deadline, or when the
 * wire's cancel_fd is readable. */
enum tls_outcome upstream_secure(struct upstream *u, struct dialogue *d, unsigned seconds);

/* Whether TLS is up with a server that has been judged, and found to be whom the level wants: never
 * where keys are trusted on first use. */
bool upstream_is_verified(const struct upstream *u);

/* Says close_notify, as far as that goes without waiting. */
void upstream_bye(struct upstream *u);

/* Forgets the TLS session; the verdict stays for the log. */
void upstream_drop(struct upstream *u);

/* For the log, " level=secure offered=yes server_tls=..." with a blank in front; "" when there is
 * no server. */
void upstream_describe(const struct upstream *u, bool offered, char *out, size_t size);

enum { UPSTREAM_DESCRIPTION = 640 }; /* bytes that describe needs at the most */

#endif
