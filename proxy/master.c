/* SPDX-License-Identifier: ISC */
#include "proxy/master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/child.h"
#include "proxy/log.h"
#include "proxy/master_inner.h"
#include "proxy/pidfile.h"
#include "proxy/title.h"

enum {
    STOP_SECONDS = 15, /* for the service manager: the end beyond TIMEOUTdrain */
    GOODBYE_MS = 3000, /* for sessions that were told to end */
    RESIGNAL_MS = 100, /* a signal can come just before accept(2): it is sent again */
};

/* ---- running ---- */

static void list_slot(const struct pool *p, int number)
{
    const struct slot *s = &p->stats->slots[number];
    char peer[STATS_PEER];
    uint64_t ms = (uint64_t)wire_now() - (uint64_t)s->since;
    if (atomic_load(&s->state) == SLOT_BUSY)
        log_notice("service=%s worker=%d client=%s seconds=%llu", p->service->name, (int)s->pid,
                   stats_peer(p->stats, number, peer), (unsigned long long)(ms / 1000));
}

static void list_generation(const struct generation *g, const char *age)
{
    for (size_t i = 0; i < g->n_pools; i++) {
        const struct pool *p = &g->pools[i];
        log_notice("service=%s%s idle=%u busy=%u sessions=%llu", p->service->name, age,
                   atomic_load(&p->stats->idle), atomic_load(&p->stats->busy),
                   (unsigned long long)atomic_load(&p->stats->sessions));
        for (size_t n = 0; n < p->n_slots; n++)
            list_slot(p, (int)n);
    }
}

static void list_sessions(const struct master *m)
{
    list_generation(m->current, "");
    for (const struct generation *g = m->retired; g != NULL; g = g->next)
        list_generation(g, " (before the reload)");
}

/* Returns the signal that asks to stop, or 0. */
static int take_signal(struct master *m)
{
    struct signalfd_siginfo info;
    if (read(m->signal_fd, &info, sizeof info) != sizeof info)
        return 0;
    switch (info.ssi_signo) {
    case SIGTERM:
    case SIGINT:
        return (int)info.ssi_signo;
    case SIGHUP:
        master_reload(m);
        return 0;
    case SIGUSR1:
        master_reopen_log(m);
        return 0;
    case SIGUSR2:
        list_sessions(m);
        return 0;
    default:
        return 0;
    }
}

static unsigned count_sessions(const struct generation *g)
{
    unsigned n = 0;
    for (size_t i = 0; i < g->n_pools; i++)
        n += atomic_load(&g->pools[i].stats->busy);
    return n;
}

static unsigned count_all_sessions(const struct master *m)
{
    unsigned n = count_sessions(m->current);
    for (const struct generation *g = m->retired; g != NULL; g = g->next)
        n += count_sessions(g);
    return n;
}

/* Waits for something to do, at most `ms`; `calm` tells that there was nothing. Returns a signal
 * that asks to stop, or 0. */
static int wait_for_work(struct master *m, int ms, bool *calm)
{
    uint64_t count;
    struct pollfd fds[] = {{.fd = m->signal_fd, .events = POLLIN},
                           {.fd = m->common.notify_fd, .events = POLLIN},
                           {.fd = m->accuse_end, .events = POLLIN}};
    notify_tick(&m->notify, count_all_sessions(m));
    *calm = poll(fds, sizeof fds / sizeof *fds, notify_wait(&m->notify, ms)) <= 0;
    if (*calm)
        return 0;
    if (fds[2].revents != 0)
        master_hear_accusations(m);
    if (fds[1].revents != 0 && read(m->common.notify_fd, &count, sizeof count) < 0)
        return 0;
    return fds[0].revents != 0 ? take_signal(m) : 0;
}

static void serve(struct master *m)
{
    int stop;
    bool calm = true;
    do {
        master_reap(m);
        master_look_after_keepers(m);
        master_keep_helpers(m);
        master_tick(m);
        master_drop_unused(m);
        master_keep_spares(m, calm);
        master_tell_news_when_true(m);
        stop = wait_for_work(m, m->short_of_slots ? MASTER_SHORT_MS : MASTER_TICK_MS, &calm);
    } while (stop == 0);
    master_tell_news(m);
    log_notice("stopping on %s", strsignal(stop));
}

/* ---- stopping ---- */

/* Waits for all workers, until the deadline or another signal to stop. */
static bool wait_for_workers(struct master *m, int64_t deadline)
{
    bool calm;
    while (master_has_workers(m, NULL, NULL) && wire_now() < deadline) {
        master_signal_idle(m);
        if (wait_for_work(m, RESIGNAL_MS, &calm) != 0)
            return false;
        master_reap(m);
        master_look_after_keepers(m);
        master_look_after_old_keepers(m);
    }
    return !master_has_workers(m, NULL, NULL);
}

static void end_sessions(const struct master *m)
{
    const struct itimerspec now_and_again = {.it_value.tv_nsec = 1, .it_interval.tv_nsec = 1000000};
    if (timerfd_settime(m->common.cancel_fd, 0, &now_and_again, NULL) != 0)
        log_error_errno("cancelling");
}

/* Sessions may end by themselves for TIMEOUTdrain, then they are told goodbye. */
static void drain(struct master *m)
{
    m->draining = true;
    generation_close(m->current);
    master_signal_all(m, SIGTERM);
    if (wait_for_workers(m, wire_now() + (int64_t)m->current->config->timeout_drain * 1000))
        return;
    log_notice("%u sessions are told to end", count_all_sessions(m));
    end_sessions(m);
    if (wait_for_workers(m, wire_now() + GOODBYE_MS))
        return;
    master_signal_all(m, SIGKILL);
    (void)wait_for_workers(m, wire_now() + GOODBYE_MS);
}

