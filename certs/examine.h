/* SPDX-License-Identifier: ISC
 *
 * All that can be said for and against the certificates of a peer, for somebody who wants to read
 * it (`ehlock probe`). Decides nothing.
 */
#ifndef CERTS_EXAMINE_H
#define CERTS_EXAMINE_H

#include <stdbool.h>
#include <time.h>

#include "certs/verify.h"

/* Each thing that can be wrong, looked at by itself and whether it is demanded or not. */
enum examined {
    EXAMINED_CHAIN,    /* leads to the trust, strong enough, rightly signed, all constraints kept */
    EXAMINED_PURPOSE,  /* extended key usage */
    EXAMINED_VALIDITY, /* dates of the whole chain */
    EXAMINED_NAMES,    /* one of those in the rules */
    EXAMINED_REVOCATION, /* by the lists (CRLs) of the trust */
    EXAMINED_STAPLE,     /* the OCSP response */
    EXAMINED_PINS,       /* one of those in the rules */
    N_EXAMINED
};
enum examined_state {
    EXAMINED_PASSES,
    EXAMINED_FAILS,
    EXAMINED_NOT, /* there is nothing to look at: no list, no name or pin in the rules */
};
struct examination {
    enum examined_state state[N_EXAMINED];
    char why[N_EXAMINED][768]; /* printable; whatever the state is */
};

/* Where verify_chain tells the gravest fault, this one tells all of them, in the same words and by
 * the same code: with need_ca it is VERDICT_OK there if and only if nothing EXAMINED_FAILS here.
 * `trust` may be NULL (nobody). False: the certificates cannot be read, says why[EXAMINED_CHAIN].
 */
bool examine_chain(const struct trust *trust, const struct verify_rules *rules,
                   const struct verify_peer *peer, time_t now, struct examination *out);

/* "chain", "purpose", ... */
const char *examined_word(enum examined what);

#endif
