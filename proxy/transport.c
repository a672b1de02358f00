/* SPDX-License-Identifier: ISC */
#include "proxy/transport.h"

#include <errno.h>
#include <sys/socket.h>

static ssize_t fd_result(ssize_t n, int again)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK ? again : TRANSPORT_ERROR;
}

static ssize_t fd_read(void *ctx, void *buf, size_t len)
{
    ssize_t n;
    do
        n = recv(*(int *)ctx, buf, len, 0);
    while (n < 0 && errno == EINTR);
    return fd_result(n, TRANSPORT_WANT_READ);
}

static ssize_t fd_write(void *ctx, const void *buf, size_t len)
{
    ssize_t n;
    do
        n = send(*(int *)ctx, buf, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return fd_result(n, TRANSPORT_WANT_WRITE);
}

static int fd_flush(void *ctx)
{
    (void)ctx;
    return 0;
}

static bool fd_pending(void *ctx)
{
    (void)ctx;
    return false;
}

struct transport transport_of_fd(int *place)
{
    return (struct transport){.ctx = place,
                              .fd = *place,
                              .read = fd_read,
                              .write = fd_write,
                              .flush = fd_flush,
                              .pending = fd_pending};
}

static ssize_t tls_result_of(ssize_t n)
{
    switch (n) {
    case TLS_WANT_READ:
        return TRANSPORT_WANT_READ;
    case TLS_WANT_WRITE:
        return TRANSPORT_WANT_WRITE;
    case TLS_TRUNCATED:
        return TRANSPORT_TRUNCATED;
    case TLS_FAILED:
        return TRANSPORT_ERROR;
    default:
        return n;
    }
}

static ssize_t over_tls_read(void *ctx, void *buf, size_t len)
{
    return tls_result_of(tls_read(ctx, buf, len));
}

static ssize_t over_tls_write(void *ctx, const void *buf, size_t len)
{
    return tls_result_of(tls_write(ctx, buf, len));
}

static int over_tls_flush(void *ctx)
{
    return (int)tls_result_of(tls_flush(ctx));
}

static bool over_tls_pending(void *ctx)
{
    return tls_pending(ctx);
}

struct transport transport_of_tls(struct tls *tls, int fd)
{
    return (struct transport){.ctx = tls,
                              .fd = fd,
                              .read = over_tls_read,
                              .write = over_tls_write,
                              .flush = over_tls_flush,
                              .pending = over_tls_pending};
}
