/* SPDX-License-Identifier: ISC */
#include "proxy/transparent.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_one(int family)
{
    const int on = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int r = family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof on)
                               : setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on);
    if (r == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

void transparent_close(struct transparent *t)
{
    int error = errno;
    while (t->count > 0)
        close(t->sockets[--t->count].fd);
    errno = error;
}

unsigned transparent_sessions(const struct backends *b, unsigned times, unsigned sessions)
{
    unsigned most = TRANSPARENT_MAX / ((unsigned)b->count * times);
    return sessions < most ? sessions : most > 0 ? most : 1;
}

bool transparent_open(struct transparent *t, const struct backends *b, unsigned times,
                      unsigned sessions)
{
    t->count = 0;
    for (size_t i = 0; i < b->count * times * sessions && i < TRANSPARENT_MAX; i++) {
        int family = b->addresses[i % b->count].sa.ss_family;
        int fd = open_one(family);
        if (fd < 0) {
            transparent_close(t);
            return false;
        }
        t->sockets[t->count].fd = fd;
        t->sockets[t->count++].family = family;
    }
    return true;
}

int transparent_take(struct transparent *t, int family)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->sockets[i].family != family)
            continue;
        int fd = t->sockets[i].fd;
        t->sockets[i] = t->sockets[--t->count];
        return fd;
    }
    errno = EMFILE;
    return -1;
}
