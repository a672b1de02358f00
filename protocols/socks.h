/* SPDX-License-Identifier: ISC
 *
 * SOCKS version 5 (RFC 1928), and its login by user and password (RFC 1929): asking a proxy for a
 * connection to a server. Pure: values in, bytes out, and back. In this order:
 *
 *   what we say              what is read
 *   socks_write_greeting     socks_read_method: SOCKS_NO_LOGIN goes on with the request
 *   socks_write_login        socks_read_login
 *   socks_write_request      socks_read_reply; what is behind it is the server's
 *
 * Readers look at what was received so far, from the beginning of that answer, and give its length
 * with *code set; 0: good so far; -1: can never become one. They never look behind it.
 */
#ifndef PROTOCOLS_SOCKS_H
#define PROTOCOLS_SOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    SOCKS_PART_MAX = 255,   /* bytes of a host, a user, a password; all have one at least */
    SOCKS_GREETING_MAX = 4, /* bytes */
    SOCKS_LOGIN_MAX = 3 + 2 * SOCKS_PART_MAX,
    SOCKS_REQUEST_MAX = 7 + SOCKS_PART_MAX,
    SOCKS_REPLY_MAX = 7 + SOCKS_PART_MAX,
};

/* What the proxy wants of us (RFC 1928 §3). */
enum {
    SOCKS_NO_LOGIN = 0,
    SOCKS_PASSWORD = 2,
    SOCKS_NOTHING_FITS = 255,
};

/* Each returns its length. */
size_t socks_write_greeting(bool has_password, unsigned char out[SOCKS_GREETING_MAX]);
size_t socks_write_login(const char *user, const char *password,
                         unsigned char out[SOCKS_LOGIN_MAX]);
/* The host is sent as an address if it is one, and else as a name. */
size_t socks_write_request(const char *host, uint16_t port, unsigned char out[SOCKS_REQUEST_MAX]);

/* One of the three methods above; another one was never offered. */
ssize_t socks_read_method(const char *data, size_t len, int *code);
/* 0: we are let in. */
ssize_t socks_read_login(const char *data, size_t len, int *code);
/* 0: connected; all others are told as soon as they show, and the connection is of no use then. */
ssize_t socks_read_reply(const char *data, size_t len, int *code);

/* What a code of socks_read_reply other than 0 means (RFC 1928 §6), to follow "it ". */
const char *socks_reply_text(int code);

#endif
