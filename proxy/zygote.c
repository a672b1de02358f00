/* SPDX-License-Identifier: ISC */
#include "proxy/zygote.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/child.h"
#include "proxy/pool.h"
#include "proxy/title.h"
#include "proxy/worker.h"

enum {
    ANSWER_SECONDS = 10,
    NOTES_MAX = 250, /* of one order; the dead beyond that are noted with the next */
};

struct zygote_notes {
    atomic_uint count;
    struct zygote_note items[NOTES_MAX];
};

/* ---- the process itself ---- */

struct life {
    struct pool *pool;
    struct zygote_notes *notes;
    int fd; /* to the master */
    pid_t self;
};

static void take_note(struct zygote_notes *notes, struct zygote_note note)
{
    unsigned n = atomic_load(&notes->count);
    notes->items[n] = note;
    atomic_store(&notes->count, n + 1);
}

/* First noted, then buried: who is not buried is the master's when we end. */
static void note_the_dead(struct zygote_notes *notes)
{
    siginfo_t dead = {0};
    while (atomic_load(&notes->count) < NOTES_MAX - ZYGOTE_BATCH &&
           waitid(P_ALL, 0, &dead, WEXITED | WNOHANG | WNOWAIT) == 0 && dead.si_pid != 0) {
        int status = dead.si_code == CLD_EXITED ? W_EXITCODE(dead.si_status, 0)
                                                : W_EXITCODE(0, dead.si_status);
        take_note(notes,
                  (struct zygote_note){.what = ZYGOTE_DEAD, .pid = dead.si_pid, .status = status});
        (void)waitpid(dead.si_pid, NULL, 0);
        dead.si_pid = 0;
    }
}

/* 0, or the errno of the fork. */
static int fork_worker(const struct life *l, int slot)
{
    pid_t pid = fork();
    if (pid == 0) {
        close(l->fd);
        worker_born(l->pool, slot, l->self);
    }
    if (pid < 0)
        return errno;
    take_note(l->notes, (struct zygote_note){.what = ZYGOTE_BORN, .pid = pid, .slot = slot});
    return 0;
}

static bool obey(const struct life *l, const struct zygote_order *order)
{
    int error = 0;
    note_the_dead(l->notes);
    for (uint32_t i = 0; i < order->count && error == 0; i++)
        error = fork_worker(l, order->slots[i]);
    return send(l->fd, &error, sizeof error, MSG_NOSIGNAL) == sizeof error;
}

_Noreturn static void live(const struct life *l, const struct jail *jail, pid_t master)
{
    struct zygote_order order;
    title_set("zygote", l->pool->service->name);
    worker_enter_jail_to_fork(l->pool, jail, l->fd);
    /* Workers must not have the notes, and the master may have ended before we had asked to be
     * told. */
    if (madvise(l->notes, sizeof *l->notes, MADV_DONTFORK) != 0 || getppid() != master)
        _exit(0);
    for (;;) {
        ssize_t n = recv(l->fd, &order, sizeof order, 0);
        bool ok = n == sizeof order && order.count <= ZYGOTE_BATCH && obey(l, &order);
        if (!ok && (n >= 0 || errno != EINTR))
            _exit(0);
    }
}

/* ---- the master ---- */

bool zygote_is_wanted(const struct pool *pool)
{
    return pool->service->identity != IDENTITY_TRANSPARENT;
}

static struct zygote_notes *create_notes(void)
{
    void *p = mmap(NULL, sizeof(struct zygote_notes), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED ? p : NULL;
}

static bool start(struct zygote *z, struct pool *pool, const struct jail *jail, int pair[2])
{
    const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    const pid_t master = getpid();
    if ((z->notes = create_notes()) == NULL ||
        setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        return false;
    z->pid = fork();
    if (z->pid == 0) {
        const struct life l = {.pool = pool, .notes = z->notes, .fd = pair[1], .self = getpid()};
        close(pair[0]);
        live(&l, jail, master);
    }
    return z->pid > 0 && madvise(z->notes, sizeof *z->notes, MADV_DONTFORK) == 0;
}

bool zygote_start(struct zygote *z, struct pool *pool, const struct jail *jail)
{
    int pair[2];
    *z = (struct zygote){.fd = -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    z->fd = pair[0];
    bool ok = start(z, pool, jail, pair);
    int error = errno;
    close(pair[1]);
    if (!ok)
        zygote_end(z);
    errno = error;
    return ok;
}

/* EINTR comes when we were stopped, without any handler. */
static bool hear_that_it_is_done(int fd, int *error)
{
    ssize_t n;
    do
        n = recv(fd, error, sizeof *error, 0);
    while (n < 0 && errno == EINTR);
    return n == sizeof *error;
}

bool zygote_ask(struct zygote *z, const struct zygote_order *order, int *error)
{
    atomic_store(&z->notes->count, 0);
    z->heard = 0;
    if (send(z->fd, order, sizeof *order, MSG_NOSIGNAL) == sizeof *order &&
        hear_that_it_is_done(z->fd, error))
        return true;
    (void)kill(z->pid, SIGKILL);
    (void)waitpid(z->pid, &z->status, 0);
    z->pid = 0;
    return false;
}

bool zygote_hear(struct zygote *z, struct zygote_note *note)
{
    if (z->heard >= atomic_load(&z->notes->count) || z->heard >= NOTES_MAX)
        return false;
    *note = z->notes->items[z->heard++];
    return true;
}

void zygote_end(struct zygote *z)
{
    if (z->pid > 0)
        (void)kill(z->pid, SIGKILL);
    z->pid = 0;
    child_close(&z->fd);
    if (z->notes != NULL)
        munmap(z->notes, sizeof *z->notes);
    z->notes = NULL;
}
