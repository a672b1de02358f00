/* SPDX-License-Identifier: ISC
 *
 * A program that the spawner has started for us: the worker's side of proxy/spawner.h.
 */
#ifndef PROXY_SPAWNED_H
#define PROXY_SPAWNED_H

#include <stdint.h>

#include "proxy/environment.h"

struct spawned {
    int stream_fd; /* to the program; non-blocking */
    int line_fd;   /* to the spawner: closed, it means that the program is to end */
};

/* Has the program of our service started. `request_fd` is the workers' end of the socket to the
 * spawner; `deadline` is absolute, in milliseconds of wire_now(). `cancel_fd` becoming readable
 * ends it (-1: none). Returns 0, or an errno, and then there is nothing to leave: ECANCELED,
 * ETIMEDOUT, ECONNREFUSED when the spawner refused or died (its log line says which), or why it
 * could not be started. */
int spawned_start(struct spawned *p, int request_fd, const struct session_facts *facts,
                  int64_t deadline, int cancel_fd);

/* Closes both. */
void spawned_leave(struct spawned *p);

#endif
