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

/* What the whole program found out at its start. */
struct jail {
    bool root; /* we began as root, so there is something to give up */
    uid_t uid; /* who children become */
    gid_t gid;
    int root_fd; /* directory they are locked into; -1: they keep the whole tree */
    bool given;  /* the administrator named it: everybody is locked in, `locked` or not */
};

/* Decides who and where: `user` and `group` as configured or NULL, `directory` likewise. Without
 * a directory, and as root, an empty one is made and removed again, so that nothing can ever be
 * put into it. Returns NULL, or the name of the option at fault, and `error` says why. */
const char *jail_prepare(struct jail *j, const char *user, const char *group, const char *directory,
                         char *error, size_t error_size);

/* Closes all descriptors but those `n` in `keep` (it is sorted; -1 is passed over) and 0, 1, 2;
 * then chroot (if `locked`), groups, gid, uid, capabilities, limits, no_new_privs; then the proof.
 * Returns NULL, or what failed: the caller must not go on then. */
const char *jail_enter(const struct jail *j, int *keep, size_t n, bool locked, unsigned max_fds);

#endif
