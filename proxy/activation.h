/* SPDX-License-Identifier: ISC
 *
 * Sockets that a service manager opened for us: descriptors from 3 on, described by LISTEN_PID,
 * LISTEN_FDS and LISTEN_FDNAMES as in sd_listen_fds(3).
 */
#ifndef PROXY_ACTIVATION_H
#define PROXY_ACTIVATION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/address.h"

struct service;

enum {
    ACTIVATION_FIRST_FD = 3,
    ACTIVATION_MAX = 256,      /* sockets */
    ACTIVATION_NAME_MAX = 255, /* bytes of a name, as in systemd */
};

struct inherited {
    int fd;
    char *name;                    /* "" when it was given none */
    struct address address;        /* filled in by listeners_share_out, as is */
    const struct service *service; /* whose it is; borrowed */
};

struct activation {
    struct inherited *sockets;
    size_t count; /* 0: nothing was handed over */
};

/* What the three variables say (each NULL when it is not set) to the process `self`. True: `out`
 * has that many sockets, none if the variables are not there or meant for another process. False:
 * `error` says which variable is wrong, and `out` is empty. Touches no descriptor. */
bool activation_parse(struct activation *out, const char *pid, const char *fds, const char *names,
                      pid_t self, char *error, size_t error_size);

/* The same from the environment, out of which the variables are then removed, so that no child
 * believes them; the descriptors must be open, and are closed on exec from here. To be called by
 * the process that was started, before it forks. */
bool activation_take(struct activation *out, char *error, size_t error_size);

/* Closes the descriptors that are left (those that are not -1). */
void activation_finish(struct activation *a);

#endif
