/* SPDX-License-Identifier: ISC
 *
 * Reaching the other side: TCP or Unix socket, several addresses, failover; or a program.
 */
#ifndef PROXY_BACKEND_H
#define PROXY_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/address.h"
#include "proxy/config.h"
#include "proxy/environment.h"
#include "proxy/via.h"

enum { BACKENDS_MAX = 64 }; /* addresses of one service */

struct backends {
    struct address addresses[BACKENDS_MAX];
    unsigned char entries[BACKENDS_MAX]; /* which entry of `connect` each address is of */
    unsigned char hosts[BACKENDS_MAX];   /* which host of its route, from 1; 0: it has none */
    size_t count;
    struct via *via;      /* NULL: connections are made to `addresses`. Else through this, and these
                             are texts for the log, one for each entry */
    struct address local; /* len 0: any */
    bool any_path;        /* at least one is a Unix socket */
    /* The only "address" is a program. Workers of such a service have no use for the network but
     * accept(2): they neither make nor connect Internet sockets. */
    bool program;
    bool redirected; /* where to is known to each session alone; see original.h */
};

/* Looks all names of `connect` (and `local`) up, but those that the resolver watches; with `via`
 * those of the proxy. False: `error` says which and why. With `exec` there is one address, which is
 * good for the log only. */
bool backends_resolve(struct backends *b, const struct config *c, const struct service *s,
                      char *error, size_t error_size);
void backends_finish(struct backends *b);

struct transparent;

/* Whose address the backend sees as the source of the connection. */
struct disguise {
    const struct address *client;
    struct transparent *sockets; /* each attempt takes one */
};

/* How to go about it. */
struct attempt {
    const struct disguise *as; /* NULL: our own address; else backends of another family are passed
                                  over */
    unsigned first;            /* the number to begin with, modulo the count */
    unsigned seconds;          /* for each address; through a proxy, for the way to it and the
                                * dialogue with it together, for each entry */
    int64_t deadline;          /* for all (wire.h); WIRE_FOREVER: none */
    int cancel_fd;             /* becoming readable ends it; -1: none */
    /* NULL, or a word for each address: true, it is not tried. Becomes true of all that have failed
     * and of the one that is found. */
    bool *used;
};

/* Connects to the first that answers. One entry of `connect` after the other is tried; among the
 * addresses of one the next is tried while the earlier ones are silent (dial.h). Returns a
 * non-blocking descriptor and sets *chosen; or -1. `error` has one sentence about those that did
 * not answer, which is empty if there are none. */
int backends_connect(const struct backends *b, const struct attempt *how,
                     const struct address **chosen, char *error, size_t error_size);

/* Has the spawner start the program; see proxy/spawner.h. `request_fd` is the workers' end of the
 * socket to it. Returns a non-blocking descriptor and sets *line_fd, which is to be closed when the
 * session is over: the program is ended some time after. Or -1, and `error` has one sentence. */
int backends_start_program(const struct backends *b, int request_fd,
                           const struct session_facts *facts, unsigned seconds, int cancel_fd,
                           int *line_fd, char *error, size_t error_size);

#endif
