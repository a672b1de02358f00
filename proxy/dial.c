/* SPDX-License-Identifier: ISC */
#include "proxy/dial.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum { NOBODY = -1 };

struct race {
    struct dial *dial;
    size_t started;
    int fds[DIAL_MAX]; /* of those that have started; -1: it has failed */
    int64_t deadlines[DIAL_MAX];
    int64_t next_at; /* when the next one starts */
};

/* ---- the order ---- */

/* The next address of the family (or, `other`: of another one) at or behind *at; `count`: none. */
static size_t find_next(const struct address *addresses, size_t count, size_t first, size_t at,
                        int family, bool other)
{
    while (at < count && (addresses[(first + at) % count].sa.ss_family == family) == other)
        at++;
    return at;
}

void dial_order(struct dial *d, const struct address *addresses, size_t count, size_t first)
{
    int family = addresses[first].sa.ss_family;
    size_t at[2] = {0, 0}; /* where the search for the one kind and for the other goes on */
    bool other = false;
    assert(count <= DIAL_MAX);
    for (d->count = 0; d->count < count; other = !other) {
        size_t n = find_next(addresses, count, first, at[other], family, other);
        at[other] = n + 1;
        if (n < count)
            d->to[d->count++] = &addresses[(first + n) % count];
    }
}

/* ---- the race ---- */

/* Whoever fails makes room for the next at once. */
static void give_up(struct race *r, size_t n, int error)
{
    if (r->fds[n] >= 0)
        close(r->fds[n]);
    r->fds[n] = -1;
    r->dial->errors[n] = error;
    r->next_at = 0;
}

/* 0: connected; EINPROGRESS, or another errno. */
static int begin_connecting(int fd, const struct address *to)
{
    const int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        connect(fd, (const struct sockaddr *)&to->sa, to->len) != 0)
        return errno;
    return 0;
}

/* Its number if it is connected at once, else NOBODY. */
static int start_next(struct race *r)
{
    struct dial *d = r->dial;
    size_t n = r->started++;
    r->next_at = wire_now() + DIAL_DELAY_MS;
    r->deadlines[n] = wire_deadline(d->seconds);
    if (r->deadlines[n] > d->deadline)
        r->deadlines[n] = d->deadline;
    r->fds[n] = d->open(d->ctx, d->to[n]->sa.ss_family);
    int error = r->fds[n] < 0 ? errno : begin_connecting(r->fds[n], d->to[n]);
    if (error == 0)
        return (int)n;
    if (error != EINPROGRESS)
        give_up(r, n, error);
    return NOBODY;
}

static bool any_going(const struct race *r)
{
    for (size_t n = 0; n < r->started; n++)
        if (r->fds[n] >= 0)
            return true;
    return false;
}

static void give_all_up(struct race *r, int error)
{
    for (size_t n = 0; n < r->started; n++)
        if (r->fds[n] >= 0)
            give_up(r, n, error);
}

static int socket_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

/* The first that is connected, or NOBODY; those that have failed are given up. */
static int look(struct race *r, const struct pollfd *fds)
{
    for (size_t n = 0; n < r->started; n++) {
        if (r->fds[n] < 0)
            continue;
        int error = 0;
        if (fds[n].revents != 0)
            error = socket_error(r->fds[n]);
        else if (wire_now() >= r->deadlines[n])
            error = ETIMEDOUT;
        else
            continue;
        if (error == 0)
            return (int)n;
        give_up(r, n, error);
    }
    return NOBODY;
}

/* Until one of them has news, or it is time for the next. */
static int wait_for_news(struct race *r, bool *cancelled)
{
    struct pollfd fds[DIAL_MAX + 1];
    int64_t until = r->started < r->dial->count ? r->next_at : WIRE_FOREVER;
    for (size_t n = 0; n < r->started; n++) {
        fds[n] = (struct pollfd){.fd = r->fds[n], .events = POLLOUT}; /* -1 is passed over */
        if (r->fds[n] >= 0 && r->deadlines[n] < until)
            until = r->deadlines[n];
    }
    switch (wire_poll(fds, r->started, r->dial->cancel_fd, until)) {
    case WIRE_OK:
    case WIRE_TIMEOUT:
        return look(r, fds);
    case WIRE_CANCELLED:
        *cancelled = true;
        give_all_up(r, ECANCELED);
        return NOBODY;
    default:
        give_all_up(r, errno);
        return NOBODY;
    }
}

int dial_run(struct dial *d, size_t *winner)
{
    struct race r = {.dial = d};
    bool cancelled = false;
    int won = NOBODY, fd = -1;
    for (size_t n = 0; n < d->count; n++)
        d->errors[n] = 0;
    while (won == NOBODY && !cancelled) {
        if (r.started < d->count && wire_now() >= r.next_at)
            won = start_next(&r);
        else if (any_going(&r))
            won = wait_for_news(&r, &cancelled);
        else
            break;
    }
    if (won == NOBODY)
        return -1;
    *winner = (size_t)won;
    fd = r.fds[won];
    for (size_t n = 0; n < r.started; n++)
        if (r.fds[n] >= 0 && r.fds[n] != fd)
            close(r.fds[n]);
    return fd;
}
