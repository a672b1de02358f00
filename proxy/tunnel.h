/* SPDX-License-Identifier: ISC
 *
 * The dialogue with a proxy that makes a connection to it one to a server. What the server says is
 * left in the socket, to the last byte.
 */
#ifndef PROXY_TUNNEL_H
#define PROXY_TUNNEL_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/via.h"

enum tunnel_end { TUNNEL_OPEN, TUNNEL_FAILED, TUNNEL_CANCELLED };

/* On `fd`, connected and non-blocking, until `deadline`; `cancel_fd` becoming readable ends it (-1:
 * none). Otherwise than OPEN: the connection is of no use, and `error` continues "the proxy: ";
 * nothing that the proxy wrote is in it. */
enum tunnel_end tunnel_open(const struct via *v, const struct via_target *to, int fd,
                            int64_t deadline, int cancel_fd, char *error, size_t error_size);

#endif
