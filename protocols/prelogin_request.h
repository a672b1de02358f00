/* SPDX-License-Identifier: ISC
 *
 * The upgrade to TLS from the client's side: how a session with a server begins that is to have it.
 */
#ifndef PROTOCOLS_PRELOGIN_REQUEST_H
#define PROTOCOLS_PRELOGIN_REQUEST_H

#include "protocols/prelogin_session.h"

/* Reads the server's greeting, asks for TLS as the policy wants it, and greets the client, whose
 * commands may be served from then on. Where the end is not DIALOGUE_GO_ON the client has had a
 * refusal in the place of a greeting. Where the server's TLS is active already (or none is wanted)
 * all there is to do is to pass its greeting on. */
enum dialogue_end prelogin_open_request(struct prelogin *s);

#endif
