/* SPDX-License-Identifier: ISC
 *
 * One Received header (RFC 5321 §4.4): who gave us a message, how, and when.
 *
 *   Received: from client.example.net ([192.0.2.1])
 *           by mx.example.org (ehlock) with ESMTPS
 *           (version=TLS1.3 cipher=AES-256-GCM bits=256);
 *           Sun, 06 Nov 1994 08:49:37 +0000
 *
 * Pure: values in, text out. Some of the values are a stranger's choice, so what is neither a
 * domain nor an address literal is written in a comment, and there every byte becomes '?' that is
 * not a letter, a digit or harmless punctuation: it can end neither the comment nor the line.
 */
#ifndef PROTOCOLS_TRACE_H
#define PROTOCOLS_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRACE_MAX = 2048,     /* bytes of a header, with the empty line that may follow it */
    TRACE_HELO_MAX = 256, /* bytes of a HELO worth remembering: one more than a domain may have */
    TRACE_LOOK_AHEAD = 3, /* bytes of a message that trace_write wants to see */
};

/* The client, as the session knows it; borrowed strings. */
struct trace_client {
    const char *address; /* "[192.0.2.1]", "[IPv6:2001:db8::1]"; "" or NULL: it has none */
    const char *tls_version, *tls_cipher; /* NULL: in clear */
    unsigned tls_bits;
    const char *verified; /* name in a certificate that was verified, any bytes; NULL: none */
};

struct trace {
    struct trace_client client;
    const char *helo; /* what it calls itself, any bytes */
    size_t helo_len;  /* 0: nothing */
    const char *hostname;
    const char *protocol; /* of trace_protocol */
    int64_t when;         /* seconds since 1970; UTC is written, since a jail has no time zones */
};

/* The word for how a message came: RFC 3848, and RFC 6531 §4.3 for `utf8`. A client that said HELO
 * (not `extended`) speaks plain SMTP, for which there is one word. */
struct trace_manner {
    bool lmtp, extended, tls, authenticated, utf8;
};
const char *trace_protocol(const struct trace_manner *m);

/* Writes the header, with its CRLF, to `out`, and returns its length. Lines are folded at 78 bytes,
 * a mark behind the last word not counted; only a name longer than that makes a longer line, of at
 * most 300. `data` is how the message begins: TRACE_LOOK_AHEAD bytes of it, or all if it is
 * shorter. If that would go on with our header, as a line that begins with a blank does, the header
 * is followed by an empty line. `stuffed`: a dot in front of the first line will be taken away
 * (DATA). */
size_t trace_write(const struct trace *t, const char *data, size_t len, bool stuffed,
                   char out[TRACE_MAX]);

#endif
