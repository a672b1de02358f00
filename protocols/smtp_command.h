/* SPDX-License-Identifier: ISC
 *
 * The grammar of SMTP and LMTP command lines (RFC 5321 §4.1.1), as strict as a proxy must be:
 * what one server skips as white space, another takes for a command. Pure.
 */
#ifndef PROTOCOLS_SMTP_COMMAND_H
#define PROTOCOLS_SMTP_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SMTP_VERB_MAX = 32 };

struct smtp_command {
    char verb[SMTP_VERB_MAX + 1]; /* upper case */
    const char *args;             /* behind the verb and its blanks; borrows from the line */
    size_t args_len;              /* without blanks at the end */
};

/* Splits `text` (without line end) into verb and arguments. False when it does not begin with a
 * verb of letters, digits, '-' and '_' followed by a blank or the end, or holds NUL. */
bool smtp_command_parse(const char *text, size_t len, struct smtp_command *out);

/* Whether a parameter of MAIL is SMTPUTF8 (RFC 6531 §3.4). */
bool smtp_mail_asks_utf8(const struct smtp_command *c);

/* The chunk size of "BDAT size [LAST]" (RFC 3030 §2), at most SMTP_CHUNK_MAX. False when the
 * arguments are anything else: a server that counts in 32 bits would see a larger chunk end early
 * and take the rest of it for commands. Who has more to say sends several chunks. */
enum { SMTP_CHUNK_MAX = INT32_MAX };
bool smtp_bdat_parse(const struct smtp_command *c, uint64_t *size, bool *last);

#endif
