/* SPDX-License-Identifier: ISC
 *
 * Lines of ManageSieve (RFC 5804 §4): atoms, quoted strings and literals, as strict as a proxy must
 * be. What is a literal to one side and a command to the other is a command that nobody has seen.
 * Pure.
 *
 * A literal is announced at the end of a piece of a line, and its bytes come behind the line end:
 *
 *   AUTHENTICATE "PLAIN" {8+}       a piece, of which a literal is the last token
 *   AGEAYgBj                        eight bytes of any kind, and the next piece, which is empty
 *
 * A line is one piece or several. Line ends within a literal end nothing.
 */
#ifndef PROTOCOLS_MANAGESIEVE_SYNTAX_H
#define PROTOCOLS_MANAGESIEVE_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>

#include "protocols/answer.h"
#include "protocols/command.h"
#include "protocols/reply.h"

enum sieve_side {
    SIEVE_CLIENT, /* one blank between tokens and none elsewhere, no parentheses; literals {N+} */
    SIEVE_SERVER, /* blanks and parentheses as they come; literals {N} or {N+} */
};

enum sieve_piece {
    SIEVE_ENDS,    /* the line ends here */
    SIEVE_GOES_ON, /* a literal follows, and another piece */
    SIEVE_BAD,     /* neither; nobody knows where such a line ends */
};

/* What follows a piece of a line: `len` bytes without the line end, behind a literal or at the
 * beginning. SIEVE_GOES_ON: `literal` is how many bytes, less than 10^9. */
enum sieve_piece sieve_read_piece(const char *text, size_t len, enum sieve_side side,
                                  bool behind_literal, size_t *literal);

/* Bytes of the first line among `len`, with its end and all its literals; 0: it is not whole, or
 * SIEVE_BAD. */
size_t sieve_line_length(const char *data, size_t len, enum sieve_side side);

enum sieve_kind { SIEVE_ATOM, SIEVE_QUOTED, SIEVE_LITERAL, SIEVE_PARENTHESIS };

/* A token; it borrows. `text` is what is between the quotes (with backslashes), or the bytes of the
 * literal. */
struct sieve_token {
    enum sieve_kind kind;
    const char *text;
    size_t len;
};

/* The next token of a whole line, from *position (0 at first) on. False: there is no more. */
bool sieve_next_token(const char *line, size_t len, size_t *position, struct sieve_token *out);

bool sieve_is_string(const struct sieve_token *t);

/* Appends what the token says: a quoted string without its backslashes. */
void sieve_append_text(struct reply *out, const struct sieve_token *t);
/* Appends a text as a quoted string. Control characters, which such a string cannot hold, become
 * blanks. */
void sieve_append_quoted(struct reply *out, const char *text, size_t len);

/* Appends a whole line of a client, in which literals have become quoted strings: to a server that
 * refuses a command, what is in a literal stands at the beginning of a line. Only a literal with
 * control characters stays one, and no command with such a string must be let through. Returns how
 * many bytes the end of the line has. */
size_t sieve_append_in_quotes(struct reply *out, const char *line, size_t len);

/* Splits a whole line of a client, but for its end, into verb and arguments. False when it does not
 * begin with an atom of letters, digits, '-' and '_', or when that is too long. */
bool sieve_parse_command(const char *line, size_t len, struct command *out);

/* Whether the arguments are at most one string, without control characters. */
bool sieve_is_harmless_string(const char *args, size_t len);

/* Whether they are one string of base64, or what cancels a login: an answer to a challenge (§2.1).
 */
bool sieve_is_answer(const char *args, size_t len);

/* NULL, or what is wrong with the arguments of AUTHENTICATE (§2.1): a mechanism, and perhaps an
 * initial response of base64. Mechanisms that are bound to one TLS connection (RFC 9266) cannot
 * cross a proxy. */
const char *sieve_mind_mechanism(const char *args, size_t len);

/* What a whole line of a server is. A string is ANSWER_CONTINUE: a challenge, or a capability with
 * its value, if there are two. */
enum answer sieve_answer_of(const char *line, size_t len);

/* Whether a line of strings is a challenge: one. */
bool sieve_is_challenge(const char *line, size_t len);

#endif
