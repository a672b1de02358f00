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
/* Takes host:port apart; the host is "" where none is given. False: it is a path, or neither, or
 * the host does not fit. */
bool address_split(const char *text, char *host, size_t size, uint16_t *port);
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

/* Writes `text` from `sa` and `len`. */
void address_print(struct address *a);

/* The address as SMTP writes it (RFC 5321 §4.1.3): "[192.0.2.1]", "[IPv6:2001:db8::1]"; a v4-mapped
 * one as IPv4; "" if it is neither. */
enum { ADDRESS_LITERAL_MAX = 56 };
void address_smtp_literal(const struct address *a, char out[ADDRESS_LITERAL_MAX]);

/* The address alone, without port; a v4-mapped one as IPv4; "unix" if it is neither. */
enum { ADDRESS_HOST_MAX = 46 };
void address_numeric(const struct address *a, char out[ADDRESS_HOST_MAX]);

/* The same client, for limits: IPv4 addresses (also v4-mapped) alike, IPv6 by their first 64 bits,
 * since one person has all that follows. Unix sockets are all alike. 16 bytes. */
void address_client_key(const struct address *a, unsigned char key[16]);

/* An IPv4 (`ip`: 4 bytes) or IPv6 (16 bytes) address and a port in host order, printed. */
struct address address_of(int family, const void *ip, uint16_t port);
/* The address of the socket's own end; false and errno: it cannot be had. */
bool address_of_socket(int fd, struct address *out);
/* The same from a literal address; false: it is none. */
bool address_read(const char *text, uint16_t port, struct address *out);
/* The same address, as IPv4 if it is a v4-mapped IPv6 one. */
struct address address_unmapped(const struct address *a);
/* Of an IPv4 or IPv6 address, in host order; 0 for any other. */
uint16_t address_port(const struct address *a);

/* A range of addresses. IPv4 and IPv6 are apart: ::/0 has no IPv4 address in it. A v4-mapped
 * address is an IPv4 address, in the text and when it is looked for. */
struct network {
    bool ipv4;
    unsigned char bytes[16]; /* IPv4: the first 4 */
    unsigned bits;           /* how many of them count */
};
struct network_list {
    struct network *items;
    size_t count;
};

/* Reads ADDRESS/BITS, or ADDRESS for itself alone. NULL, or what is wrong. */
const char *network_parse(const char *text, struct network *out);
/* Never true for a Unix socket. */
bool network_list_has(const struct network_list *list, const struct address *a);

#endif
