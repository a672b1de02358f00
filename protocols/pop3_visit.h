/* SPDX-License-Identifier: ISC
 *
 * A client of POP3 that only looks: what it says, and what of a dialogue may be shown to onlookers.
 */
#ifndef PROTOCOLS_POP3_VISIT_H
#define PROTOCOLS_POP3_VISIT_H

#include "protocols/wire.h"

/* The `visit` and `may_show` of struct protocol; see command_may_show. */
void pop3_visit(struct wire *server, const char *hostname, int64_t deadline);
size_t pop3_may_show(const char *line, size_t len);

#endif
