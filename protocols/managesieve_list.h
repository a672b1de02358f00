/* SPDX-License-Identifier: ISC
 *
 * The list of capabilities of ManageSieve (RFC 5804 §1.7): with a greeting, behind CAPABILITY, and
 * after TLS. Pure. It is kept in a struct reply, of which code stays 0, and ends with the line of
 * the answer.
 */
#ifndef PROTOCOLS_MANAGESIEVE_LIST_H
#define PROTOCOLS_MANAGESIEVE_LIST_H

#include <stdbool.h>

#include "protocols/keyword.h"
#include "protocols/reply.h"

/* What is to be done with a list. */
struct sieve_rules {
    bool offer_starttls;                  /* put STARTTLS into the list */
    bool hide_login;                      /* mechanisms of SASL, where there is no TLS yet */
    const struct pattern_list *hide;      /* the administrator's; matched against "NAME value" */
    const struct capability_edits *edits; /* NULL: none */
};

/* Writes to `out` (cleared first) what the client may see of `in`, whole lines of a server up to
 * OK, NO or BYE:
 * - never shown: STARTTLS of the backend, XCLIENT (it would hand out the trust that the backend has
 *   in us), *-PLUS mechanisms of SASL (RFC 9266: bound to one TLS connection, which is not the
 *   backend's), and lines whose strings hold control characters;
 * - a login that is hidden leaves SASL with an empty string: "TLS first" (§1.7);
 * - what edits add, each only if it is not there, and STARTTLS, when offered, come last, and only
 *   before an OK. An edit hides from the backend's lines and from what the edits before it add,
 *   never what it adds itself;
 * - lines that stay are not changed. */
void sieve_edit_list(const struct reply *in, const struct sieve_rules *rules, struct reply *out);

/* Whether the list names the capability, as a whole word in any case. */
bool sieve_offers(const struct reply *r, const char *keyword);

/* NULL, or what is wrong with the text "NAME value" as a capability that is added: it is no keyword
 * with parameters in printable ASCII, or it promises what only the backend or we ourselves can
 * keep.
 */
const char *sieve_may_add(const char *text);

#endif
