/* SPDX-License-Identifier: ISC */
#include "proxy/zygote.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocols/wire.h"
#include "proxy/child.h"
#include "proxy/pool.h"
#include "proxy/title.h"
#include "proxy/worker.h"

enum { ANSWER_SECONDS = 10 };

/* ---- the process itself ---- */

static void hear_of_the_dead(struct zygote_answer *a)
{
    int status;
    pid_t pid;
    while (a->n_dead < ZYGOTE_BATCH && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
        a->dead[a->n_dead].pid = pid;
        a->dead[a->n_dead++].status = status;
    }
}

static void fork_workers(struct pool *pool, int fd, const struct zygote_order *order,
                         struct zygote_answer *a)
{
    const pid_t self = getpid();
    while (a->n_born < order->count) {
        pid_t pid = fork();
        if (pid == 0) {
            close(fd);
            worker_born(pool, order->slots[a->n_born], self);
        }
        if (pid < 0) {
            a->error = errno;
            return;
        }
        a->born[a->n_born++] = pid;
    }
}

_Noreturn static void live(struct pool *pool, const struct jail *jail, int fd, pid_t master)
{
    struct zygote_order order;
    char title[64];
    snprintf(title, sizeof title, "zygote %s", pool->service->name);
    title_set(title);
    worker_enter_jail_to_fork(pool, jail, fd);
    if (getppid() != master) /* it ended before we had asked to be told */
        _exit(0);
    while (recv(fd, &order, sizeof order, 0) == sizeof order && order.count <= ZYGOTE_BATCH) {
        struct zygote_answer answer = {0};
        hear_of_the_dead(&answer);
        fork_workers(pool, fd, &order, &answer);
        if (send(fd, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
            break;
    }
    _exit(0);
}

/* ---- the master ---- */

bool zygote_is_wanted(const struct pool *pool)
{
    return pool->service->identity != IDENTITY_TRANSPARENT;
}

bool zygote_start(struct zygote *z, struct pool *pool, const struct jail *jail)
{
    const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    const pid_t self = getpid();
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    pid_t pid =
        setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 ? fork() : -1;
    if (pid == 0) {
        close(pair[0]);
        live(pool, jail, pair[1], self);
    }
    int error = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        errno = error;
        return false;
    }
    *z = (struct zygote){.pid = pid, .fd = pair[0], .born = wire_now()};
    return true;
}

bool zygote_ask(struct zygote *z, const struct zygote_order *order, struct zygote_answer *answer,
                int *status)
{
    if (send(z->fd, order, sizeof *order, MSG_NOSIGNAL) == sizeof *order &&
        recv(z->fd, answer, sizeof *answer, 0) == sizeof *answer &&
        answer->n_born <= order->count && answer->n_dead <= ZYGOTE_BATCH)
        return true;
    pid_t pid = z->pid;
    zygote_end(z);
    *status = 0;
    (void)waitpid(pid, status, 0);
    return false;
}

void zygote_end(struct zygote *z)
{
    if (z->pid <= 0)
        return;
    (void)kill(z->pid, SIGKILL);
    child_close(&z->fd);
    z->pid = 0;
}
