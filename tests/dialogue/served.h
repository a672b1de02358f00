/* SPDX-License-Identifier: ISC
 *
 * The dialogue under test, run in a thread as a session would run it in a process: two wires over
 * socket pairs, and a stand-in for TLS that is no cipher but keeps its rules.
 */
#ifndef TESTS_DIALOGUE_SERVED_H
#define TESTS_DIALOGUE_SERVED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "transcript.h"

/* What stands for encryption: every byte after the handshake is changed with it, so that nothing
 * said in clear can be taken for something said under TLS. */
enum { TLS_MASK = 0x80 };

struct served {
    const struct transcript *transcript;
    const struct protocol *protocol;
    size_t chunk;                         /* bytes that one read or write moves at most */
    int client_fd, backend_fd, cancel_fd; /* our ends */
    int spare_fd;                         /* the backend's next connection; -1: there is none */
    atomic_bool close_notify;             /* the client has said that its end is an end */

    pthread_t thread;
    struct wire client, backend;
    bool tls_active, server_tls_active;
    bool moved; /* to the other server */
    struct policy other_policy;

    /* When it has ended: */
    enum dialogue_end end;
    struct tally tally;
    const char *step;
    char reason[256];
};

/* Starts it. The peers hold the other ends of client_fd and backend_fd. */
bool served_start(struct served *s);

/* Waits for its end and closes our ends; false when it does not end by the deadline. */
bool served_finish(struct served *s, int64_t deadline);

#endif
