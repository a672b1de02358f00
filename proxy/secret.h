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

/* Reads a file whose only line it is, of at most `max` bytes: without the line end, without control
 * characters, not empty. NULL: `error` says why. */
struct secret *secret_read(const char *path, size_t max, char *error, size_t error_size);

/* Whether others than its owner and its group can read the file. */
bool secret_is_public(const char *path);

#endif
