/* SPDX-License-Identifier: ISC
 *
 * Which servers have offered TLS before, so that the log can tell when one no longer does: it may
 * have lost it, or somebody between takes the offer away. A small file that the master alone reads
 * and writes. Workers report through shared memory (stats.h), a byte for each destination, so what
 * one of them can say wrongly is no more than yes or no about a destination of its own.
 */
#ifndef PROXY_TLSMEMORY_H
#define PROXY_TLSMEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "proxy/stats.h"

enum {
    TLS_MEMORY_MAX = 1000,     /* servers that are remembered */
    TLS_MEMORY_NAME_MAX = 300, /* bytes of a name */
};

struct tls_memory {
    char *path; /* NULL: nothing is remembered */
    struct remembered *items;
    size_t count;
    bool dirty; /* there is something to be written */
};

/* From here on this file (NULL: none) is the memory; it is read if it is another than before. One
 * that is not there yet is empty. False: `error` says what is wrong, and the old memory stays. */
bool tls_memory_use(struct tls_memory *m, const char *path, char *error, size_t error_size);
void tls_memory_finish(struct tls_memory *m);

/* What became of a destination. A change against the memory is told in the log, once. */
void tls_memory_note(struct tls_memory *m, const char *service, const char *destination,
                     enum offer offer, time_t now);

/* Writes the file if anything has changed; the old one is replaced as a whole. What goes wrong is
 * told in the log, and tried again when something changes. */
void tls_memory_save(struct tls_memory *m);

#endif
