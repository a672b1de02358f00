/* SPDX-License-Identifier: ISC
 *
 * Looking names up in a child process. The name service brings libraries and caches of its own,
 * and every worker would carry them: a fork costs more with each piece of memory there is.
 */
#ifndef PROXY_LOOKUP_H
#define PROXY_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>

/* Runs `work(ctx, result)` in a child and copies the `size` bytes of its result here. False: the
 * child did not end well. */
bool lookup_apart(void (*work)(const void *ctx, void *result), const void *ctx, void *result,
                  size_t size);

#endif
