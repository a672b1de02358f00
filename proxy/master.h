/* SPDX-License-Identifier: ISC
 *
 * The master: binds, forks, reaps, drains. It reads no byte from any peer and no private key.
 */
#ifndef PROXY_MASTER_H
#define PROXY_MASTER_H

#include <stdbool.h>

#include "proxy/config.h"

/* Loads what the services need (in the keeper, whose report it reads), tells what is wrong by
 * config_error, and undoes everything. For --check. */
bool master_check(struct config *c);

/* Runs the services until SIGTERM or SIGINT. `ready_fd`: closed after one byte is written to it
 * when all listeners are bound and workers wait; -1: nobody wants to know. Returns the exit
 * status: 0, 78 when the configuration cannot be used, 71 when the system refuses something. */
int master_run(struct config *c, int ready_fd);

#endif
