/* SPDX-License-Identifier: ISC */
#include "proxy/original.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The same number for IPv4 and IPv6; the kernel's headers for it cannot stand beside netinet/in.h.
 */
enum { ORIGINAL_DST = 80 };

bool original_ports(struct backends *b, const struct service *s, char *error, size_t size)
{
    char text[64], reason[200];
    b->redirected = true;
    for (size_t i = 0; i < s->connect.count; i++) {
        const struct value *v = &s->connect.items[i];
        struct address *a = &b->addresses[b->count];
        const char *colon = strrchr(v->text, ':'); /* behind the "*", as was checked */
        snprintf(text, sizeof text, "0.0.0.0%.40s", colon);
        if (b->count == BACKENDS_MAX)
            snprintf(error, size, "%s: connect: more than %d ports", v->where, BACKENDS_MAX);
        else if (address_resolve(text, false, a, 1, reason, sizeof reason) == 0)
            snprintf(error, size, "%s: connect: %s", v->where, reason);
        else {
            snprintf(a->text, sizeof a->text, "%s", v->text);
            b->entries[b->count++] = (unsigned char)i;
            continue;
        }
        return false;
    }
    return true;
}

bool original_listen(const struct listeners *l)
{
    const int on = 1;
    bool ok = true;
    for (size_t i = 0; i < l->count; i++)
        ok = (l->addresses[i].sa.ss_family == AF_INET6
                  ? setsockopt(l->fds[i], IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof on)
                  : setsockopt(l->fds[i], IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on)) == 0 &&
             ok;
    return ok;
}

/* ---- one connection ---- */

/* What the connection table has. False: it has nothing, so nobody has changed the destination. */
static bool ask_table(int fd, int family, struct address *out)
{
    *out = (struct address){.len = sizeof out->sa};
    if (getsockopt(fd, family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP, ORIGINAL_DST, &out->sa,
                   &out->len) != 0 ||
        out->sa.ss_family != family)
        return false;
    out->len = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    address_print(out);
    return true;
}

static bool is_any(const struct address *a)
{
    return a->sa.ss_family == AF_INET6
               ? IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&a->sa)->sin6_addr)
               : ((const struct sockaddr_in *)&a->sa)->sin_addr.s_addr == htonl(INADDR_ANY);
}

static bool same_host(const struct address *a, const struct address *b)
{
    char x[ADDRESS_HOST_MAX], y[ADDRESS_HOST_MAX];
    address_numeric(a, x);
    address_numeric(b, y);
    return strcmp(x, y) == 0;
}

/* A listener on all IPv6 addresses may have those of IPv4 as well, if it was handed to us. */
static bool listens_at(const struct address *listener, const struct address *to)
{
    return address_port(listener) == address_port(to) &&
           (is_any(listener) || same_host(listener, to));
}

static bool is_ours(const struct listeners *l, const struct address *to)
{
    for (size_t i = 0; i < l->count; i++)
        if (listens_at(&l->addresses[i], to))
            return true;
    return false;
}

static bool has_port(const struct backends *b, const struct address *to)
{
    for (size_t i = 0; i < b->count; i++)
        if (address_port(&b->addresses[i]) == address_port(to))
            return true;
    return false;
}

bool original_may_go(const struct backends *b, const struct address *to, char *reason, size_t size)
{
    if (address_is_local(to->text))
        snprintf(reason, size, "%s is this machine itself", to->text);
    else if (!has_port(b, to))
        snprintf(reason, size, "%s is on a port that connect does not have", to->text);
    else
        return true;
    return false;
}

bool original_find(int fd, const struct address *local, const struct backends *b,
                   const struct listeners *l, struct address *out, char *reason, size_t size)
{
    const struct address own = address_unmapped(local);
    if (!ask_table(fd, own.sa.ss_family, out))
        *out = own;
    if (!is_ours(l, out) && (l->count > 0 || strcmp(out->text, own.text) != 0))
        return original_may_go(b, out, reason, size);
    snprintf(reason, size,
             "%s was connected to directly: only connections that the packet filter redirects "
             "can be served here",
             out->text);
    return false;
}

/* To one of its own addresses the kernel goes out from just that. */
int original_connect(const struct backends *b, const struct address *to, unsigned seconds,
                     int cancel_fd, struct address *own, char *error, size_t size)
{
    struct backends one = *b;
    const struct address *chosen;
    const struct attempt how = {
        .seconds = seconds, .deadline = WIRE_FOREVER, .cancel_fd = cancel_fd};
    one.addresses[0] = *to;
    one.count = 1;
    int fd = backends_connect(&one, &how, &chosen, error, size);
    if (fd < 0 || (address_of_socket(fd, own) && !same_host(own, to)))
        return fd;
    close(fd);
    snprintf(error, size, "backend %s is this machine itself", to->text);
    return -1;
}
