/* SPDX-License-Identifier: ISC */
#include "proxy/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    TAKEN_MS = 2000, /* how long an address that is taken is waited for, at start */
    TAKEN_STEP_MS = 50,
};

/* A name in the file system that nobody listens on any more is in the way of bind(2). Ordinary
 * files refuse connections as well, and are never removed. */
static void remove_stale(const struct address *a)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
    struct stat st;
    if (lstat(un->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)&a->sa, a->len) != 0 && errno == ECONNREFUSED)
        unlink(un->sun_path);
    close(fd);
}

static int open_one(const struct address *a)
{
    const int on = 1;
    int family = a->sa.ss_family;
    if (family == AF_UNIX)
        remove_stale(a);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* Accepted sockets inherit TCP_NODELAY, which saves a call for each client. */
    if ((family != AF_UNIX && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
                               setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)) ||
        (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        bind(fd, (const struct sockaddr *)&a->sa, a->len) != 0 || listen(fd, SOMAXCONN) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* The workers of a master that was killed let go of its addresses a moment later. */
static int open_patiently(const struct address *a)
{
    const struct timespec step = {.tv_nsec = TAKEN_STEP_MS * 1000000L};
    int fd = open_one(a);
    for (int waited = 0; fd < 0 && errno == EADDRINUSE && waited < TAKEN_MS;
         waited += TAKEN_STEP_MS) {
        nanosleep(&step, NULL);
        fd = open_one(a);
    }
    return fd;
}

static bool is_same(const struct address *a, const struct address *b)
{
    return a->len == b->len && memcmp(&a->sa, &b->sa, a->len) == 0;
}

/* The place of `a` among old listeners. */
static bool find_old(const struct address *a, struct listeners *const *old, size_t n_old,
                     struct listeners **where, size_t *place)
{
    for (size_t i = 0; i < n_old; i++) {
        for (size_t k = 0; k < old[i]->count; k++) {
            if (!is_same(a, &old[i]->addresses[k]))
                continue;
            *where = old[i];
            *place = k;
            return true;
        }
    }
    return false;
}

static int share_or_open(const struct address *a, struct listeners *const *old, size_t n_old,
                         bool *opened)
{
    struct listeners *where;
    size_t place;
    *opened = !find_old(a, old, n_old, &where, &place);
    if (!*opened)
        return fcntl(where->fds[place], F_DUPFD_CLOEXEC, 3);
    return n_old == 0 ? open_patiently(a) : open_one(a);
}

static bool open_value(struct listeners *l, const struct value *v, struct listeners *const *old,
                       size_t n_old, char *error, size_t size)
{
    size_t room = LISTENERS_MAX - l->count;
    size_t n = address_resolve(v->text, true, &l->addresses[l->count], room, error, size);
    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct address *a = &l->addresses[l->count];
        int fd = share_or_open(a, old, n_old, &l->owns_name[l->count]);
        if (fd < 0) {
            snprintf(error, size, "%s: cannot listen on %s: %s", v->where, a->text,
                     strerror(errno));
            return false;
        }
        l->fds[l->count++] = fd;
    }
    return true;
}

/* All workers wait on the one epoll descriptor, so that one of them is woken for a client. */
static bool watch_all(struct listeners *l, char *error, size_t size)
{
    if (l->count < 2)
        return true;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < l->count && l->epoll_fd >= 0; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->fds[i], &e) != 0) {
            close(l->epoll_fd);
            l->epoll_fd = -1;
        }
    }
    if (l->epoll_fd < 0)
        snprintf(error, size, "epoll: %s", strerror(errno));
    return l->epoll_fd >= 0;
}

bool listeners_open(struct listeners *l, const struct service *s, struct listeners *const *old,
                    size_t n_old, char *error, size_t size)
{
    bool ok = true;
    *l = (struct listeners){.epoll_fd = -1};
    for (size_t i = 0; ok && i < s->accept.count; i++)
        ok =
            l->count < LISTENERS_MAX && open_value(l, &s->accept.items[i], old, n_old, error, size);
    ok = ok && watch_all(l, error, size);
    if (!ok)
        listeners_close(l);
    return ok;
}

void listeners_take_names(struct listeners *l, struct listeners *const *old, size_t n_old)
{
    struct listeners *where;
    size_t place;
    for (size_t i = 0; i < l->count; i++) {
        if (l->owns_name[i] || !find_old(&l->addresses[i], old, n_old, &where, &place))
            continue;
        l->owns_name[i] = where->owns_name[place];
        where->owns_name[place] = false;
    }
}

void listeners_set_blocking(const struct listeners *l)
{
    for (size_t i = 0; i < l->count; i++)
        (void)fcntl(l->fds[i], F_SETFL, l->epoll_fd >= 0 ? O_NONBLOCK : 0); /* cannot fail */
}

void listeners_close(struct listeners *l)
{
    for (size_t i = 0; i < l->count; i++) {
        close(l->fds[i]);
        if (l->owns_name[i] && l->addresses[i].sa.ss_family == AF_UNIX)
            unlink(((struct sockaddr_un *)&l->addresses[i].sa)->sun_path);
    }
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    *l = (struct listeners){.epoll_fd = -1};
}

static int accept_from(int fd, struct address *client)
{
    client->len = sizeof client->sa;
    int got =
        accept4(fd, (struct sockaddr *)&client->sa, &client->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (got >= 0)
        address_print(client);
    return got;
}

int listeners_accept(const struct listeners *l, struct address *client)
{
    if (l->epoll_fd < 0)
        return accept_from(l->fds[0], client);
    for (;;) {
        struct epoll_event e;
        int n = epoll_wait(l->epoll_fd, &e, 1, -1);
        if (n < 0)
            return -1;
        int fd = accept_from(l->fds[e.data.u32], client);
        if (fd >= 0 || errno != EAGAIN) /* EAGAIN: another worker was faster */
            return fd;
    }
}
