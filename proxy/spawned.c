/* SPDX-License-Identifier: ISC */
#include "proxy/spawned.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocols/wire.h"
#include "proxy/child.h"
#include "proxy/spawner.h"

enum { RETRY_MS = 10 };

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
    int error = send_request(request_fd, &request, theirs, deadline, cancel_fd);
    close(stream[1]); /* so that the program's end is seen here, and the spawner's */
    close(line[1]);
    return error != 0 ? error : read_answer(line[0], deadline, cancel_fd);
}

int spawned_start(struct spawned *p, int request_fd, const struct session_facts *facts,
                  int64_t deadline, int cancel_fd)
{
    int stream[2] = {-1, -1}, line[2] = {-1, -1}, r;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, stream) != 0) {
        r = errno;
    } else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) != 0) {
        r = errno;
        close(stream[1]);
    } else {
        r = ask_spawner(request_fd, facts, stream, line, deadline, cancel_fd);
    }
    *p = (struct spawned){.stream_fd = stream[0], .line_fd = line[0]};
    if (r != 0)
        spawned_leave(p);
    return r;
}

void spawned_leave(struct spawned *p)
{
    child_close(&p->stream_fd);
    child_close(&p->line_fd);
}
