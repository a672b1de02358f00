/* SPDX-License-Identifier: ISC
 *
 * Lines of a capability list, as EHLO (RFC 5321 §4.1.1.1) and CAPA (RFC 2449 §5) are answered with:
 * a keyword, and what belongs to it. Pure.
 */
#ifndef PROTOCOLS_KEYWORD_H
#define PROTOCOLS_KEYWORD_H

#include <stdbool.h>
#include <stddef.h>

#include "protocols/match.h"

/* What one of the administrator's rules changes in a list. */
struct capability_edit {
    char **hide; /* keywords, compared as whole words in any case */
    size_t n_hide;
    char **add; /* texts of lines, "KEYWORD parameters", to which the protocol had no objection */
    size_t n_add;
};

/* Those that hold for a client, in their order. */
enum { CAPABILITY_EDITS_MAX = 5 };
struct capability_edits {
    const struct capability_edit *items[CAPABILITY_EDITS_MAX]; /* borrowed */
    size_t count;
};

/* One line; all of it borrows. `text` is what follows a code and its separator, if there is one,
 * without the line end; `word` is the keyword in it. Blanks and control characters around a keyword
 * do not count, because some clients skip them; it also ends at '=', for the old spelling
 * "AUTH=LOGIN". */
struct keyword_line {
    const char *line;
    size_t len; /* with the line end */
    const char *text;
    size_t text_len;
    const char *word;
    size_t word_len;
};

/* The line of `len` bytes whose text begins behind `prefix` bytes, if it has so many. */
struct keyword_line keyword_line_in(const char *line, size_t len, size_t prefix);
/* A text without line end. */
struct keyword_line keyword_line_of(const char *text);

/* Compared as whole words in any case: "XSECURITY=NONE,STARTTLS" is not STARTTLS. */
bool keyword_is(const struct keyword_line *k, const char *name);
bool keyword_is_same(const struct keyword_line *k, const struct keyword_line *other);
bool keyword_is_one_of(const struct keyword_line *k, const char *const *names, size_t n);

/* Whether one of the edits, from the n-th on, takes the keyword out. `edits` may be NULL. */
bool keyword_is_edited_out(const struct keyword_line *k, const struct capability_edits *edits,
                           size_t n);
/* Whether the administrator hides it, by an edit or by a pattern. Both may be NULL. */
bool keyword_is_hidden(const struct keyword_line *k, const struct capability_edits *edits,
                       const struct pattern_list *hide);

/* Whether an edit adds anything. `edits` may be NULL. */
bool keyword_is_any_added(const struct capability_edits *edits);

/* Whether mechanisms of SASL follow the keyword. */
bool keyword_has_parameters(const struct keyword_line *k);
/* Writes the line again without mechanisms that bind to the channel (RFC 9266: to one TLS
 * connection, which is not the backend's), each with the blank before it. Returns the bytes
 * written, k->len at most; 0: no mechanism is left. */
size_t keyword_write_unbound(const struct keyword_line *k, char *out);

/* NULL, or what is wrong with the text as a line that is added: it is no keyword with parameters in
 * printable ASCII, or longer than `max` bytes. */
const char *keyword_may_add(const char *text, size_t max);

#endif
