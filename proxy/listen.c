/* SPDX-License-Identifier: ISC */
#include "proxy/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
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

/* Accepted sockets inherit it, which saves a call for each client. */
static bool set_nodelay(int fd, int family)
{
    const int on = 1;
    return family == AF_UNIX || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
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
    if ((family != AF_UNIX && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) ||
        !set_nodelay(fd, family) ||
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

/* ---- sockets that were handed to us ---- */

/* A socket for all IPv6 addresses is one for all IPv4 addresses as well, unless it says no. */
static bool serves_ipv4_too(const struct inherited *from)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&from->address.sa;
    int only = 1;
    socklen_t len = sizeof only;
    return in6->sin6_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) &&
           getsockopt(from->fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) == 0 && only == 0;
}

static bool covers(const struct inherited *from, const struct address *a)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&from->address.sa;
    if (strcmp(from->address.text, a->text) == 0)
        return true;
    return a->sa.ss_family == AF_INET && in->sin_addr.s_addr == htonl(INADDR_ANY) &&
           serves_ipv4_too(from) && in6->sin6_port == in->sin_port;
}

static bool has_accept_for(const struct service *s, const struct inherited *from)
{
    struct address list[LISTENERS_MAX];
    char error[256];
    for (size_t i = 0; i < s->accept.count; i++) {
        size_t n = address_resolve(s->accept.items[i].text, true, list, LISTENERS_MAX, error,
                                   sizeof error);
        for (size_t k = 0; k < n; k++)
            if (covers(from, &list[k]))
                return true;
    }
    return false;
}

static const struct service *find_owner(const struct config *c, const struct inherited *from)
{
    for (size_t i = 0; i < c->n_services; i++)
        if (!service_is_bundle(&c->services[i]) && strcasecmp(c->services[i].name, from->name) == 0)
            return &c->services[i];
    for (size_t i = 0; i < c->n_services; i++)
        if (!service_is_bundle(&c->services[i]) && has_accept_for(&c->services[i], from))
            return &c->services[i];
    return NULL;
}

static bool get_number(int fd, int option, int *out)
{
    socklen_t len = sizeof *out;
    return getsockopt(fd, SOL_SOCKET, option, out, &len) == 0;
}

static bool examine(struct inherited *from, char *error, size_t size)
{
    int type = 0, listening = 0;
    from->address.len = sizeof from->address.sa;
    if (getsockname(from->fd, (struct sockaddr *)&from->address.sa, &from->address.len) != 0)
        snprintf(from->address.text, sizeof from->address.text, "no socket");
    else
        address_print(&from->address);
    if (get_number(from->fd, SO_TYPE, &type) && type == SOCK_STREAM &&
        get_number(from->fd, SO_ACCEPTCONN, &listening) && listening)
        return true;
    snprintf(error, size,
             "descriptor %d (\"%s\", %s), which was handed to us, is not a listening stream "
             "socket: write ListenStream= and Accept=no in the socket unit; for Accept=yes there "
             "is ehlock --inetd",
             from->fd, from->name, from->address.text);
    return false;
}

bool listeners_share_out(struct activation *a, const struct config *c, char *error, size_t size)
{
    for (size_t i = 0; i < a->count; i++) {
        struct inherited *from = &a->sockets[i];
        if (!examine(from, error, size))
            return false;
        from->service = find_owner(c, from);
        if (from->service != NULL)
            continue;
        snprintf(error, size,
                 "the socket \"%s\" on %s, which was handed to us, belongs to no service: write "
                 "FileDescriptorName= with the name of a section in the socket unit, or accept = "
                 "%s in the section",
                 from->name, from->address.text, from->address.text);
        return false;
    }
    return true;
}

