/* SPDX-License-Identifier: ISC */
#include "proxy/master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/child.h"
#include "proxy/generation.h"
#include "proxy/log.h"
#include "proxy/notify.h"
#include "proxy/pidfile.h"
#include "proxy/title.h"
#include "proxy/tlsmemory.h"
#include "proxy/worker.h"

enum {
    TICK_MS = 1000,        /* the master looks after everything at least this often */
    AT_ONCE_MS = 500,      /* a worker that fails sooner after its fork ... */
    BACKOFF_MAX_MS = 8000, /* ... slows forking down, to this at the most */
    STOP_SECONDS = 15,     /* for the service manager: the end beyond TIMEOUTdrain */
    GOODBYE_MS = 3000,     /* for sessions that were told to end */
    RESIGNAL_MS = 100,     /* a signal can come just before accept(2): it is sent again */
    WORKING_BYTES = 16 * 1024 * 1024, /* for reading a configuration and certificates */
};

/* What the master knows of a worker. */
struct child {
    pid_t pid; /* 0: none */
    int slot;
    struct pool *pool;
    struct keyset *keys; /* those it was forked with */
    unsigned epoch;      /* the master's, then */
    int64_t born;
};

struct master {
    const char *file; /* the configuration */
    int directory_fd; /* where its relative names begin */
    char *pid_file;   /* NULL: none */
    int pid_fd;
    struct common common;
    struct notify notify; /* to the service manager */
    int signal_fd;
    int accuse_end; /* where keepers' accusations are read */
    bool draining;
    unsigned epoch; /* goes up when children lack something: the ticket key, the log */
    int64_t ticket_born, tick_due;
    struct generation *current;
    struct generation *retired; /* generations whose last sessions go on */
    struct keyset *old_keys;    /* keysets of the current generation that are given up */
    struct child *children;     /* as many as all generations may have */
    size_t n_children;          /* places up to the last one in use */
    size_t max_children;
    struct tls_memory tls_memory;
    char news[160];   /* told when it holds for every client; "": none */
    int64_t news_due; /* or then */
};

static int64_t now(void)
{
    return wire_now();
}

/* ---- workers ---- */

static struct child *free_place(struct master *m)
{
    for (size_t i = 0; i < m->n_children; i++)
        if (m->children[i].pid == 0)
            return &m->children[i];
    if (m->n_children == m->max_children) {
        m->max_children = 2 * m->max_children + 64;
        m->children = memory_resize(m->children, m->max_children * sizeof *m->children);
    }
    return &m->children[m->n_children++];
}

/* What only workers of this service have. */
static void share_secrets(struct pool *p, bool with_children)
{
    login_share(p->login, with_children);
    via_share(p->backends.via, with_children);
}

static bool fork_worker(struct master *m, struct pool *p)
{
    pid_t self = getpid();
    struct generation *g = p->generation;
    int slot = stats_take_slot(p->stats);
    if (slot < 0)
        return false;
    share_secrets(p, true);
    pid_t pid = fork();
    if (pid == 0)
        worker_main(p, slot, &g->jail, self);
    share_secrets(p, false);
    if (pid < 0) {
        log_error_errno("service=%s fork", p->service->name);
        stats_worker_dead(p->stats, slot);
        p->not_before = now() + TICK_MS;
        return false;
    }
    p->stats->slots[slot].pid = pid;
    *free_place(m) = (struct child){
        .pid = pid, .slot = slot, .pool = p, .keys = g->keys, .epoch = m->epoch, .born = now()};
    p->live++;
    g->live++;
    g->keys->users++;
    return true;
}

/* Several forks in a row disturb one session in a few, instead of each one a little: nothing is
 * done while more than half of the spare workers are there, unless there is nothing else to do.
 * Clients can take workers as fast as they are forked: the dead and the signals must have their
 * turn, too. */
