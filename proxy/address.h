/* SPDX-License-Identifier: ISC
 *
 * Addresses as they are written in the configuration: port, host:port, [v6]:port, :::port, /path.
 */
#ifndef PROXY_ADDRESS_H
#define PROXY_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
    struct sockaddr_storage sa;
    socklen_t len;
    char text[128]; /* for the log: "192.0.2.1:25", "[2001:db8::1]:25", "/run/x", "unix" */
};

/* Looks at the form only: no name is looked up. */
bool address_is_valid(const char *text, char *error, size_t error_size);
bool address_has_port(const char *text, uint16_t port);
/* True when both mean the same place to listen on, as far as that shows without a look-up. */
bool address_is_same(const char *a, const char *b);
/* True for an IPv4 or IPv6 address without a port. */
bool address_is_literal(const char *text);
/* The host of [host:]port, localhost where none is given. False: it is a path, or does not fit. */
bool address_host(const char *text, char *out, size_t size);
/* True for /path, localhost, and the literal addresses of the loopback network. */
bool address_is_local(const char *text);

/* All addresses of the text, at most `max`; names are looked up. `listening`: a missing host is
 * every IPv4 address, else it is localhost. Returns how many, or 0 and a sentence in `error`. */
size_t address_resolve(const char *text, bool listening, struct address *out, size_t max,
                       char *error, size_t error_size);

/* The TCP port, or 0. */
uint16_t address_port(const struct address *a);

/* Writes `text` from `sa` and `len`. */
void address_print(struct address *a);

/* The same client, for limits: IPv4 addresses (also v4-mapped) alike, IPv6 by their first 64 bits,
 * since one person has all that follows. Unix sockets are all alike. 16 bytes. */
void address_client_key(const struct address *a, unsigned char key[16]);

#endif
