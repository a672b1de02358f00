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
#include "proxy/original.h"
#include "proxy/spawner.h"

enum { RETRY_MS = 10 };
#include "proxy/transparent.h"

static void clear_port(struct address *a)
{
    if (a->sa.ss_family == AF_INET)
        ((struct sockaddr_in *)&a->sa)->sin_port = 0;
    else if (a->sa.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&a->sa)->sin6_port = 0;
}

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
    clear_port(&b->local);
    return true;
}

bool backends_resolve(struct backends *b, const struct service *s, char *error, size_t size)
{
    char reason[200];
    *b = (struct backends){0};
    if (s->exec != NULL) {
        b->program = true;
        b->count = 1;
        snprintf(b->addresses[0].text, sizeof b->addresses[0].text, "exec:%s", s->exec);
        return true;
    }
    if (s->redirection == REDIRECTION_DESTINATION)
        return original_ports(b, s, error, size) && resolve_local(b, s, error, size);
    for (size_t i = 0; i < s->connect.count; i++) {
        const struct value *v = &s->connect.items[i];
        if (b->count == BACKENDS_MAX) {
            snprintf(error, size, "%s: connect: more than %d addresses", v->where, BACKENDS_MAX);
            return false;
        }
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

static int connect_tcp(int fd, const struct address *source, const struct address *a,
                       int64_t deadline, int cancel_fd)
{
    const int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        return errno;
    if (source->len > 0 && a->sa.ss_family == source->sa.ss_family &&
        bind(fd, (const struct sockaddr *)&source->sa, source->len) != 0)
        return errno;
    if (connect(fd, (const struct sockaddr *)&a->sa, a->len) == 0)
        return 0;
    return errno == EINPROGRESS ? wait_connected(fd, deadline, cancel_fd) : errno;
}

static int open_socket(const struct disguise *as, const struct address *source, int family)
{
    if (as == NULL)
        return socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (source->sa.ss_family == family)
        return transparent_take(as->sockets, family);
    errno = EAFNOSUPPORT; /* never in our own name: the backend would take the client for us */
    return -1;
}

/* 0 and a connected, non-blocking descriptor, or an errno. */
static int connect_one(const struct disguise *as, const struct address *source,
                       const struct address *a, int64_t deadline, int cancel_fd, int *out)
{
    int fd = open_socket(as, source, a->sa.ss_family);
    if (fd < 0)
        return errno;
    int error = a->sa.ss_family == AF_UNIX ? connect_path(fd, a, deadline)
                                           : connect_tcp(fd, source, a, deadline, cancel_fd);
    if (error != 0)
        close(fd);
    else
        *out = fd;
    return error;
}

static const char *explain(int error, const struct disguise *as)
{
    return as != NULL && error == EAFNOSUPPORT
               ? "the client's address is not of this kind (IPv4, IPv6)"
               : strerror(error);
}

int backends_connect(const struct backends *b, const struct disguise *as, unsigned first,
                     unsigned seconds, int cancel_fd, const struct address **chosen, char *error,
                     size_t size)
{
    struct address source = as != NULL ? address_unmapped(as->client) : b->local;
    size_t used = 0;
    error[0] = '\0';
    clear_port(&source);
    for (size_t i = 0; i < b->count; i++) {
        const struct address *a = &b->addresses[(first + i) % b->count];
        int fd = -1;
        int r = connect_one(as, &source, a, wire_deadline(seconds), cancel_fd, &fd);
        if (r == 0) {
            *chosen = a;
            return fd;
        }
        int n = snprintf(error + used, size - used, "%sbackend %s: %s", i > 0 ? "; " : "", a->text,
                         explain(r, as));
        used = n > 0 && used + (size_t)n < size ? used + (size_t)n : size - 1;
        if (r == ECANCELED)
            break;
    }
    return -1;
}

/* ---- programs ---- */

/* The queue may be full, or too many descriptors on their way (ETOOMANYREFS): both pass. */
static int send_request(int request_fd, const struct spawn_request *request, const int fds[2],
                        int64_t deadline, int cancel_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)request, .iov_len = sizeof *request};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    control.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(2 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), fds, 2 * sizeof(int));
    while (sendmsg(request_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        struct pollfd nothing[1];
        if (errno != EAGAIN && errno != ETOOMANYREFS && errno != ENOBUFS && errno != EINTR)
            return errno;
        if (wire_now() >= deadline)
            return ETIMEDOUT;
        if (wire_poll(nothing, 0, cancel_fd, wire_now() + RETRY_MS) == WIRE_CANCELLED)
            return ECANCELED;
    }
    return 0;
}

/* 0 when the program runs, or an errno. */
static int read_answer(int line_fd, int64_t deadline, int cancel_fd)
{
    struct pollfd fds[2] = {{.fd = line_fd, .events = POLLIN}};
    struct spawn_answer answer;
    switch (wire_poll(fds, 1, cancel_fd, deadline)) {
    case WIRE_OK:
        break;
    case WIRE_TIMEOUT:
        return ETIMEDOUT;
    case WIRE_CANCELLED:
        return ECANCELED;
    default:
        return errno;
    }
    ssize_t n = recv(line_fd, &answer, sizeof answer, 0);
    if (n == 0)
        return ECONNREFUSED; /* refused, or the spawner died: its log line says which */
    return n == sizeof answer ? answer.error : EPROTO;
}

/* [0] of each pair stays here, [1] is for the other side. */
static int ask_spawner(int request_fd, const struct session_facts *facts, int stream[2],
                       int line[2], int64_t deadline, int cancel_fd)
{
    struct spawn_request request;
    const int theirs[2] = {stream[1], line[1]};
    memset(&request, 0, sizeof request);
    request.type = SPAWN_PROGRAM;
    request.facts = *facts;
    int error = fcntl(stream[0], F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
    if (error == 0)
        error = send_request(request_fd, &request, theirs, deadline, cancel_fd);
    close(stream[1]); /* so that the program's end is seen here, and the spawner's */
    close(line[1]);
    return error != 0 ? error : read_answer(line[0], deadline, cancel_fd);
}

int backends_start_program(const struct backends *b, int request_fd,
                           const struct session_facts *facts, unsigned seconds, int cancel_fd,
                           int *line_fd, char *error, size_t size)
{
    int stream[2] = {-1, -1}, line[2] = {-1, -1}, r;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) != 0) {
        r = errno;
    } else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) != 0) {
        r = errno;
        close(stream[1]);
    } else {
        r = ask_spawner(request_fd, facts, stream, line, wire_deadline(seconds), cancel_fd);
    }
    if (r == 0) {
        *line_fd = line[0];
        return stream[0];
    }
    snprintf(error, size, "backend %s: %s", b->addresses[0].text, strerror(r));
    if (stream[0] >= 0)
        close(stream[0]);
    if (line[0] >= 0)
        close(line[0]);
    return -1;
}
