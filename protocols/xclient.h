/* SPDX-License-Identifier: ISC
 *
 * XCLIENT: the command by which a backend that trusts us is told whose session this is (Postfix,
 * XCLIENT_README; Dovecot takes it as well). Pure: values in, text out.
 *
 *   XCLIENT ADDR=192.0.2.1 PORT=4444 DESTADDR=192.0.2.2 DESTPORT=25
 *
 * Values are xtext (RFC 3461 §4). IPv6 addresses have "IPV6:" in front: a Postfix that was given
 * one without refuses the command, and takes the client for us.
 *
 * NAME and REVERSE_NAME are said to be unknown. A Postfix that is told of no name goes on with
 * ours: who trusts "localhost" by name would trust every client.
 *
 * So is HELO, which would be ours: the client's own EHLO comes after XCLIENT and is what counts
 * (docs/identity.md).
 */
#ifndef PROTOCOLS_XCLIENT_H
#define PROTOCOLS_XCLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "protocols/reply.h"

enum { XCLIENT_MAX = 512 }; /* bytes of the command with its CRLF (RFC 5321 §4.5.3.1.4) */

/* What a backend takes. */
enum xclient_attribute {
    XCLIENT_ADDR,
    XCLIENT_PORT,
    XCLIENT_DESTADDR,
    XCLIENT_DESTPORT,
    XCLIENT_PROTO,
    XCLIENT_LOGIN,
    XCLIENT_NAME,
    XCLIENT_REVERSE_NAME,
    XCLIENT_HELO,
    XCLIENT_ATTRIBUTES,
};
struct xclient_offer {
    bool takes[XCLIENT_ATTRIBUTES];
};

/* What there is to say; borrowed strings, NULL or "" where there is nothing. */
struct xclient_facts {
    const char *address, *port;               /* of the client: "2001:db8::1", "4444" */
    const char *server_address, *server_port; /* where it connected to */
    const char *proto;                        /* "ESMTP", "LMTP" */
    const char *login;                        /* who it has been proved to be; any bytes */
};

/* Reads the attributes behind XCLIENT in the 250 reply to EHLO or LHLO, in any case; those that are
 * not known here are passed over. False: it is not offered. */
bool xclient_read_offer(const struct reply *r, struct xclient_offer *out);

/* Writes the command with what is both offered and known, and returns its length. 0: it cannot be
 * said who the client is (no address, or the backend does not take ADDR; a login that it does not
 * take), or it would be longer than XCLIENT_MAX; `why` then continues "XCLIENT is of no use: ". */
size_t xclient_write(const struct xclient_offer *offer, const struct xclient_facts *facts,
                     char out[XCLIENT_MAX + 1], const char **why);

#endif
