/* SPDX-License-Identifier: ISC
 *
 * The descent: a child gives up everything it does not need, in one function for every role, and
 * then proves that nothing can be had back.
 */
#ifndef PROXY_JAIL_H
#define PROXY_JAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/sandbox.h"

/* What the whole program found out at its start. */
struct jail {
    bool root; /* we began as root, so there is something to give up */
    uid_t uid; /* who children become */
    gid_t gid;
    int root_fd; /* directory they are locked into; -1: they keep the whole tree */
    bool given;  /* the administrator named it: everybody is locked in, `no_chroot` or not */
};

/* Decides who and where: `user` and `group` as configured or NULL, `directory` likewise. Without
 * a directory, and as root, an empty one is made and removed again, so that nothing can ever be
 * put into it. Returns NULL, or the name of the option at fault, and `error` says why. */
const char *jail_prepare(struct jail *j, const char *user, const char *group, const char *directory,
                         char *error, size_t error_size);

/* The walls around one role of one service, made before the fork. */
struct walls {
    int landlock_fd; /* -1: none */
    struct syscall_filter *filter;
};

/* Makes them. What the kernel or the build lacks is named in `missing` ("": nothing). */
void walls_create(struct walls *w, const struct sandbox_needs *needs, char *missing,
                  size_t missing_size);
void walls_destroy(struct walls *w);

/* Closes all descriptors but those `n` in `keep` (it is sorted; -1 is passed over) and 0, 1, 2. */
void jail_close_others(int *keep, size_t n);

/* One descent. */
struct descent {
    int *keep; /* descriptors that are not closed, beside 0, 1, 2 (sorted here; -1 passed over) */
    size_t n_keep;
    bool no_chroot;    /* Unix sockets are reached by their names */
    unsigned max_fds;  /* RLIMIT_NOFILE, or less where it may not be raised */
    size_t max_memory; /* bytes of data, RLIMIT_DATA; 0: no limit */
    bool forks;        /* it may have children, and they call jail_inherit */
    const struct walls *walls;
};

/* Closes descriptors; then chroot, groups, gid, uid, capabilities, limits (no core, no further
 * process unless it `forks`), not to be traced, SIGTERM when the parent ends, no_new_privs,
 * Landlock, seccomp; then the proof: what was given up is tried and must fail. Returns NULL, or
 * what failed (errno may say more): the caller must not go on then. */
const char *jail_enter(const struct jail *j, const struct descent *d);

/* In the child of a process that has entered a jail to fork in it, with the same walls: the jail is
 * there, and what is its own follows: no further process, SIGTERM when the parent ends, Landlock
 * against its siblings, the proof. The same result. */
const char *jail_inherit(const struct walls *walls);

enum {
    JAIL_EXIT_OPEN = 70,   /* EX_SOFTWARE: the jail did not close, so nobody was served */
    JAIL_EXIT_ASTRAY = 71, /* somebody inside tried what is forbidden */
};

#endif