static bool take_inherited(struct listeners *l, const struct inherited *from, char *error,
                           size_t size)
{
    if (l->count == LISTENERS_MAX) {
        snprintf(error, size, "[%s] has more than %d sockets", from->service->name, LISTENERS_MAX);
        return false;
    }
    int fd = fcntl(from->fd, F_DUPFD_CLOEXEC, ACTIVATION_FIRST_FD);
    if (fd < 0 || !set_nodelay(fd, from->address.sa.ss_family)) {
        snprintf(error, size, "the socket \"%s\" on %s: %s", from->name, from->address.text,
                 strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    l->addresses[l->count] = from->address;
    l->shared[l->count] = true;
    l->fds[l->count++] = fd;
    return true;
}

static bool was_handed_over(const struct activation *a, const struct service *s,
                            const struct address *address)
{
    for (size_t i = 0; i < a->count; i++)
        if (a->sockets[i].service == s && covers(&a->sockets[i], address))
            return true;
    return false;
}

/* ---- sockets of the generation before ---- */

static bool is_same(const struct address *a, const struct address *b)
{
    return a->len == b->len && memcmp(&a->sa, &b->sa, a->len) == 0;
}

/* The place of `a` among old listeners. */
static bool find_old(const struct address *a, const struct listener_sources *from,
                     struct listeners **where, size_t *place)
{
    for (size_t i = 0; i < from->n_old; i++) {
        for (size_t k = 0; k < from->old[i]->count; k++) {
            if (!is_same(a, &from->old[i]->addresses[k]))
                continue;
            *where = from->old[i];
            *place = k;
            return true;
        }
    }
    return false;
}

/* ---- all sockets of a service ---- */

static bool open_address(struct listeners *l, const struct address *a,
                         const struct listener_sources *from)
{
    struct listeners *where;
    size_t place;
    bool shared = find_old(a, from, &where, &place);
    int fd = shared             ? fcntl(where->fds[place], F_DUPFD_CLOEXEC, ACTIVATION_FIRST_FD)
             : from->n_old == 0 ? open_patiently(a)
                                : open_one(a);
    if (fd < 0)
        return false;
    l->addresses[l->count] = *a;
    l->owns_name[l->count] = !shared;
    l->fds[l->count++] = fd;
    return true;
}

/* The first mistakes that anybody makes. */
static const char *remedy_for(int error)
{
    switch (error) {
    case EADDRINUSE:
        return ": another program has it, perhaps the mail server: give that another port";
    case EACCES:
        return ": start ehlock as root, or with CAP_NET_BIND_SERVICE";
    case EADDRNOTAVAIL:
        return ": this machine has no such address";
    default:
        return "";
    }
}

static bool open_value(struct listeners *l, const struct service *s, const struct value *v,
                       const struct listener_sources *from, char *error, size_t size)
{
    struct address list[LISTENERS_MAX];
    size_t room = LISTENERS_MAX - l->count;
    if (room == 0) {
        snprintf(error, size, "%s: [%s] has more than %d sockets", v->where, s->name,
                 LISTENERS_MAX);
        return false;
    }
    size_t n = address_resolve(v->text, true, list, room, error, size);
    for (size_t i = 0; i < n; i++) {
        if (was_handed_over(from->handed, s, &list[i]) || open_address(l, &list[i], from))
            continue;
        snprintf(error, size, "%s: cannot listen on %s: %s%s", v->where, list[i].text,
                 strerror(errno), list[i].sa.ss_family != AF_UNIX ? remedy_for(errno) : "");
        return false;
    }
    return n > 0;
}

/* All workers wait on the one epoll descriptor, so that one of them is woken for a client. So they
 * do on a single socket that is not ours alone: whoever has it too decides whether it blocks. */
static bool watch_all(struct listeners *l, char *error, size_t size)
{
    if (l->count < 2 && !l->shared[0])
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

bool listeners_open(struct listeners *l, const struct service *s,
                    const struct listener_sources *from, char *error, size_t size)
{
    const struct activation *handed = from->handed;
    bool ok = true;
    *l = (struct listeners){.epoll_fd = -1};
    for (size_t i = 0; ok && i < handed->count; i++)
        ok = handed->sockets[i].service != s || take_inherited(l, &handed->sockets[i], error, size);
    for (size_t i = 0; ok && i < s->accept.count; i++)
        ok = open_value(l, s, &s->accept.items[i], from, error, size);
    if (ok && l->count == 0) {
        snprintf(error, size,
                 "%s: [%s] has nothing to listen on: write accept = [HOST:]PORT, or hand it a "
                 "socket named \"%s\"",
                 s->where, s->name, s->name);
        ok = false;
    }
    ok = ok && watch_all(l, error, size);
    if (!ok)
        listeners_close(l);
    return ok;
}

void listeners_take_names(struct listeners *l, const struct listener_sources *from)
{
    struct listeners *where;
    size_t place;
    for (size_t i = 0; i < l->count; i++) {
        if (l->owns_name[i] || !find_old(&l->addresses[i], from, &where, &place))
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
