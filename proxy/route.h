/* SPDX-License-Identifier: ISC
 *
 * Where a destination leads, as the resolver has found out; and the memory in which it tells
 * everybody, which workers can read and never write.
 */
#ifndef PROXY_ROUTE_H
#define PROXY_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "certs/dane.h"
#include "proxy/address.h"
#include "proxy/dns.h"

enum {
    ROUTE_HOSTS = 8,     /* of a domain: those that come first */
    ROUTE_ADDRESSES = 8, /* of a host */
    ROUTE_RECORDS = 16,  /* TLSA records of a host; more, or more bytes, are a failure */
    ROUTE_RDATA = 4096,
    ROUTE_WHY = 200,
};

/* What is known of the TLSA records of a host. */
enum host_dane {
    HOST_DANE_NONE,   /* there are none, and that is certain or cannot be known (RFC 7672 §2.2) */
    HOST_DANE_FAILED, /* nobody knows: the host counts as one that cannot be reached (§2.1.2) */
    HOST_DANE_FOUND,
};

struct route_host {
    char name[DNS_NAME_MAX]; /* as the configuration or an MX record says it */
    char base[DNS_NAME_MAX]; /* FOUND: the TLSA base domain, which is also sent as SNI */
    enum host_dane dane;
    char why[ROUTE_WHY]; /* DANE_FAILED: a sentence; NONE: how it comes */
    size_t n_addresses;
    struct {
        bool v6;
        unsigned char ip[16]; /* v4: the first 4 */
    } addresses[ROUTE_ADDRESSES];
    size_t n_records;
    struct {
        uint16_t at, len; /* RDATA */
    } records[ROUTE_RECORDS];
    unsigned char rdata[ROUTE_RDATA];
};

enum route_state {
    ROUTE_UNKNOWN, /* nobody has looked yet */
    ROUTE_FOUND,   /* at least one host has an address */
    ROUTE_FAILED,  /* for now: `why` */
    ROUTE_ABSENT,  /* there is no such name, or no address: `why` */
    ROUTE_NULL_MX, /* the domain takes no mail (RFC 7505) */
};

struct route {
    enum route_state state;
    char why[ROUTE_WHY];
    int64_t good_until; /* wire_now(): what was said about DANE does not hold longer */
    size_t n_hosts;
    struct route_host hosts[ROUTE_HOSTS]; /* in the order of preference */
};

/* The n-th record of the host; it borrows from the host. */
struct dane_record route_record(const struct route_host *h, size_t n);
/* All of them; returns how many, and in *usable how many of them can be used. */
size_t route_records(const struct route_host *h, struct dane_record out[ROUTE_RECORDS],
                     size_t *usable);

struct route_book;

/* Shared memory for `n` routes, all UNKNOWN. NULL and errno: there is none. */
struct route_book *route_book_create(size_t n);
/* Accepts NULL. */
void route_book_destroy(struct route_book *b);

/* The resolver's: tells route number `i`. One process at a time may do so. */
void route_book_publish(struct route_book *b, size_t i, const struct route *r);

/* Gives up writing in this process, for good: not even mprotect(2) brings it back. */
void route_book_renounce(struct route_book *b);

/* Copies route number `i` as it was at one moment. False: somebody is writing, or has died while
 * writing: ask again. */
bool route_book_read(const struct route_book *b, size_t i, struct route *out);

#endif
