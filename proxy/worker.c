/* SPDX-License-Identifier: ISC */
#include "proxy/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proxy/child.h"
#include "proxy/log.h"
#include "proxy/pace.h"
#include "proxy/session.h"
#include "proxy/title.h"

enum { MEMORY_MAX = 64 * 1024 * 1024 }; /* bytes; a session takes three, and twice a reply */

/* The signal that asks a worker to end. Its listeners are closed in the handler, so that a new
 * master can bind them while this one still serves a session. */
static struct {
    volatile sig_atomic_t is_worker; /* or what will have workers, and nothing to bring to an end */
    volatile sig_atomic_t stopping;
    struct listeners *volatile listeners;
    int cancel_fd; /* of a single session */
    unsigned drain_seconds;
} own;

static void close_listeners(const struct listeners *l)
{
    for (size_t i = 0; i < l->count; i++)
        close(l->fds[i]);
}

static void on_stop(int signal)
{
    int error = errno;
    (void)signal;
    if (!own.is_worker)
        _exit(0);
    if (!own.stopping) {
        own.stopping = 1;
        close_listeners(own.listeners);
    }
    errno = error;
}

/* ^C reaches the whole group; the master tells us. */
static void set_signals(struct listeners *listeners, bool is_worker)
{
    struct sigaction stop = {.sa_handler = on_stop};
    own.is_worker = is_worker;
    own.stopping = 0;
    own.listeners = listeners;
    child_default_signals();
    sigaction(SIGTERM, &stop, NULL);
}

/* A single session has a time to end by itself, then it is told goodbye. */
static void on_end_of_drain(int signal)
{
    int error = errno;
    (void)signal;
    if (own.cancel_fd >= 0)
        close(own.cancel_fd);
    own.cancel_fd = -1;
    errno = error;
}

static void on_stop_oneshot(int signal)
{
    if (own.drain_seconds > 0)
        alarm(own.drain_seconds);
    else
        on_end_of_drain(signal);
}

static void set_oneshot_signals(const struct oneshot *o)
{
    struct sigaction stop = {.sa_handler = on_stop_oneshot}, end = {.sa_handler = on_end_of_drain};
    own.cancel_fd = o->cancel_fd;
    own.drain_seconds = o->drain_seconds;
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGALRM, &end, NULL);
}

_Noreturn static void leave_open_jail(const struct pool *pool, const char *failed)
{
    log_error_errno("service=%s a worker could not be jailed and does not serve: %s",
                    pool->service->name, failed);
    _exit(JAIL_EXIT_OPEN);
}

/* `others` are descriptors beside those of every worker. */
static void enter_jail(struct pool *pool, const struct jail *jail, const int *others,
                       size_t n_others, bool forks)
{
    int keep[LISTENERS_MAX + 14 + TRANSPARENT_MAX];
    const struct transparent *t = &pool->transparent;
    size_t n = 0;
    log_part();
    if (pool->routes != NULL)
        route_book_renounce(pool->routes);
    while (n < n_others) {
        keep[n] = others[n];
        n++;
    }
    for (size_t i = 0; i < pool->listeners.count; i++)
        keep[n++] = pool->listeners.fds[i];
    keep[n++] = pool->listeners.epoll_fd;
    keep[n++] = pool->request_fd;
    keep[n++] = pool->spawn_fds[0];
    keep[n++] = pool->notify_fd;
    keep[n++] = pool->cancel_fd;
    keep[n++] = log_fd();
    keep[n++] = log_syslog_fd();
    keep[n++] = pool->walls.landlock_fd;
    for (size_t i = 0; i < t->count; i++)
        keep[n++] = t->sockets[i].fd;
    const struct descent descent = {
        .keep = keep,
        .n_keep = n,
        .no_chroot = pool->backends.any_path, /* it is reached by its name */
        .max_fds = pool->max_fds + (unsigned)t->count,
        .max_memory = sandbox_is_built() ? MEMORY_MAX + 2 * pool->policy.max_reply : 0,
        .forks = forks,
        .walls = &pool->walls};
    const char *failed = jail_enter(jail, &descent);
    if (failed != NULL)
        leave_open_jail(pool, failed);
}

void worker_enter_jail(struct pool *pool, const struct jail *jail, const struct oneshot *o)
{
    const int others[] = {
        o->fd, o->report_fd, o->stop_fd, o->spawner_stop_fd, o->resolver_stop_fd, o->cancel_fd};
    enter_jail(pool, jail, others, sizeof others / sizeof *others, false);
}

void worker_enter_jail_to_fork(struct pool *pool, const struct jail *jail, int fd)
{
    set_signals(&pool->listeners, false);
    enter_jail(pool, jail, &fd, 1, true);
}

/* A backend can be reached a second time after STARTTLS, also unasked: some take one EHLO only. */
static unsigned connections_per_session(const struct service *s)
{
    return s->protocol != NULL && s->implicit_tls != IMPLICIT_YES ? 2 : 1;
}

/* How many sessions this worker serves: as many as it has sockets for, if these must be special. */
static int prepare_sessions(struct pool *pool)
{
    const struct service *s = pool->service;
    unsigned times = connections_per_session(s), sessions = (unsigned)s->connections_per_worker;
    if (s->identity != IDENTITY_TRANSPARENT)
        return s->connections_per_worker;
    sessions = transparent_sessions(&pool->backends, times, sessions);
    if (transparent_open(&pool->transparent, &pool->backends, times, sessions))
        return (int)sessions;
    log_error_errno("service=%s identity = transparent: a worker cannot have its sockets", s->name);
    _exit(JAIL_EXIT_OPEN);
}

