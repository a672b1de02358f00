/* SPDX-License-Identifier: ISC
 *
 * Which servers have offered TLS before, so that the log can tell when one no longer does: it may
 * have lost it, or somebody between takes the offer away. And the keys that servers have shown
 * first (firstuse.h). A small file that the master alone writes. Workers report through shared
 * memory: an offer is a byte for each destination (stats.h), so what one of them can say wrongly is
 * no more than yes or no about a destination of its own.
 */
#ifndef PROXY_TLSMEMORY_H
#define PROXY_TLSMEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "proxy/config.h"
#include "proxy/firstuse.h"
#include "proxy/stats.h"

enum {
    TLS_MEMORY_MAX = 1000,     /* servers that are remembered */
    TLS_MEMORY_NAME_MAX = 300, /* bytes of a name */
};

struct tls_memory {
    char *path; /* NULL: nothing is remembered */
    struct remembered *items;
    size_t count;
    struct first_uses firsts;
    enum first_use_asker asker; /* what is to be done here with a key that is not known */
    bool dirty;                 /* there is something to be written */
    bool failing;               /* and it could not be, which has been told */
};

/* Reads what the file that the configuration names (NULL: none) says into `m`; one that is not
 * there yet is empty. With FIRST_USE_CLAIMS each destination that is trusted on first use gets a
 * place there, and the file must be one that can be written; with the others it is read only if the
 * one service needs it. What `old` (NULL: none) knows and has not written yet stays known. False:
 * `error` says what is wrong, and there is nothing to finish. */
bool tls_memory_read(struct tls_memory *m, const struct config *c, enum first_use_asker asker,
                     const struct tls_memory *old, char *error, size_t error_size);
/* `m` becomes what has been read, which is empty then. */
void tls_memory_replace(struct tls_memory *m, struct tls_memory *by);
/* Gives up what has been read; `old` as before. */
void tls_memory_finish(struct tls_memory *m, const struct tls_memory *old);

/* Takes the keys that workers have seen first. True: there were some. */
bool tls_memory_learn(struct tls_memory *m, time_t now);

/* What became of a destination. A change against the memory is told in the log, once. */
void tls_memory_note(struct tls_memory *m, const char *service, const char *destination,
                     enum offer offer, time_t now);

/* Writes the file if anything has changed; the old one is replaced as a whole, but pins stand or
 * fall with the lines that it has at this moment, whoever wrote them. What goes wrong is told in
 * the log, once, and tried again each time. */
void tls_memory_save(struct tls_memory *m);

#endif
