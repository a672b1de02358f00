/* SPDX-License-Identifier: ISC
 *
 * Inside the master: what its files know together, and what they do for each other. For nobody
 * else.
 */
#ifndef PROXY_MASTER_INNER_H
#define PROXY_MASTER_INNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/generation.h"
#include "proxy/notify.h"
#include "proxy/tlsmemory.h"

enum {
    MASTER_TICK_MS = 1000, /* it looks after everything at least this often */
    MASTER_SHORT_MS = 50,  /* and when it waits for something that nobody tells of */
};

/* What the master knows of a worker. */
struct child {
    pid_t pid; /* 0: none */
    int slot;
    struct pool *pool;
    struct birth birth;
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
    bool short_of_slots; /* all had workers when one was wanted, some of which may have ended */
    int64_t next_way;    /* when the way to the keys may be replaced again */
    unsigned epoch;      /* goes up when children lack something: the ticket key, the log */
    int64_t ticket_born, tick_due;
    struct generation *current;
    struct generation *retired; /* generations whose last sessions go on */
    struct keyset *old_keys;    /* keysets of the current generation that are given up */
    struct child *children;     /* the workers of all generations; no child gets this memory */
    size_t n_children;          /* places up to the last one in use */
    size_t max_children;
    size_t next_place; /* no place before it is free */
    struct tls_memory tls_memory;
    char news[160];   /* told when it holds for every client; "": none */
    int64_t news_due; /* or then */
};

/* ---- master_spares.c: forking, by the zygotes or by ourselves ---- */

/* Forks until every service has the spare workers that it wants. `calm`: there is nothing else to
 * do now. */
void master_keep_spares(struct master *m, bool calm);

/* Hears of workers that their zygotes have buried; they tell it also with every fork. */
void master_ask_zygotes(struct master *m);

/* Ends zygotes whose workers would be outdated. */
void master_end_outdated_zygotes(const struct master *m);

/* ---- master_workers.c: burying, signalling ---- */

/* Buries whoever has ended, workers and helpers, and says how, if it was not as it should be. */
void master_reap(struct master *m);

/* The slot has no worker any more. */
void master_close_slot(struct pool *p, int slot);

/* Whether who was born so, of that pool, knows a configuration, certificates, a log that are not
 * the current ones. */
bool master_is_outdated(const struct master *m, const struct pool *p, const struct birth *birth);

/* A worker has ended with that status, waitpid(2) says; false: it is none. A zygote has, unasked.
 */
bool master_bury_worker(struct master *m, pid_t pid, int status);
void master_bury_zygote(struct pool *p, pid_t pid, int status);

/* Keepers tell of workers that have asked for what nobody may ask for: those are ended. And of
 * workers that have shut the way to the keys: there will be another. */
void master_hear_accusations(struct master *m);

/* Whether any worker is of that generation (NULL: of any), and has those keys (NULL: whichever). */
bool master_has_workers(const struct master *m, const struct generation *g,
                        const struct keyset *keys);

/* Whether that is the number of a worker. */
bool master_has_worker(struct master *m, pid_t pid);

/* To the workers: to all; to those that know a configuration, certificates, or a log that are not
 * the current ones (of these, if asked, only to those that wait for a client; a worker with a
 * session ends with that); to all that wait for a client. */
void master_signal_all(const struct master *m, int signal);
void master_signal_outdated(const struct master *m, bool only_idle);
void master_signal_idle(const struct master *m);

/* Whether an outdated worker still waits for a client, and may get one. */
bool master_has_outdated(const struct master *m);

/* ---- master_upkeep.c: keys, log, files, and what is said of them ---- */

/* What is looked after now and then; it does nothing before its time. */
void master_tick(struct master *m);

/* Takes what workers have seen of servers, and writes it down. */
void master_remember(struct master *m);

/* What is looked after in every round. */
void master_look_after_keepers(struct master *m);
void master_look_after_old_keepers(struct master *m);
void master_keep_helpers(struct master *m);

/* Opens the log file again, and replaces those who write to the old one. */
void master_reopen_log(struct master *m);

/* Memory for reading a configuration and certificates is there: the allocator ends a process that
 * it cannot serve, and not this one. */
bool master_has_memory(char *error, size_t error_size);

/* News is told when it holds for every client, or after MASTER_TICK_MS, or at once. */
void master_keep_news(struct master *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void master_tell_news_when_true(struct master *m);
void master_tell_news(struct master *m);

/* ---- master_reload.c: generations ---- */

/* A new configuration, complete and valid, or the old one stays; the log says which. */
void master_reload(struct master *m);

/* Old keys and generations whose last session has ended go. */
void master_drop_unused(struct master *m);

void master_discard_config(struct config *c);

#endif
