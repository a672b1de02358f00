/* SPDX-License-Identifier: ISC
 *
 * Judging the certificates of a peer, step by step: for verify.c, which takes all steps until one
 * fails, and examine.c, which looks at each. For nobody else.
 */
#ifndef CERTS_JUDGEMENT_H
#define CERTS_JUDGEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "certs/verify.h"

struct gnutls_x509_crt_int;

enum { CHAIN_MAX = 16 }; /* certificates of a peer that are looked at */

struct judgement {
    const struct trust *trust;
    const struct verify_rules *rules;
    time_t now;
    struct verdict *verdict;
    struct gnutls_x509_crt_int *presented[CHAIN_MAX];
    size_t n_presented;
    /* From the peer's own to the anchor, or as far as it goes. Borrowed from `presented` and
     * from the trust. */
    struct gnutls_x509_crt_int *path[CHAIN_MAX + 1];
    size_t n_path;
    bool anchored;
    bool any_purpose; /* that is for somebody else to look at */
};

/* Reads what was presented; path[0] is the peer's own. False as below; the end is due anyhow. */
bool judgement_begin(struct judgement *j, const struct verify_peer *peer);
void judgement_end(struct judgement *j);

/* Fills in the rest of the path; without a trust there is none. */
void judgement_build_path(struct judgement *j);

/* Each looks at one thing. True: it is in order, or there is nothing to look at. False: the verdict
 * has the cause and the sentence. */
bool judgement_check_origin(struct judgement *j); /* strength, anchor, and signatures: */
bool judgement_check_signatures(struct judgement *j);
bool judgement_check_purpose(struct judgement *j); /* of the peer's own certificate alone */
bool judgement_check_time(struct judgement *j);
bool judgement_check_lists(struct judgement *j); /* CRLs: who is on them, and their age */
bool judgement_check_staple(struct judgement *j, const struct verify_bytes *staple);
bool judgement_check_names(struct judgement *j); /* this and the next: which one is in `matched` */
bool judgement_check_pins(struct judgement *j);

/* Whether there is a CRL of an issuer on the path. */
bool judgement_has_list(const struct judgement *j);

/* "2026-03-01 12:00:00 UTC", in `out`. */
const char *judgement_date(time_t t, char out[32]);

#endif
