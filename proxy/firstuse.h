/* SPDX-License-Identifier: ISC
 *
 * trustOnFirstUse: the public key that a server shows first is its pin from then on. What is known
 * here of one destination of one service, how it stands in the file (tlsmemory.h), and judging a
 * key by it.
 *
 * The master knows the pins, and workers have them from their fork: a copy that is their own. Where
 * none is known yet there is a claim (claim.h), which the master reads once a second. So what a
 * worker can say wrongly is the pin of a destination of its own service that nobody has reached
 * yet.
 */
#ifndef PROXY_FIRSTUSE_H
#define PROXY_FIRSTUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

#include "certs/verify.h"
#include "proxy/claim.h"

enum {
    FIRST_USE_MAX = 1000,        /* pins in the file, and destinations without one */
    FIRST_USE_NAME_MAX = 300,    /* bytes of a destination's name */
    FIRST_USE_SERVICE_MAX = 100, /* bytes of a service's name */
    FIRST_USE_LINE = 640,        /* bytes of a line in the file, with its NUL, at the most */
    FIRST_USE_PIN = 12 + 64 + 1, /* "spki-sha256:" and hexadecimal digits, with the NUL */
};

struct first_use {
    char service[FIRST_USE_SERVICE_MAX + 1], name[FIRST_USE_NAME_MAX + 1];
    bool known;                     /* then there are: */
    unsigned char key[CLAIM_BYTES]; /* SHA-256 of the SubjectPublicKeyInfo (RFC 7469 §2.4) */
    long long since;                /* seconds since 1970 */
    bool written;                   /* it stands in the file */
    struct claim *claim;            /* not known: where workers say it; NULL: nowhere */
};

struct first_uses {
    struct first_use *items;
    size_t count;
};

/* Releases the claims, too, but those that `other` (or NULL) has as well. */
void first_uses_finish(struct first_uses *list, const struct first_uses *other);

/* NULL: there is none. Borrowed until the list changes. */
struct first_use *first_uses_find(const struct first_uses *list, const char *service,
                                  const char *name);
/* The pair is not there yet, and its names can be remembered. Borrowed as above; nothing is known.
 */
struct first_use *first_uses_add(struct first_uses *list, const char *service, const char *name);

/* Whether both are names that a line of the file can hold: of no more than so many bytes,
 * printable, without blanks. */
bool first_use_can_be(const char *service, const char *name);

/* One line with its line end: NAME pin spki-sha256:DIGEST SECONDS SERVICE. NULL: it is in the list.
 * Otherwise what is wrong, as in "... is not ..."; `*is_other`: it is no line of this kind. */
const char *first_uses_read(struct first_uses *list, const char *line, bool *is_other);
void first_use_write(const struct first_use *f, FILE *out);

/* The master: takes what has been claimed. What is known does not change. True: there was
 * something, and the log has a line for each. */
bool first_uses_learn(struct first_uses *list, time_t now);
/* The master, around a fork: only workers of the service have its claims. */
void first_uses_share(const struct first_uses *list, const char *service, bool with_children);
/* The master, after a worker's end. */
void first_uses_bury(const struct first_uses *list, pid_t dead);
/* The master, now and then: a claim whose writer does not live, whoever has put that there, is
 * nobody's. */
void first_uses_release(const struct first_uses *list, bool (*lives)(void *ctx, pid_t pid),
                        void *ctx);

/* Who asks. */
enum first_use_asker {
    FIRST_USE_CLAIMS, /* a worker: an unknown key becomes the pin */
    FIRST_USE_KNOWS,  /* a process that serves one session and can tell nobody: it is refused */
    FIRST_USE_LOOKS,  /* the probe: it would become the pin */
};

/* Judges a key. `f`: NULL: the destination is in no memory. True: `verdict`, which was VERDICT_OK,
 * stays that, and `matched` is "first-use" or "known-key". False: its cause is
 * VERDICT_KEY_MISMATCH or VERDICT_KEY_UNKNOWN, and it has a sentence. */
bool first_use_judge(const struct first_use *f, enum first_use_asker asker,
                     const unsigned char key[CLAIM_BYTES], struct verdict *verdict);

#endif
