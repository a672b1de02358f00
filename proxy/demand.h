/* SPDX-License-Identifier: ISC
 *
 * What is demanded of the servers of a service with client = yes: for each destination in
 * `connect` one decision, made from the options of the service and from its table tlsPolicy, and
 * checked before anything starts.
 */
#ifndef PROXY_DEMAND_H
#define PROXY_DEMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/config.h"
#include "proxy/tlsrule.h"

/* One for each entry of `connect`, in its order; of redirected connections (transparent =
 * destination) one for each rule of tlsPolicy and one for the rest. Owned by the service. */
struct demand {
    enum server_level level;
    bool fall_back;      /* MAY: in clear where TLS was offered and fails */
    bool first_use;      /* FINGERPRINT: the key that it shows first is its pin (firstuse.h) */
    bool need_ca;        /* the chain must lead to the trust */
    bool pinned_by_file; /* the server's own certificate must be in ca_file or ca_path */
    /* Whom to trust; without file and path the machine's own store. NULL: not given. */
    char *ca_file, *ca_path, *crl_file;
    char *priority;                        /* NULL: the default */
    char *server_name;                     /* sent as SNI; NULL: none */
    struct texts hosts, emails, addresses; /* one of all these must be in the certificate */
    struct pins pins;                      /* and it must be one of these, if there are any */
    const char *where; /* of the rule it comes from; NULL: of no rule. Borrowed */
};

/* Decides for a service with client = yes; complains to `c`. */
void demands_make(struct config *c, struct service *s);
/* Accepts a service without any. */
void demands_finish(struct service *s);

/* What is demanded of the server that a redirected connection was going to: by the first rule that
 * is for the address, else by the options of the service. */
const struct demand *demand_for(const struct service *s, const struct address *destination);

/* Complains about options that only a service with client = yes can have. */
void demands_forbid(struct config *c, const struct service *s);

#endif
