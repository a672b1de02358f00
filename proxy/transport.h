/* SPDX-License-Identifier: ISC
 *
 * The two things that a wire can run over: a descriptor, and a TLS session.
 */
#ifndef PROXY_TRANSPORT_H
#define PROXY_TRANSPORT_H

#include "certs/tls.h"
#include "protocols/wire.h"

/* `fd` is non-blocking; `place` is where its number is kept, and both are borrowed. */
struct transport transport_of_fd(int *place);
/* The handshake must be done. */
struct transport transport_of_tls(struct tls *tls, int fd);

#endif
