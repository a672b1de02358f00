/* SPDX-License-Identifier: ISC
 *
 * CONNECT of HTTP/1.1 (RFC 9110 §9.3.6): asking a proxy for a connection to a server. Pure: values
 * in, bytes out, and back.
 *
 *   CONNECT mail.example.org:587 HTTP/1.1
 *   Host: mail.example.org:587
 *   Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==
 *
 * Bugs: Basic is the only way to log in; lines that end with LF alone are not taken.
 */
#ifndef PROTOCOLS_HTTPCONNECT_H
#define PROTOCOLS_HTTPCONNECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    HTTPCONNECT_REQUEST_MAX = 2048, /* bytes */
    HTTPCONNECT_REPLY_MAX = 8192,   /* bytes of a reply up to its empty line; a longer one is bad */
    HTTPCONNECT_LINES_MAX = 100,    /* of them, with those of interim replies */
};

/* Where to, and who asks. Borrowed. */
struct httpconnect {
    const char *host; /* a name or an address, at most 255 bytes */
    uint16_t port;
    const char *user, *password; /* at most 255 bytes each, no ':' in the first; NULL: none */
};

/* Writes the request; its length, without a NUL. The caller wipes it, if it holds a password. */
size_t httpconnect_write(const struct httpconnect *c, char out[HTTPCONNECT_REQUEST_MAX]);

/* Reads a reply from the beginning of what was received so far: interim replies (1xx) are passed
 * over, and what is behind the empty line of the final one is not looked at. Its length up to there
 * with *status set, from 200 to 599; 0: good so far; -1: can never become a reply. */
ssize_t httpconnect_read(const char *data, size_t len, int *status);

/* Whether such a reply, `len` bytes of it, asks for a login by Basic (RFC 9110 §11.7.1). */
bool httpconnect_asks_for_basic(const char *data, size_t len);

#endif