static void keep_spares(struct master *m, struct pool *p, bool calm)
{
    unsigned spare = (unsigned)p->service->spare_workers;
    if (!calm && atomic_load(&p->stats->idle) > spare / 2)
        return;
    for (unsigned n = 0; n < spare && atomic_load(&p->stats->idle) < spare &&
                         p->live < pool_most_workers(p) && now() >= p->not_before;
         n++)
        if (!fork_worker(m, p))
            return;
}

static void keep_all_spares(struct master *m, bool calm)
{
    memory_close_gaps();
    for (size_t i = 0; !m->draining && i < m->current->n_pools; i++)
        keep_spares(m, &m->current->pools[i], calm);
}

/* A worker that fails at once would be replaced at once, for ever. */
static void slow_down(struct pool *p, const struct child *c, bool failed)
{
    if (!failed || now() - c->born > AT_ONCE_MS) {
        p->failures = 0;
        return;
    }
    int64_t pause = 100LL << (p->failures < 7 ? p->failures : 7);
    p->failures++;
    if (p->failures < 3)
        return;
    p->not_before = now() + (pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS);
    log_error("service=%s workers fail at once: the next is started in %lld ms", p->service->name,
              (long long)(pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS));
}

static void bury_worker(struct child *c, int status)
{
    struct pool *p = c->pool;
    bool crashed = WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM;
    bool failed = crashed || (WIFEXITED(status) && WEXITSTATUS(status) != 0);
    const char *peer = p->stats->slots[c->slot].peer;
    if (crashed)
        log_error("service=%s client=%s worker %d was killed by signal %d (%s)", p->service->name,
                  peer[0] != '\0' ? peer : "-", (int)c->pid, WTERMSIG(status),
                  strsignal(WTERMSIG(status)));
    else if (failed)
        log_error("service=%s client=%s worker %d ended with status %d", p->service->name,
                  peer[0] != '\0' ? peer : "-", (int)c->pid, WEXITSTATUS(status));
    slow_down(p, c, failed);
    stats_worker_dead(p->stats, c->slot);
    p->live--;
    p->generation->live--;
    c->keys->users--;
    c->pid = 0;
}

/* Takes it from the keyset it belongs to. False: one that had been told to end. */
static bool forget_keeper(struct master *m, pid_t pid)
{
    bool found = keyset_bury(m->current->keys, pid);
    for (struct keyset *k = m->old_keys; k != NULL && !found; k = k->next)
        found = keyset_bury(k, pid);
    for (struct generation *g = m->retired; g != NULL && !found; g = g->next)
        found = keyset_bury(g->keys, pid);
    return found;
}

static bool forget_resolver(struct master *m, pid_t pid, int status)
{
    bool found = resolver_bury(m->current, pid, status);
    for (struct generation *g = m->retired; g != NULL && !found; g = g->next)
        found = resolver_bury(g, pid, status);
    return found;
}

static bool forget_spawner(struct master *m, pid_t pid)
{
    bool found = programs_bury(m->current, pid);
    for (struct generation *g = m->retired; g != NULL && !found; g = g->next)
        found = programs_bury(g, pid);
    return found;
}

static void bury_keeper(struct master *m, pid_t pid, int status)
{
    if (forget_spawner(m, pid) || forget_resolver(m, pid, status) || !forget_keeper(m, pid))
        return;
    if (WIFSIGNALED(status))
        log_error("keeper %d was killed by signal %d (%s)", (int)pid, WTERMSIG(status),
                  strsignal(WTERMSIG(status)));
    else
        log_error("keeper %d ended with status %d", (int)pid, WEXITSTATUS(status));
}

static struct child *find_child(struct master *m, pid_t pid)
{
    for (size_t i = 0; i < m->n_children; i++)
        if (pid > 0 && m->children[i].pid == pid)
            return &m->children[i];
    return NULL;
}

