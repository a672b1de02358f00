/* SPDX-License-Identifier: ISC
 *
 * As whom we log in to the servers of a service (protocolUsername and its companions): the options
 * are checked with the configuration, the secret is read before the fork, with the keys.
 */
#ifndef PROXY_LOGIN_H
#define PROXY_LOGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "protocols/sasl.h"
#include "proxy/config.h"

/* Checks them for a service with client = yes whose demands have been made; complains to `c`. What
 * stands in protocolPassword goes into memory that only workers of the service will have. */
void login_check(struct config *c, struct service *s);
/* Complains about them in a service that offers TLS to clients. */
void login_forbid(struct config *c, const struct service *s);
/* The service, which has been checked, logs in to nobody: neither its secret nor its program will
 * be looked at. False: it does not anyhow. */
bool login_leave_out(struct service *s);
/* Wipes what of them stands before the first section; every service has its copy. */
void login_forget_defaults(struct config *c);
/* Accepts a service without any. */
void login_finish(struct service *s);

struct login {
    struct sasl_login words; /* for a dialogue; its secret is NULL: each session asks for one */
    struct secret *secret;   /* NULL: likewise (protocolTokenProgram) */
    struct sasl_library *library;
};

/* Reads the file, if it is one. *out is NULL for a service that does not log in. `s` is borrowed
 * for the life of it. False: `error` says where and why. */
bool login_read(const struct config *c, const struct service *s, struct login **out, char *error,
                size_t error_size);
/* Accepts NULL, as the one below. */
void login_destroy(struct login *l);

/* Whether children that are forked from here on have the secret. At first they have not. */
void login_share(struct login *l, bool with_children);

#endif
