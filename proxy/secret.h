/* SPDX-License-Identifier: ISC
 *
 * A password or a token: in memory of its own, which is in no core dump, which no child gets unless
 * it is for that child, and which is wiped when it goes.
 */
#ifndef PROXY_SECRET_H
#define PROXY_SECRET_H

#include <stdbool.h>
#include <stddef.h>

struct secret;

/* Copies; the original stays the caller's to wipe. NULL: there is no memory. */
struct secret *secret_create(const char *bytes, size_t len);
/* Accepts NULL. In a child that has not got it: nothing to be called. */
void secret_destroy(struct secret *s);

/* Ends with NUL. */
const char *secret_text(const struct secret *s);

/* Whether children that are forked from here on get it. At first they do not. */
void secret_share(struct secret *s, bool with_children);

enum secret_form {
    SECRET_LINE, /* blanks belong to it */
    SECRET_WORD, /* has none: an access token (RFC 6750 §2.1) */
};

/* How much of something is to be read at most before it is clear that it holds more than `max`
 * bytes and a line end. */
size_t secret_line_size(size_t max);

/* Copies what is a single line of at most `max` bytes: without the line end, without control
 * characters, not empty. The original stays the caller's to wipe; `len` is less than
 * secret_line_size(max) if all of it is there. NULL: `error` says why, without its subject and
 * without a word of the text. */
struct secret *secret_from_line(const char *text, size_t len, size_t max, enum secret_form form,
                                char *error, size_t error_size);

/* Reads a file that is such a line. NULL: `error` says why. */
struct secret *secret_read(const char *path, size_t max, enum secret_form form, char *error,
                           size_t error_size);

/* Whether others than its owner and its group can read the file. */
bool secret_is_public(const char *path);

#endif
