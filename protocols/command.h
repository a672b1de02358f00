/* SPDX-License-Identifier: ISC
 *
 * Command lines that begin with a verb, as in SMTP (RFC 5321 §4.1.1) and POP3 (RFC 1939 §3), as
 * strict as a proxy must be: what one server skips as white space, another takes for a command.
 * Pure.
 */
#ifndef PROTOCOLS_COMMAND_H
#define PROTOCOLS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

enum { COMMAND_VERB_MAX = 32 };

struct command {
    char verb[COMMAND_VERB_MAX + 1]; /* upper case */
    const char *args;                /* behind the verb and its blanks; borrows from the line */
    size_t args_len;                 /* without blanks at the end */
};

/* Splits `text` (without line end) into verb and arguments. False when it does not begin with a
 * verb of letters, digits, '-' and '_' followed by a blank or the end, or holds NUL. */
bool command_parse(const char *text, size_t len, struct command *out);

/* Whether the arguments of AUTH name a mechanism that is bound to one TLS connection (RFC 9266),
 * which cannot cross a proxy. */
bool command_binds_channel(const struct command *c);

/* How much of a line (with its line end) may be shown to onlookers: commands in `harmless` (ended
 * by NULL) whole, AUTH without what follows the mechanism, and nothing of any other line, which
 * may be an answer to a challenge. */
size_t command_may_show(const char *line, size_t len, const char *const *harmless);

#endif
