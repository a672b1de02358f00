/* SPDX-License-Identifier: ISC
 *
 * The proxy through which a service reaches its servers (the options via, viaUsername,
 * viaPasswordFile): checked with the configuration, looked up and read before the fork.
 */
#ifndef PROXY_VIA_H
#define PROXY_VIA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/address.h"
#include "proxy/config.h"
#include "proxy/secret.h"

enum {
    VIA_ADDRESSES_MAX = 16, /* of the proxy; further ones are left out */
    VIA_PART_MAX = 255,     /* bytes of a user, a password, a server's name (RFC 1928, RFC 1929) */
};

enum via_kind { VIA_HTTP, VIA_SOCKS };

/* A server, in the proxy's ears: names are looked up there. */
struct via_target {
    char host[VIA_PART_MAX + 1];
    uint16_t port;
};

struct via {
    enum via_kind kind;
    const char *name; /* as it is written in the configuration; borrowed */
    struct address addresses[VIA_ADDRESSES_MAX];
    size_t count;
    const char *user; /* borrowed; NULL: the proxy is given none, and there is no password */
    struct secret *password;
    struct via_target *targets; /* one for each entry of `connect` */
};

/* Complains about what is wrong with the three options, and about what they exclude. */
void via_check(struct config *c, const struct service *s);

/* For a service that has passed the check and has `via`. NULL: `error` says where and why. */
struct via *via_create(const struct config *c, const struct service *s, char *error,
                       size_t error_size);
/* Leaves only the addresses of that family (AF_UNSPEC: all). False: there is none. */
bool via_keep_family(struct via *v, int family);
/* Accepts NULL, as the next does. */
void via_destroy(struct via *v);

/* Whether children that are forked from here on have the password. At first they have not. */
void via_share(struct via *v, bool with_children);

#endif
