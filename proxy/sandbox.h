/* SPDX-License-Identifier: ISC
 *
 * What the kernel can be made to deny a process for good. Two facilities, one file each:
 * Landlock (files, TCP ports, signals and abstract sockets outside: sandbox-landlock.c) and seccomp
 * (system calls: sandbox-seccomp.c). Everything is made in the master, once for each service and
 * role, so that a child pays for entering only. A build with sanitizers, which need what is
 * forbidden here, has sandbox-none.c in place of both and says so at start.
 */
#ifndef PROXY_SANDBOX_H
#define PROXY_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sandbox_role {
    SANDBOX_KEEPER,   /* waits, reads requests, answers them, logs */
    SANDBOX_WORKER,   /* the same, and accepts clients and connects to its backends */
    SANDBOX_RESOLVER, /* waits, asks the DNS by UDP and TCP, logs */
};

/* What the role has to be left. */
struct sandbox_needs {
    enum sandbox_role role;
    bool tcp;              /* TCP sockets of its own, to the ports below */
    bool unix_stream;      /* Unix sockets of its own */
    bool bind;             /* it gives its TCP sockets an address */
    bool forks;            /* it has children that go into the same jail (jail_inherit) */
    const uint16_t *ports; /* borrowed until the call returns */
    size_t n_ports;
};

/* False in a build that has left both out. */
bool sandbox_is_built(void);

/* ---- Landlock ---- */

/* A set of rules: no file at all, TCP connections only to `ports`, no signals and no abstract
 * sockets to processes outside. Returns a descriptor (close-on-exec), or -1. What the kernel does
 * not know is named in `missing` ("" when it knows everything). */
int landlock_create(const struct sandbox_needs *needs, char *missing, size_t missing_size);

/* Locks this process in, for ever; no_new_privs must be set. False and errno: it is not. */
bool landlock_enter(int rules_fd);

/* ---- seccomp ---- */

struct syscall_filter;

/* The list of system calls that the role may use; all others end it. NULL when the kernel or the
 * build has no seccomp, and `missing` names it. */
struct syscall_filter *filter_create(const struct sandbox_needs *needs, char *missing,
                                     size_t missing_size);
void filter_destroy(struct syscall_filter *f);

/* From here on only those calls; no_new_privs must be set. Any other is not made, is logged with
 * its name, and ends the process with `exit_status`. False and errno: the filter is not in force.
 */
bool filter_enter(const struct syscall_filter *f, int exit_status);

/* Right behind filter_enter, which waits for it before it ends anybody: tries to open a file, to
 * become root, to have another kind of socket, to run a program. NULL: all were caught; else what
 * was not, and the process must not go on. */
const char *filter_prove(const struct syscall_filter *f);

#endif
