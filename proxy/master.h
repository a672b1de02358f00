/* SPDX-License-Identifier: ISC
 *
 * The master: binds, forks, reaps, drains. It reads no byte from any peer and no private key.
 */
#ifndef PROXY_MASTER_H
#define PROXY_MASTER_H

#include <stdbool.h>

#include "proxy/activation.h"
#include "proxy/config.h"

/* Opens the log as the configuration says. False and errno: the file cannot be opened. */
bool master_open_log(const struct config *c);

/* Loads what the services need (in the keeper, whose report it reads), tells what is wrong, and
 * undoes everything. For --check. Takes the configuration, which is on the heap. */
bool master_check(struct config *c);

/* Runs the services until SIGTERM or SIGINT. Takes the configuration (on the heap), which was read
 * from `file`; SIGHUP reads that again. `handed`: sockets that we were started with; stays as it
 * is. `ready_fd`: closed after one byte is written to it when all listeners are bound and workers
 * wait; -1: nobody wants to know, and we stay in the foreground. Returns the exit status: 0, 78
 * when the configuration cannot be used, 71 when the system refuses something. */
int master_run(struct config *c, const char *file, struct activation *handed, int ready_fd);

#endif
