/* SPDX-License-Identifier: ISC
 *
 * The secret that session tickets are sealed with (RFC 5077, RFC 8446 §4.6.1). It is made by the
 * master, shared by all workers, and replaced at least daily: GnuTLS opens tickets inside the
 * process that serves the session, so a worker cannot be denied it.
 */
#ifndef CERTS_TICKETS_H
#define CERTS_TICKETS_H

#include <stddef.h>

enum {
    TICKET_KEY_SIZE = 64,           /* bytes, as GnuTLS wants them */
    TICKET_KEY_SECONDS = 24 * 3600, /* how long the master keeps one */
};

struct ticket_key {
    unsigned char bytes[TICKET_KEY_SIZE];
};

/* Fills it with random bytes. 0, or -1 when there is no randomness. */
int ticket_key_make(struct ticket_key *k);

#endif
