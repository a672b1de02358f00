/* SPDX-License-Identifier: ISC
 *
 * A backend that is a program: who it runs as and how it is called, found out before the fork;
 * and becoming it.
 */
#ifndef PROXY_PROGRAM_H
#define PROXY_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/arguments.h"
#include "proxy/config.h"
#include "proxy/environment.h"
#include "proxy/jail.h"

enum { PROGRAM_GROUPS_MAX = 256 };

struct program {
    const char *path; /* borrowed from the service; NULL: there is no program */
    const struct argument_list *arguments; /* likewise */
    bool change;                           /* we are root, so it becomes somebody */
    uid_t uid;
    gid_t gid;
    gid_t groups[PROGRAM_GROUPS_MAX];
    int n_groups;
};

/* Looks execUser up (default: the jail's user) and tries whether it may run the program. Does
 * nothing for a service without `exec`. Returns NULL, or the name of the option at fault, and
 * `error` says why. */
const char *program_prepare(struct program *p, const struct service *s, const struct jail *jail,
                            char *error, size_t error_size);

/* Becomes the user, then the program; descriptors, signals and directory are the caller's. Only
 * returns when something failed: what it was, and errno. */
const char *program_become(const struct program *p, const struct session_facts *facts);

#endif