static void reap(struct master *m)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *c = find_child(m, pid);
        if (c != NULL)
            bury_worker(c, status);
        else
            bury_keeper(m, pid, status);
    }
    while (m->n_children > 0 && m->children[m->n_children - 1].pid == 0)
        m->n_children--;
}

/* A keeper tells of a worker that asked for what nobody may ask for. */
static void hear_accusations(struct master *m)
{
    pid_t pid;
    while (read(m->accuse_end, &pid, sizeof pid) == sizeof pid) {
        const struct child *c = find_child(m, pid);
        if (c == NULL)
            continue;
        log_error("service=%s client=%s worker %d has gone astray and is ended",
                  c->pool->service->name, c->pool->stats->slots[c->slot].peer, (int)pid);
        kill(pid, SIGKILL);
    }
}

static bool is_idle(const struct child *c)
{
    return atomic_load(&c->pool->stats->slots[c->slot].state) == SLOT_IDLE;
}

static void signal_all(const struct master *m, int signal)
{
    for (size_t i = 0; i < m->n_children; i++)
        if (m->children[i].pid > 0)
            kill(m->children[i].pid, signal);
}

/* Whether it knows a configuration, certificates, a log that are not the current ones. */
static bool is_outdated(const struct master *m, const struct child *c)
{
    return c->pool->generation != m->current || c->keys != m->current->keys || c->epoch != m->epoch;
}

/* Those that wait for a client end, the others when their session has ended. */
static void signal_outdated(const struct master *m, bool only_idle)
{
    for (size_t i = 0; i < m->n_children; i++) {
        const struct child *c = &m->children[i];
        if (c->pid > 0 && is_outdated(m, c) && (!only_idle || is_idle(c)))
            kill(c->pid, SIGTERM);
    }
}

static void signal_idle(const struct master *m)
{
    for (size_t i = 0; i < m->n_children; i++)
        if (m->children[i].pid > 0 && is_idle(&m->children[i]))
            kill(m->children[i].pid, SIGTERM);
}

/* ---- news ---- */

static void tell_news(struct master *m)
{
    if (m->news[0] != '\0')
        log_notice("%s", m->news);
    m->news[0] = '\0';
}

/* A worker that has been told to end may have got a client in the same moment. Who reads that the
 * new is in force must not meet the old any more. */
static void tell_news_when_true(struct master *m)
{
    for (size_t i = 0; now() < m->news_due && i < m->n_children; i++)
        if (m->children[i].pid > 0 && is_outdated(m, &m->children[i]) && is_idle(&m->children[i]))
            return;
    tell_news(m);
}

__attribute__((format(printf, 2, 3))) static void keep_news(struct master *m, const char *format,
                                                            ...)
{
    va_list ap;
    tell_news(m);
    va_start(ap, format);
    vsnprintf(m->news, sizeof m->news, format, ap);
    va_end(ap);
    m->news_due = now() + TICK_MS;
}

/* ---- keys ---- */

static void set_keys_ready(struct master *m, bool ready)
{
    for (size_t i = 0; i < m->current->n_pools; i++)
        atomic_store(&m->current->pools[i].stats->keys_ready, ready);
}

/* The allocator ends a process that it cannot serve. Not this one. */
static bool has_memory(char *error, size_t size)
{
    if (memory_is_at_hand(WORKING_BYTES))
        return true;
    snprintf(error, size, "out of memory");
    return false;
}

static bool add_keeper(struct keyset *k, char *error, size_t size)
{
    return has_memory(error, size) && keyset_add_keeper(k, error, size);
}

/* New certificates for new workers; the old workers keep theirs and end. */
static bool renew_keys(struct master *m, char *error, size_t size)
{
    if (!has_memory(error, size))
        return false;
    memory_open_gaps();
    struct keyset *old = generation_renew_keys(m->current, error, size);
    if (old == NULL)
        return false;
    old->next = m->old_keys;
    m->old_keys = old;
    keyset_report(m->current->keys);
    keep_all_spares(m, true);
    signal_outdated(m, false);
    return true;
}

