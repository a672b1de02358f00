/* SPDX-License-Identifier: ISC
 *
 * RFC 2595 §4 from the client's side: how a session with a server begins that is to have TLS.
 */
#ifndef PROTOCOLS_POP3_REQUEST_H
#define PROTOCOLS_POP3_REQUEST_H

#include "protocols/pop3_session.h"

/* Reads the server's greeting, asks for TLS as the policy wants it, and greets the client, whose
 * commands may be served from then on. Where the end is not DIALOGUE_GO_ON the client has had an
 * -ERR in the place of a greeting. Where the server's TLS is active already (or none is wanted) all
 * there is to do is to pass its greeting on. */
enum dialogue_end pop3_open_request(struct pop3 *s);

#endif
