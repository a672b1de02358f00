/* SPDX-License-Identifier: ISC
 *
 * The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt, sections 2.1 and 2.2): one
 * header in front of a connection says whose it is. Pure functions: bytes in, struct out, and back.
 *
 * Bugs: of the TLVs that are read only UNIQUE_ID is kept; what a balancer says of its own TLS is
 * checked for its form and thrown away. No CRC32C is written.
 */
#ifndef PROXY_IDENTITY_H
#define PROXY_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>

#include "certs/tls.h"
#include "proxy/address.h"

enum {
    IDENTITY_V1_MAX = 107,    /* bytes of a version 1 header with its CRLF */
    IDENTITY_READ_MAX = 4096, /* bytes of a header that is read; a longer one is bad */
    IDENTITY_WRITE_MAX = 1024,
    IDENTITY_ID_MAX = 128, /* bytes of a UNIQUE_ID */
};

/* What a header said. */
struct identity {
    bool known; /* false: nothing about a TCP client, so the connection's own addresses count
                   (LOCAL, UNKNOWN, UNSPEC, Unix sockets, datagrams) */
    struct address source, destination; /* if known; printed */
    char id[IDENTITY_ID_MAX];           /* any bytes */
    size_t id_len;                      /* 0: none */
};

enum identity_result {
    IDENTITY_OK,   /* *used bytes were the header; the rest is not ours */
    IDENTITY_MORE, /* good so far */
    IDENTITY_BAD,  /* can never become a header */
};

/* Reads a header of either version from the beginning of what was received so far. Strict:
 * canonical IPv4 addresses and ports, single blanks, CRLF; known family, every TLV within its
 * bounds, a CRC32C right if there is one. Bad bytes are told as soon as they show. */
enum identity_result identity_read(const char *data, size_t len, struct identity *out,
                                   size_t *used);

/* What there is to say. All borrowed. */
struct identity_facts {
    const struct address *client; /* NULL: nobody's, the connection is our own (LOCAL) */
    const struct address *server; /* where the client connected to */
    const struct tls_info *tls;   /* NULL: no TLS */
    const struct tls_certificates *certificates; /* ours is told; NULL: it is not */
    const char *name;                            /* in the client's verified one; NULL: none */
    const char *id;                              /* UNIQUE_ID */
    size_t id_len;                               /* at most IDENTITY_ID_MAX; 0: none */
};

/* Write a header to `out` and return its length. v4-mapped addresses are written as IPv4. A client
 * of a Unix socket is UNKNOWN or UNSPEC. Version 1 says addresses and ports only. */
size_t identity_write_v1(const struct identity_facts *f, char out[IDENTITY_WRITE_MAX]);
size_t identity_write_v2(const struct identity_facts *f, char out[IDENTITY_WRITE_MAX]);

#endif
