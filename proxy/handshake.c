/* SPDX-License-Identifier: ISC */
#include "proxy/handshake.h"

#include <stdio.h>

#include "protocols/wire.h"

bool handshake_run(struct tls *tls, int fd, const char *peer, int cancel_fd, int64_t deadline,
                   char *error, size_t error_size)
{
    enum wire_status status = WIRE_OK;
    enum tls_result r;
    while ((r = tls_handshake(tls)) != TLS_OK && status == WIRE_OK) {
        if (r != TLS_WANT_READ && r != TLS_WANT_WRITE) {
            snprintf(error, error_size, "TLS handshake failed: %s", tls_error(tls));
            return false;
        }
        struct pollfd fds[2] = {{.fd = fd, .events = r == TLS_WANT_READ ? POLLIN : POLLOUT}};
        status = wire_poll(fds, 1, cancel_fd, deadline);
    }
    if (r != TLS_OK)
        snprintf(error, error_size, "TLS handshake failed: %s %s", peer, wire_status_text(status));
    return r == TLS_OK;
}
