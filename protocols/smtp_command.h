/* SPDX-License-Identifier: ISC
 *
 * Arguments of SMTP commands that a proxy has to understand. Pure.
 */
#ifndef PROTOCOLS_SMTP_COMMAND_H
#define PROTOCOLS_SMTP_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "protocols/command.h"

/* Whether a parameter of MAIL is SMTPUTF8 (RFC 6531 §3.4). */
bool smtp_mail_asks_utf8(const struct command *c);

/* The chunk size of "BDAT size [LAST]" (RFC 3030 §2), at most SMTP_CHUNK_MAX. False when the
 * arguments are anything else: a server that counts in 32 bits would see a larger chunk end early
 * and take the rest of it for commands. Who has more to say sends several chunks. */
enum { SMTP_CHUNK_MAX = INT32_MAX };
bool smtp_bdat_parse(const struct command *c, uint64_t *size, bool *last);

#endif
