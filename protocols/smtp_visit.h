/* SPDX-License-Identifier: ISC
 *
 * A client that only looks: what it says, and what of a dialogue may be shown to onlookers.
 */
#ifndef PROTOCOLS_SMTP_VISIT_H
#define PROTOCOLS_SMTP_VISIT_H

#include "protocols/wire.h"

/* The `visit` of struct protocol, for SMTP and LMTP. */
void smtp_visit(struct wire *server, const char *hostname, int64_t deadline);
void lmtp_visit(struct wire *server, const char *hostname, int64_t deadline);

/* The `may_show` of both: commands in which nobody says a secret are shown whole, AUTH without what
 * follows the mechanism, and nothing of any other line, which may be an answer to a challenge
 * (RFC 4954 §4). Pure. */
size_t smtp_may_show(const char *line, size_t len);

#endif