/* What fails would fail again at once, for ever. */
static bool may_try_again(struct keyset *k)
{
    if (now() < k->not_before)
        return false;
    k->not_before = now() + TICK_MS;
    return true;
}

/* All keepers are dead. One with the same keys goes on for everybody; if the files have changed,
 * or cannot be read, everything is read anew. */
static void replace_keeper(struct master *m)
{
    char error[1024];
    if (!may_try_again(m->current->keys))
        return;
    if (add_keeper(m->current->keys, error, sizeof error) || renew_keys(m, error, sizeof error)) {
        set_keys_ready(m, true);
        log_notice("there is a keeper again");
        return;
    }
    log_error("no keeper, so no new TLS sessions: %s", error);
    set_keys_ready(m, false);
}

static void look_after_keepers(struct master *m)
{
    char error[1024];
    if (m->current->keys->n_keepers == 0)
        replace_keeper(m);
    else if (keyset_feel_pressure(m->current->keys) &&
             !add_keeper(m->current->keys, error, sizeof error))
        log_warn("one keeper more was wanted: %s", error);
}

/* Sessions that began with old certificates may still be in their handshakes. */
static void look_after_old_keys(struct keyset *k)
{
    char error[1024];
    if (k->n_keepers == 0 && keyset_is_asked(k) && may_try_again(k) &&
        !add_keeper(k, error, sizeof error))
        log_error("sessions with the old certificates have no keeper: %s", error);
}

static void look_after_old_keepers(struct master *m)
{
    for (struct keyset *k = m->old_keys; k != NULL; k = k->next)
        look_after_old_keys(k);
    for (struct generation *g = m->retired; g != NULL; g = g->next)
        look_after_old_keys(g->keys);
}

static void look_for_new_files(struct master *m)
{
    char error[1024];
    if (!keyset_is_stale(m->current->keys))
        return;
    if (renew_keys(m, error, sizeof error))
        keep_news(m, "certificates have been read again, because files have changed");
    else
        log_error("certificates have changed and cannot be used, the old ones stay: %s", error);
}

static void remember_offers(struct master *m)
{
    for (size_t i = 0; i < m->current->n_pools; i++) {
        const struct pool *p = &m->current->pools[i];
        if (p->backends.redirected)
            continue; /* it would be a list of everybody's servers */
        for (size_t n = 0; p->destinations != NULL && n < p->destinations->count; n++)
            tls_memory_note(&m->tls_memory, p->service->name, p->destinations->items[n].name,
                            stats_take_offer(p->stats, n), time(NULL));
    }
    tls_memory_save(&m->tls_memory);
}

static void renew_ticket_key(struct master *m)
{
    if (now() - m->ticket_born < (int64_t)TICKET_KEY_SECONDS * 1000)
        return;
    m->ticket_born = now();
    if (ticket_key_make(&m->common.ticket_key) != 0)
        return;
    m->epoch++;
    signal_outdated(m, false);
}

/* Whoever writes to a log that is gone is replaced: the descriptors of a new one are inherited. */
static void replace_writers(struct master *m)
{
    char error[1024];
    m->epoch++;
    programs_reopen_log(m->current);
    resolver_stop(m->current); /* the next one inherits the log */
    for (struct generation *g = m->retired; g != NULL; g = g->next) {
        programs_reopen_log(g);
        resolver_stop(g);
    }
    if (renew_keys(m, error, sizeof error))
        return; /* keepers write as well */
    log_warn("the keepers have no other log: %s", error);
    signal_outdated(m, false);
}

static void reopen_log(struct master *m)
{
    if (log_reopen() == 0)
        replace_writers(m);
    else
        log_error_errno("the log file cannot be opened again");
}

static void look_for_syslog(struct master *m)
{
    if (!log_follow_syslog())
        return;
    replace_writers(m);
    keep_news(m, "there is a new syslogd");
}

