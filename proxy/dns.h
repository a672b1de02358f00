/* SPDX-License-Identifier: ISC
 *
 * Asking the DNS, and knowing whether the answer can be believed (DNSSEC, RFC 4035). By libunbound
 * (dns-unbound.c), or not at all (dns-none.c).
 */
#ifndef PROXY_DNS_H
#define PROXY_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/address.h"

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_MX = 15, DNS_AAAA = 28, DNS_TLSA = 52 };

enum dns_standing {
    DNS_FAILED,   /* no answer, or a forged one; nothing else in the answer counts */
    DNS_INSECURE, /* the zone is not signed */
    DNS_SECURE,   /* signed, and so is the absence of records */
};

enum {
    DNS_SERVERS_MAX = 16, /* that can be named */
    DNS_RECORDS_MAX = 32, /* more are a failure */
    DNS_NAME_MAX = 254,   /* a name in text, with its NUL */
};

struct dns_answer {
    enum dns_standing standing;
    bool no_such_name; /* NXDOMAIN */
    size_t count;
    struct {
        const unsigned char *data; /* RDATA; names in it are not compressed */
        size_t len;
    } records[DNS_RECORDS_MAX];
    char canonical[DNS_NAME_MAX]; /* where CNAMEs have led to; "" without any */
    unsigned ttl;                 /* seconds */
    char why[200];                /* FAILED: one sentence */
    void *own;                    /* what the records are in */
};

struct dns_server {
    struct address address;
    char text[80]; /* as libunbound wants it */
};

/* One entry of `resolver`: ADDRESS, or with a port. */
bool dns_server_parse(const char *text, struct dns_server *out);

struct dns_settings {
    const struct dns_server *servers; /* they are asked; none: those of /etc/resolv.conf */
    size_t n_servers;
    const char *anchor; /* file with DS or DNSKEY records; NULL: nothing is validated */
};

/* False in a build without libunbound: then nothing below may be called. */
bool dns_is_built(void);
/* Loads the library. False: `error` says why it cannot be. */
bool dns_load(char *error, size_t error_size);

struct dns;
/* Reads all files that will be needed. NULL: `error` says why not. */
struct dns *dns_open(const struct dns_settings *settings, char *error, size_t error_size);
/* Asks, and waits for as long as it takes: for dead servers up to a minute or so. */
void dns_ask(struct dns *d, const char *name, enum dns_type type, struct dns_answer *out);
void dns_answer_finish(struct dns_answer *a);

#endif
