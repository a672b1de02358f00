/* SPDX-License-Identifier: ISC
 *
 * An OAuth 2.0 access token (RFC 6749 §1.4) from a program that prints it: the worker's side of
 * protocolTokenProgram.
 */
#ifndef PROXY_TOKEN_H
#define PROXY_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/environment.h"
#include "proxy/secret.h"

/* What there is to be asked, and until when. */
struct token_request {
    int request_fd; /* the workers' end of the socket to the spawner */
    const struct session_facts
        *facts;       /* the client, for the spawner's log; the program is not told */
    int64_t deadline; /* absolute, wire_now() */
    int cancel_fd;    /* becoming readable ends it; -1: none */
};

/* Has the program of the service run, and waits until it has ended. Its output counts only if its
 * status is 0, and must be one line of at most SASL_TOKEN_MAX bytes without blanks; what it has
 * left running behind it is not waited for. NULL: `error` says why, without its subject (the
 * program) and without a word of the output. */
struct secret *token_fetch(const struct token_request *r, char *error, size_t error_size);

#endif
