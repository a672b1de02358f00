/* SPDX-License-Identifier: ISC
 *
 * The master: binds, forks, reaps, drains. It reads no byte from any peer and no private key.
 */
#ifndef PROXY_MASTER_H
#define PROXY_MASTER_H

#include <stdbool.h>

#include "proxy/activation.h"
#include "proxy/config.h"

/* Loads what the services need (in the keeper, whose report it reads), tells what is wrong by
 * config_error, and undoes everything. For --check. */
bool master_check(struct config *c);

/* Runs the services until SIGTERM or SIGINT. `sockets`: what was handed over to listen on; stays as
 * it is. `ready_fd`: closed after one byte is written to it
 * when all listeners are bound and workers wait; -1: nobody wants to know. Returns the exit
 * status: 0, 78 when the configuration cannot be used, 71 when the system refuses something. */
int master_run(struct config *c, struct activation *sockets, int ready_fd);

/* Serves one client with the service c->only, in this process, which is jailed for good before a
 * byte is read; the keys are in a keeper, which ends with the session. `*fd`: the connected socket,
 * non-blocking. Returns 0 after the session, whatever became of it; or 78, when the configuration
 * or a file that it names cannot be used. `*fd` is then -1 if the client has been told so, else it
 * has not been touched, and this process is as it was. */
int master_serve_oneshot(struct config *c, int *fd, const struct address *client);

#endif
