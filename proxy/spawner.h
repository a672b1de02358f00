/* SPDX-License-Identifier: ISC
 *
 * The spawner: the process that starts a program for a session, a backend (`exec`) or one that
 * tells a token (`protocolTokenProgram`), because a worker has neither files nor the right to
 * become another user. It keeps the rights of the master, so it believes little: a worker says who
 * its client is, and nothing else.
 *
 * A request is one message on a socket that all workers of a service share with the spawner; the
 * socket tells which service asks, and so which program, and what for. The message carries two
 * descriptors: the program's end of a stream socket pair, and the spawner's end of the session's
 * line. On the line the spawner answers, once; later, the line's end tells it that the session is
 * over, however it ended. Of a program that tells a token it says on the line as well how it ended:
 * what was printed by one that failed is no token.
 */
#ifndef PROXY_SPAWNER_H
#define PROXY_SPAWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/environment.h"
#include "proxy/program.h"

/* What a worker writes: exactly this, and two descriptors, program and line. */
struct spawn_request {
    uint32_t type; /* SPAWN_PROGRAM */
    struct session_facts facts;
};
enum { SPAWN_PROGRAM = 1 };

/* What is written to the line; nothing, and its end, when the request is refused. */
struct spawn_answer {
    int32_t error; /* 0: the program runs; else an errno: it could not be started */
};

/* The second one, of PROGRAM_TOKEN, when it has ended; everything it printed is in its stream. */
struct spawn_ending {
    int32_t status; /* of exit(3); -1: */
    int32_t signal; /* that ended it; else 0 */
};

/* One service with a program. Everything is borrowed. */
struct spawner_service {
    const char *name;
    const struct program *program;
    int request_fd;       /* the spawner's end */
    bool may_relay;       /* a worker may say that its client may relay (relayAs) */
    size_t limit;         /* programs at a time; further requests wait for one to end */
    unsigned end_seconds; /* how long a program may go on when its session is over; at least 1 */
};

/* Starts programs until `stop_fd` reads end of file, and then until the last one has ended; returns
 * when none is left. A program that goes on after its session gets SIGTERM after end_seconds, and
 * SIGKILL five seconds later, it and its process group; after the stop one second and two more,
 * unless the spawner is `patient`. A
 * program that ended by itself may leave others behind, a delivery for example: they are let be.
 * SIGUSR1 opens the log again; SIGTERM, SIGINT and SIGHUP mean nothing here. Logs a line for each
 * program that ends. Closes all descriptors but those of the services, stop_fd, the log, 0, 1, 2.
 * Bugs: programs of a spawner that was killed go on until they end by themselves. */
void spawner_serve(const struct spawner_service *services, size_t n, int stop_fd, bool patient);

#endif