/* ---- generations ---- */

/* What nobody uses any more goes. */
static void drop_unused(struct master *m)
{
    for (struct keyset **k = &m->old_keys; *k != NULL;) {
        struct keyset *old = *k;
        if (old->users > 0) {
            k = &old->next;
            continue;
        }
        *k = old->next;
        memory_open_gaps();
        keyset_destroy(old, false);
    }
    for (struct generation **g = &m->retired; *g != NULL;) {
        struct generation *old = *g;
        if (old->live > 0) {
            g = &old->next;
            continue;
        }
        *g = old->next;
        memory_open_gaps();
        generation_destroy(old, false);
    }
}

static struct log_settings log_settings_of(const struct config *c)
{
    return (struct log_settings){
        .level = c->log_level,
        .facility = c->log_facility,
        .ident = c->ident,
        .to_stderr = c->foreground != FOREGROUND_QUIET,
        .to_syslog = c->syslog && !(c->foreground == FOREGROUND_YES && log_stderr_is_journal()),
        .file = c->output,
        .overwrite = c->log_mode == LOG_OVERWRITE};
}

bool master_open_log(const struct config *c)
{
    const struct log_settings s = log_settings_of(c);
    return log_open(&s) == 0;
}

/* The same for a reload: nothing is emptied, and a daemon has no standard error. */
static bool adopt_log(const struct master *m, const struct config *c)
{
    struct log_settings s = log_settings_of(c);
    s.overwrite = false;
    s.to_stderr = s.to_stderr && !m->common.background;
    return log_open(&s) == 0;
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

static void discard_config(struct config *c)
{
    config_finish(c);
    free(c);
}

static struct config *read_config(const char *file, bool sockets)
{
    struct config *c = memory_alloc(sizeof *c);
    config_init(c);
    c->no_accept = sockets ? NO_ACCEPT_FINE : NO_ACCEPT_ERROR;
    if (config_read(c, file) && config_check(c))
        return c;
    discard_config(c);
    return NULL;
}

/* Its relative names begin where the program was started. NULL: it has been told why, or `error`
 * says it. */
static struct config *read_config_again(const struct master *m, char *error, size_t size)
{
    if (!has_memory(error, size))
        return NULL;
    memory_open_gaps();
    if (fchdir(m->directory_fd) != 0) {
        snprintf(error, size, "the directory of the start: %s", strerror(errno));
        return NULL;
    }
    struct config *c = read_config(m->file, m->common.handed->count > 0);
    if (c != NULL)
        c->foreground = m->current->config->foreground; /* is for the start, and -f goes on */
    if (m->common.background && chdir("/") != 0)
        log_warn_errno("chdir");
    return c;
}

/* From here on the new one is served. */
static void adopt(struct master *m, struct generation *new)
{
    struct generation *old = m->current;
    m->current = new;
    programs_keep(new);
    resolver_keep(new);
    keep_all_spares(m, true);
    generation_close(old);
    old->next = m->retired;
    m->retired = old;
    signal_outdated(m, false);
}

/* All that can fail. The log is the new one already, because the keepers inherit it. */
static struct generation *prepare(struct master *m, char *error, size_t size)
{
    struct config *c = read_config_again(m, error, size);
    if (c == NULL)
        return NULL;
    if (!adopt_log(m, c)) {
        snprintf(error, size, "%s: output: cannot open %s: %s", config_where(c, NULL, "output"),
                 c->output, strerror(errno));
        discard_config(c);
        return NULL;
    }
    struct generation *g = generation_create(c, &m->common, error, size);
    if (g != NULL && tls_memory_use(&m->tls_memory, c->tls_memory, error, size) &&
        generation_listen(g, m->current, error, size))
        return g;
    generation_destroy(g, true);
    const struct config *old = m->current->config;
    char ignored[256];
    (void)adopt_log(m, old);
    (void)tls_memory_use(&m->tls_memory, old->tls_memory, ignored, sizeof ignored);
    return NULL;
}

/* A new configuration, complete and valid, or the old one stays. */
static void reload(struct master *m)
{
    char error[1024] = "";
    if (m->draining) {
        log_notice("not reloaded, because ehlock is stopping");
        return;
    }
    notify_reloading(&m->notify);
    struct generation *g = prepare(m, error, sizeof error);
    if (g == NULL) {
        log_error("not reloaded, the old configuration stays%s%s", error[0] != '\0' ? ": " : "",
                  error);
        notify_ready(&m->notify);
        return;
    }
    keyset_report(g->keys);
    adopt(m, g);
    keep_news(m, "reloaded: %zu service%s", g->n_pools, g->n_pools == 1 ? "" : "s");
    notify_ready(&m->notify);
}

/* ---- running ---- */

static void list_generation(const struct generation *g, const char *age)
{
    for (size_t i = 0; i < g->n_pools; i++) {
        const struct pool *p = &g->pools[i];
        log_notice("service=%s%s idle=%u busy=%u sessions=%llu", p->service->name, age,
                   atomic_load(&p->stats->idle), atomic_load(&p->stats->busy),
                   (unsigned long long)atomic_load(&p->stats->sessions));
        for (size_t n = 0; n < p->stats->n_slots; n++) {
            const struct slot *s = &p->stats->slots[n];
            if (atomic_load(&s->state) == SLOT_BUSY)
                log_notice("service=%s worker=%d client=%s seconds=%lld", p->service->name,
                           (int)s->pid, s->peer, (long long)((now() - s->since) / 1000));
        }
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
        reload(m);
        return 0;
    case SIGUSR1:
        reopen_log(m);
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

static void tell_manager(struct master *m)
{
    unsigned sessions = count_sessions(m->current);
    for (const struct generation *g = m->retired; g != NULL; g = g->next)
        sessions += count_sessions(g);
    notify_tick(&m->notify, sessions);
}

/* Waits for something to do, at most `ms`; `calm` tells that there was nothing. Returns a signal
 * that asks to stop, or 0. */
static int wait_for_work(struct master *m, int ms, bool *calm)
{
    uint64_t count;
    struct pollfd fds[] = {{.fd = m->signal_fd, .events = POLLIN},
                           {.fd = m->common.notify_fd, .events = POLLIN},
                           {.fd = m->accuse_end, .events = POLLIN}};
    tell_manager(m);
    *calm = poll(fds, sizeof fds / sizeof *fds, notify_wait(&m->notify, ms)) <= 0;
    if (*calm)
        return 0;
    if (fds[2].revents != 0)
        hear_accusations(m);
    if (fds[1].revents != 0 && read(m->common.notify_fd, &count, sizeof count) < 0)
        return 0;
    return fds[0].revents != 0 ? take_signal(m) : 0;
}

/* Sessions of old generations may still want a program, or wait for an address. */
static void keep_programs(struct master *m)
{
    programs_keep(m->current);
    resolver_keep(m->current);
    for (struct generation *g = m->retired; g != NULL; g = g->next) {
        programs_keep(g);
        resolver_keep(g);
    }
}

/* What is looked after now and then. */
static void tick(struct master *m)
{
    if (now() < m->tick_due)
        return;
    m->tick_due = now() + TICK_MS;
    renew_ticket_key(m);
    look_for_new_files(m);
    look_for_syslog(m);
    look_after_old_keepers(m);
    remember_offers(m);
    signal_outdated(m, true);
}

static void serve(struct master *m)
{
    int stop;
    bool calm = true;
    do {
        reap(m);
        look_after_keepers(m);
        keep_programs(m);
        tick(m);
        drop_unused(m);
        keep_all_spares(m, calm);
        tell_news_when_true(m);
        stop = wait_for_work(m, TICK_MS, &calm);
    } while (stop == 0);
    tell_news(m);
    log_notice("stopping on %s", strsignal(stop));
}

static unsigned count_live(const struct master *m)
{
    unsigned n = m->current->live;
    for (const struct generation *g = m->retired; g != NULL; g = g->next)
        n += g->live;
    return n;
}

/* Waits for all workers, until the deadline or another signal to stop. */
static bool wait_for_workers(struct master *m, int64_t deadline)
{
    bool calm;
    while (count_live(m) > 0 && now() < deadline) {
        signal_idle(m);
        if (wait_for_work(m, RESIGNAL_MS, &calm) != 0)
            return false;
        reap(m);
        look_after_keepers(m);
        look_after_old_keepers(m);
    }
    return count_live(m) == 0;
}

static void end_sessions(const struct master *m)
{
    const uint64_t one = 1;
    if (write(m->common.cancel_fd, &one, sizeof one) < 0)
        log_error_errno("cancelling");
}

/* Sessions may end by themselves for TIMEOUTdrain, then they are told goodbye. */
static void drain(struct master *m)
{
    m->draining = true;
    generation_close(m->current);
    signal_all(m, SIGTERM);
    if (wait_for_workers(m, now() + (int64_t)m->current->config->timeout_drain * 1000))
        return;
    log_notice("%u sessions are told to end", count_live(m));
    end_sessions(m);
    if (wait_for_workers(m, now() + GOODBYE_MS))
        return;
    signal_all(m, SIGKILL);
    (void)wait_for_workers(m, now() + GOODBYE_MS);
}

/* ---- setting up and taking down ---- */

/* cancel_fd is not a pipe, whose end would also tell of the master's: sessions outlive that. */
static bool prepare_common(struct common *c, int *accuse_end, struct activation *handed,
                           bool background, char *error, size_t size)
{
    int accuse[2] = {-1, -1};
    *c = (struct common){.handed = handed, .background = background};
    c->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
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
    if (g == NULL)
        log_error("%s", error);
    generation_destroy(g, true);
    return g != NULL;
}

static bool block_signals(struct master *m)
{
    static const int wanted[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        sigaddset(&set, wanted[i]);
    signal(SIGPIPE, SIG_IGN);
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
    m->directory_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    m->pid_file = c->pid_file != NULL ? memory_strdup(c->pid_file) : NULL;
    m->ticket_born = now();
    if (!prepare_common(&m->common, &m->accuse_end, handed, background, error, size)) {
        discard_config(c);
        return EX_OSERR;
    }
    m->current = generation_create(c, &m->common, error, size);
    if (m->current == NULL || !tls_memory_use(&m->tls_memory, c->tls_memory, error, size))
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
    free(m->children);
    if (m->pid_file != NULL) /* last: who waits for our end looks at this file */
        pidfile_remove(m->pid_file, &m->pid_fd);
    free(m->pid_file);
    tls_memory_finish(&m->tls_memory);
}

int master_run(struct config *c, const char *file, struct activation *handed, int ready_fd)
{
    struct master m = {
        .file = file, .pid_fd = -1, .accuse_end = -1, .notify.fd = -1, .signal_fd = -1};
    char error[1024];

    title_set("master");
    int status = set_up(&m, c, handed, ready_fd >= 0, error, sizeof error);
    if (status == 0) {
        keyset_report(m.current->keys);
        announce(m.current);
        child_detach(m.common.background);
        programs_keep(m.current);
        resolver_keep(m.current);
        keep_all_spares(&m, true);
        tell_ready(ready_fd);
        notify_ready(&m.notify);
        serve(&m);
        notify_stopping(&m.notify, (unsigned)m.current->config->timeout_drain + STOP_SECONDS);
        drain(&m);
        log_notice("stopped");
    } else {
        log_error("%s", error);
    }
    take_down(&m);
    return status;
}