/* The master is asked for more workers when half of the spare ones are left, so that it forks
 * several at a time. */
static void tell_master(const struct pool *pool, unsigned idle)
{
    const uint64_t one = 1;
    if (idle <= (unsigned)pool->service->spare_workers / 2 &&
        write(pool->notify_fd, &one, sizeof one) < 0)
        return; /* EAGAIN: it has been told often enough */
}

static struct refusal refuse(const char *enhanced, const char *text)
{
    return (struct refusal){.code = 421, .enhanced = enhanced, .text = text, .reason = text};
}

static struct admittance judge(const struct pool *pool, unsigned number,
                               const unsigned char key[16], const struct address *client)
{
    const struct service *s = pool->service;
    struct admittance a = {0};
    a.comes_too_often =
        pace_is_exceeded(pool, pool->connections_rate, "maxConnectionsRate", client);
    if (a.comes_too_often)
        a.refusal = refuse("4.7.0", "Too many connections in a short time, try again later");
    else if (number > (unsigned)s->max_connections)
        a.refusal = refuse("4.3.2", "Too many connections, try again later");
    else if (s->max_connections_per_client > 0 &&
             stats_count_client(pool->stats, pool->n_slots, key) >
                 (unsigned)s->max_connections_per_client)
        a.refusal = refuse("4.3.2", "Too many connections from your address, try again later");
    return a;
}

struct arrival {
    struct pool *pool;
    int slot;
    unsigned number; /* among those that are served now */
};

/* The session counted as its peer's until it was known whose it is. */
static struct admittance admit(void *ctx, const struct address *client)
{
    const struct arrival *a = ctx;
    unsigned char key[16];
    address_client_key(client, key);
    stats_session_rename(a->pool->stats, a->slot, key, client->text);
    struct admittance result = judge(a->pool, a->number, key, client);
    if (result.refusal.code != 0)
        stats_session_leave(a->pool->stats, a->slot);
    return result;
}

/* Whose line is in the log has left its place. */
static void leave(void *ctx)
{
    const struct arrival *a = ctx;
    stats_session_leave(a->pool->stats, a->slot);
}

static void serve_one(struct pool *pool, int slot, int fd, const struct address *peer, bool last)
{
    struct arrival a = {.pool = pool, .slot = slot};
    const struct admission admission = {.ask = admit, .leave = leave, .ctx = &a, .slot = slot};
    unsigned char key[16];
    address_client_key(peer, key);
    a.number = stats_session_begin(pool->stats, slot, key, peer->text);
    tell_master(pool, atomic_load(&pool->stats->idle));
    session_run(pool, fd, peer, &admission);
    stats_session_end(pool->stats, slot, last || own.stopping ? SLOT_LEAVING : SLOT_IDLE);
}

/* Before the last session: whoever takes it over shall not have other clients, too, nor a hand on
 * the sockets that all accept from. The handler may have closed them a moment ago. */
static void leave_the_door(const struct pool *pool)
{
    static struct listeners none;
    own.listeners = &none;
    close_listeners(&pool->listeners);
    if (pool->listeners.epoll_fd >= 0)
        close(pool->listeners.epoll_fd);
}

/* Out of descriptors or memory: nothing is gained by asking again at once. */
static void rest(void)
{
    const struct timespec some = {.tv_nsec = 100000000};
    nanosleep(&some, NULL);
}

_Noreturn static void serve(struct pool *pool, int slot, int left, pid_t parent)
{
    bool told = false;
    if (getppid() != parent) /* it ended before we had asked to be told */
        _exit(0);
    while (left > 0 && !own.stopping) {
        struct address client;
        int fd = listeners_accept(&pool->listeners, &client);
        if (fd >= 0) {
            if (--left == 0)
                leave_the_door(pool);
            told = false;
            serve_one(pool, slot, fd, &client, left == 0);
        } else if (errno != EINTR && errno != ECONNABORTED && !own.stopping) {
            if (errno != EAGAIN && !told) /* EAGAIN: a reload, and we are to go at once */
                log_warn_errno("service=%s accept", pool->service->name);
            told = true; /* once a famine */
            rest();
        }
    }
    _exit(0);
}

_Noreturn void worker_main(struct pool *pool, int slot, const struct jail *jail, pid_t parent)
{
    set_signals(&pool->listeners, true);
    int sessions = prepare_sessions(pool);
    enter_jail(pool, jail, NULL, 0, false);
    title_set("worker", pool->service->name);
    serve(pool, slot, sessions, parent);
}

_Noreturn void worker_born(struct pool *pool, int slot, pid_t parent)
{
    own.is_worker = 1;
    const char *failed = jail_inherit(&pool->walls);
    if (failed != NULL)
        leave_open_jail(pool, failed);
    title_set("worker", pool->service->name); /* who is called so has all of its walls */
    serve(pool, slot, pool->service->connections_per_worker, parent);
}

void worker_serve_oneshot(struct pool *pool, const struct jail *jail, const struct oneshot *o)
{
    const int slot = 0;
    stats_open_slot(pool->stats, slot);
    set_signals(&pool->listeners, true);
    set_oneshot_signals(o);
    (void)prepare_sessions(pool);
    worker_enter_jail(pool, jail, o);
    serve_one(pool, slot, o->fd, o->client, true);
}
