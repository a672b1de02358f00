/* SPDX-License-Identifier: ISC */
#include "proxy/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "protocols/wire.h"

static bool resolve_local(struct backends *b, const struct service *s, char *error, size_t size)
{
    char text[300], reason[200];
    if (s->local == NULL)
        return true;
    snprintf(text, sizeof text, "%s:1", s->local); /* the port does not matter */
    if (address_resolve(text, false, &b->local, 1, reason, sizeof reason) == 0) {
        snprintf(error, size, "%s: local: %s", s->where, reason);
        return false;
    }
    if (b->local.sa.ss_family == AF_INET)
        ((struct sockaddr_in *)&b->local.sa)->sin_port = 0;
    else if (b->local.sa.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&b->local.sa)->sin6_port = 0;
    return true;
}

bool backends_resolve(struct backends *b, const struct service *s, char *error, size_t size)
{
    char reason[200];
    *b = (struct backends){0};
    for (size_t i = 0; i < s->connect.count; i++) {
        const struct value *v = &s->connect.items[i];
        size_t n = address_resolve(v->text, false, &b->addresses[b->count], BACKENDS_MAX - b->count,
                                   reason, sizeof reason);
        if (n == 0) {
            snprintf(error, size, "%s: connect: %s", v->where, reason);
            return false;
        }
        memset(b->entries + b->count, (int)i, n);
        b->any_path = b->any_path || v->text[0] == '/';
        b->count += n;
    }
    return resolve_local(b, s, error, size);
}

/* 0 when connected, or an errno. */
static int wait_connected(int fd, int64_t deadline, int cancel_fd)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLOUT}};
    int error = 0;
    socklen_t len = sizeof error;
    switch (wire_poll(fds, 1, cancel_fd, deadline)) {
    case WIRE_OK:
        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
    case WIRE_TIMEOUT:
        return ETIMEDOUT;
    case WIRE_CANCELLED:
        return ECANCELED;
    default:
        return errno;
    }
}

/* A Unix socket whose backlog is full says EAGAIN and cannot be polled: wait inside connect(2). */
static int connect_path(int fd, const struct address *a, int64_t deadline)
{
    int64_t left = deadline - wire_now();
    const struct timeval wait = {.tv_sec = left / 1000 + 1};
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0 ||
        connect(fd, (const struct sockaddr *)&a->sa, a->len) != 0)
        return errno == EAGAIN ? ETIMEDOUT : errno;
    return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}

static int connect_tcp(int fd, const struct backends *b, const struct address *a, int64_t deadline,
                       int cancel_fd)
{
    const int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        return errno;
    if (b->local.len > 0 && a->sa.ss_family == b->local.sa.ss_family &&
        bind(fd, (const struct sockaddr *)&b->local.sa, b->local.len) != 0)
        return errno;
    if (connect(fd, (const struct sockaddr *)&a->sa, a->len) == 0)
        return 0;
    return errno == EINPROGRESS ? wait_connected(fd, deadline, cancel_fd) : errno;
}

/* 0 and a connected, non-blocking descriptor, or an errno. */
static int connect_one(const struct backends *b, const struct address *a, int64_t deadline,
                       int cancel_fd, int *out)
{
    int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int error = a->sa.ss_family == AF_UNIX ? connect_path(fd, a, deadline)
                                           : connect_tcp(fd, b, a, deadline, cancel_fd);
    if (error != 0)
        close(fd);
    else
        *out = fd;
    return error;
}

int backends_connect(const struct backends *b, unsigned first, unsigned seconds, int cancel_fd,
                     const struct address **chosen, char *error, size_t size)
{
    size_t used = 0;
    error[0] = '\0';
    for (size_t i = 0; i < b->count; i++) {
        const struct address *a = &b->addresses[(first + i) % b->count];
        int fd = -1;
        int r = connect_one(b, a, wire_deadline(seconds), cancel_fd, &fd);
        if (r == 0) {
            *chosen = a;
            return fd;
        }
        int n = snprintf(error + used, size - used, "%sbackend %s: %s", i > 0 ? "; " : "", a->text,
                         strerror(r));
        used = n > 0 && used + (size_t)n < size ? used + (size_t)n : size - 1;
        if (r == ECANCELED)
            break;
    }
    return -1;
}
