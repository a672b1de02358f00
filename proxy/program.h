/* SPDX-License-Identifier: ISC
 *
 * A program of a service, a backend (`exec`) or one that tells a token (`protocolTokenProgram`):
 * who it runs as and how it is called, found out before the fork; and becoming it.
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

enum { PROGRAM_GROUPS_MAX = 256, PROGRAM_NAME_MAX = 64, PROGRAM_HOME_MAX = 256 };

enum program_purpose {
    PROGRAM_BACKEND, /* speaks to one client, of whom it is told; its input and output are one */
    PROGRAM_TOKEN,   /* knows of no client; has no input; what it prints counts when it has ended */
};

struct program {
    const char *path; /* borrowed from the service; NULL: there is no program */
    const struct argument_list *arguments; /* likewise */
    enum program_purpose purpose;
    bool change; /* we are root, so it becomes somebody */
    uid_t uid;
    gid_t gid;
    gid_t groups[PROGRAM_GROUPS_MAX];
    int n_groups;
    char name[PROGRAM_NAME_MAX],
        home[PROGRAM_HOME_MAX]; /* PROGRAM_TOKEN: its user's; "": unknown */
};

/* Looks execUser up (default: the jail's user) and tries whether it may run the program. Does
 * nothing for a service without one. Returns NULL, or the name of the option at fault, and
 * `error` says why. */
const char *program_prepare(struct program *p, const struct service *s, const struct jail *jail,
                            char *error, size_t error_size);

/* Becomes the user, then the program; descriptors, signals and directory are the caller's. `facts`
 * mean something to PROGRAM_BACKEND only. Only returns when something failed: what it was, and
 * errno. */
const char *program_become(const struct program *p, const struct session_facts *facts);

#endif
