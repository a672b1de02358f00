/* SPDX-License-Identifier: ISC
 *
 * Reaching the other side: TCP or Unix socket, several addresses, failover; or a program.
 */
#ifndef PROXY_BACKEND_H
#define PROXY_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

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

/* Connects to the first that answers, beginning with number `first` modulo the count, each within
 * `seconds`. One entry of `connect` after the other is tried; among the addresses of one the next
 * is tried while the earlier ones are silent (dial.h). Through a proxy the way to it and the
 * dialogue with it have `seconds` together, for each entry. Returns a non-blocking descriptor and
 * sets *chosen; or -1, and `error` has one sentence. `as`: NULL, or the source, and then backends
 * of another family are passed over. `cancel_fd` becoming readable ends it (-1: none). */
int backends_connect(const struct backends *b, const struct disguise *as, unsigned first,
                     unsigned seconds, int cancel_fd, const struct address **chosen, char *error,
                     size_t error_size);

/* Has the spawner start the program; see proxy/spawner.h. `request_fd` is the workers' end of the
 * socket to it. Returns a non-blocking descriptor and sets *line_fd, which is to be closed when the
 * session is over: the program is ended some time after. Or -1, and `error` has one sentence. */
int backends_start_program(const struct backends *b, int request_fd,
                           const struct session_facts *facts, unsigned seconds, int cancel_fd,
                           int *line_fd, char *error, size_t error_size);

#endif
