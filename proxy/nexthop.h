/* SPDX-License-Identifier: ISC
 *
 * One entry of `connect` as a place to look up: HOST:PORT, or mx:DOMAIN[:PORT] for the servers that
 * take mail for a domain. A DOMAIN of one label is written with a dot at its end.
 */
#ifndef PROXY_NEXTHOP_H
#define PROXY_NEXTHOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/config.h"

enum { NEXTHOP_NAME = 254 }; /* a DNS name in text, with its NUL (RFC 1035 §2.3.4) */

struct nexthop {
    bool mx;                 /* by the domain's MX records */
    bool named;              /* there is a name to look up; else an address, or a path */
    char name[NEXTHOP_NAME]; /* of the host or domain, without a dot at its end */
    uint16_t port;           /* 0: it is a path */
};

/* False: `error` has a sentence. */
bool nexthop_parse(const char *text, struct nexthop *out, char *error, size_t error_size);

/* The host or domain that is meant, as address_host gives it, with or without "mx:". */
bool nexthop_host(const char *text, char *out, size_t size);

/* True for a name that can be asked for: labels of letters, digits, - and _ (RFC 1123 §2.1), at
 * most 63 bytes each, 253 together; a dot at the end is no part of it. */
bool nexthop_is_name(const char *text);

/* Whether the resolver finds out where entry number `i` of `connect` leads: for mx:, with delay =
 * yes, and at the levels that need DANE. All others are looked up at start. */
bool nexthop_is_watched(const struct service *s, size_t i);

/* Complains about entries that make no sense, and about those that this build cannot look up. Wants
 * the demands made. */
void nexthops_check(struct config *c, const struct service *s);
/* The same for the options of the whole program, when all services have been checked. */
void nexthops_check_program(struct config *c);

/* Whether any service has an entry that the resolver watches; whether one needs DANE. */
bool nexthops_are_watched(const struct config *c);
bool nexthops_need_dane(const struct config *c);

#endif
