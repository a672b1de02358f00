/* SPDX-License-Identifier: ISC
 *
 * Steps through a TLS handshake and waits in between; whose side we are on does not matter.
 */
#ifndef PROXY_HANDSHAKE_H
#define PROXY_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "certs/tls.h"

/* True: TLS is up. False: `error` says why ("TLS handshake failed: ..."); `peer` ("client",
 * "server") is who was waited for. `fd`: what `tls` runs over. `cancel_fd` becoming readable ends
 * it (-1: none), and so does `deadline` (wire.h). */
bool handshake_run(struct tls *tls, int fd, const char *peer, int cancel_fd, int64_t deadline,
                   char *error, size_t error_size);

#endif
