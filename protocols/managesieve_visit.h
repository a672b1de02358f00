/* SPDX-License-Identifier: ISC
 *
 * A client of ManageSieve that only looks: what it says, and what of a dialogue may be shown to
 * onlookers.
 */
#ifndef PROTOCOLS_MANAGESIEVE_VISIT_H
#define PROTOCOLS_MANAGESIEVE_VISIT_H

#include "protocols/wire.h"

/* The `visit` and `may_show` of struct protocol; see command_may_show. The list comes with the
 * greeting, and nobody need ask for it. */
void sieve_visit(struct wire *server, const char *hostname, int64_t deadline);
size_t sieve_may_show(const char *line, size_t len);

#endif