/* ---- setting up and taking down ---- */

/* cancel_fd is not a pipe, whose end would also tell of the master's: sessions outlive that. It is
 * a timer, because workers may set none: one that has gone astray can neither cancel the sessions
 * of all the others nor, by reading, keep them from hearing that they are. */
static bool prepare_common(struct common *c, int *accuse_end, struct activation *handed,
                           bool background, char *error, size_t size)
{
    int accuse[2] = {-1, -1};
    *c = (struct common){.handed = handed, .background = background};
    c->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->cancel_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    bool ok = c->notify_fd >= 0 && c->cancel_fd >= 0 && pipe2(accuse, O_CLOEXEC | O_NONBLOCK) == 0;
    c->accuse_fd = accuse[1];
    *accuse_end = accuse[0];
    if (!ok) {
        snprintf(error, size, "%s", strerror(errno));
        return false;
    }
    if (!tls_global_init(error, size))
        return false;
    if (ticket_key_make(&c->ticket_key) == 0)
        return true;
    snprintf(error, size, "no random numbers for the ticket key");
    return false;
}

bool master_check(struct config *c)
{
    struct common common;
    char error[1024];
    int accuse_end;
    struct generation *g = NULL;
    if (prepare_common(&common, &accuse_end, NULL, false, error, sizeof error))
        g = generation_create(c, &common, error, sizeof error);
    struct tls_memory memory = {0};
    bool ok = g != NULL && tls_memory_read(&memory, c, FIRST_USE_CLAIMS, NULL, error, sizeof error);
    if (!ok)
        log_error("%s", error);
    tls_memory_finish(&memory, NULL);
    generation_destroy(g, true);
    return ok;
}

static void announce(const struct generation *g)
{
    for (size_t i = 0; i < g->n_pools; i++) {
        const struct pool *p = &g->pools[i];
        for (size_t n = 0; n < p->listeners.count; n++)
            log_notice("service=%s listening on %s for %s", p->service->name,
                       p->listeners.addresses[n].text, p->backends.addresses[0].text);
    }
}

static bool block_signals(struct master *m)
{
    static const int wanted[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        sigaddset(&set, wanted[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return m->signal_fd >= 0;
}

static void tell_ready(int ready_fd)
{
    log_notice("ready, GnuTLS %s", tls_library_version());
    if (ready_fd < 0)
        return;
    if (write(ready_fd, "", 1) < 0)
        log_warn_errno("the starting process is gone");
    close(ready_fd);
}

/* Everything up to serving. The exit status, 0 when it is done. */
static int set_up(struct master *m, struct config *c, struct activation *handed, bool background,
                  char *error, size_t size)
{
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* of workers whose zygote has ended */
    signal(SIGPIPE, SIG_IGN);
    m->directory_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    m->pid_file = c->pid_file != NULL ? memory_strdup(c->pid_file) : NULL;
    m->ticket_born = wire_now();
    if (!prepare_common(&m->common, &m->accuse_end, handed, background, error, size)) {
        master_discard_config(c);
        return EX_OSERR;
    }
    m->common.memory = &m->tls_memory;
    m->current = generation_create(c, &m->common, error, size);
    if (m->current == NULL ||
        !tls_memory_read(&m->tls_memory, c, FIRST_USE_CLAIMS, NULL, error, size))
        return EX_CONFIG;
    if (!block_signals(m)) { /* before the pid file invites them */
        snprintf(error, size, "signals: %s", strerror(errno));
        return EX_OSERR;
    }
    notify_open(&m->notify);
    if (m->pid_file != NULL && (m->pid_fd = pidfile_write(m->pid_file, error, size)) < 0)
        return EX_OSERR;
    return generation_listen(m->current, NULL, error, size) ? 0 : EX_OSERR;
}

static void take_down(struct master *m)
{
    while (m->old_keys != NULL) {
        struct keyset *next = m->old_keys->next;
        keyset_destroy(m->old_keys, true);
        m->old_keys = next;
    }
    while (m->retired != NULL) {
        struct generation *next = m->retired->next;
        generation_destroy(m->retired, true);
        m->retired = next;
    }
    generation_destroy(m->current, true);
    notify_close(&m->notify);
    child_close(&m->common.notify_fd);
    child_close(&m->common.cancel_fd);
    child_close(&m->common.accuse_fd);
    child_close(&m->accuse_end);
    child_close(&m->signal_fd);
    child_close(&m->directory_fd);
    memory_free_unshared(m->children, m->max_children * sizeof *m->children);
    if (m->pid_file != NULL) /* last: who waits for our end looks at this file */
        pidfile_remove(m->pid_file, &m->pid_fd);
    free(m->pid_file);
    tls_memory_finish(&m->tls_memory, NULL);
}

int master_run(struct config *c, const char *file, struct activation *handed, int ready_fd)
{
    struct master m = {
        .file = file, .pid_fd = -1, .accuse_end = -1, .notify.fd = -1, .signal_fd = -1};
    char error[1024];

    title_set("master", NULL);
    int status = set_up(&m, c, handed, ready_fd >= 0, error, sizeof error);
    if (status == 0) {
        keyset_report(m.current->keys);
        announce(m.current);
        child_detach(m.common.background);
        programs_keep(m.current);
        resolver_keep(m.current);
        master_keep_spares(&m, true);
        tell_ready(ready_fd);
        notify_ready(&m.notify);
        serve(&m);
        notify_stopping(&m.notify, (unsigned)m.current->config->timeout_drain + STOP_SECONDS);
        drain(&m);
        master_remember(&m);
        log_notice("stopped");
    } else {
        log_error("%s", error);
    }
    take_down(&m);
    return status;
}
