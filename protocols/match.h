/* SPDX-License-Identifier: ISC
 *
 * Patterns of the administrator (libpcre2), compiled before the fork, matched with limits set.
 */
#ifndef PROTOCOLS_MATCH_H
#define PROTOCOLS_MATCH_H

#include <stdbool.h>
#include <stddef.h>

struct pattern; /* opaque */

/* Compiles `/expression/flags`: any punctuation may stand for the slashes. Flags: i (default on;
 * given again it is turned off, as in Postfix pcre_table(5)), x (extended), m (multi-line).
 * Returns NULL and writes a sentence to `error` when the text is not such a pattern. */
struct pattern *pattern_create(const char *text, char *error, size_t error_size);
void pattern_destroy(struct pattern *p);

/* True when the pattern is found in the `len` bytes. Running into the match limit counts as
 * "does not match" for what a rule grants and must be chosen by the caller for what it denies:
 * `on_limit` is returned then. */
bool pattern_matches(const struct pattern *p, const char *subject, size_t len, bool on_limit);

/* A list of patterns, tried in order. */
struct pattern_list {
    struct pattern **items; /* owned by whoever built the list */
    size_t count;
};
bool pattern_list_matches(const struct pattern_list *list, const char *subject, size_t len,
                          bool on_limit);

#endif
