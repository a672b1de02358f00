/* SPDX-License-Identifier: ISC
 *
 * How a session begins whose backend is told by XCLIENT who the client is. XCLIENT of protocols of
 * mailboxes is Dovecot's: the greeting offers it, an OK answers it, and there is no second
 * greeting.
 */
#ifndef PROTOCOLS_PRELOGIN_XCLIENT_H
#define PROTOCOLS_PRELOGIN_XCLIENT_H

#include "protocols/prelogin_session.h"

/* On a new connection to the backend: reads its greeting, and says XCLIENT. DIALOGUE_GO_ON: it has
 * believed us, and s->edited is its greeting as the client may see it. Otherwise the client has had
 * a refusal, for a backend that takes it for us must not serve it, and d->remedy says what to
 * configure. */
enum dialogue_end prelogin_introduce_client(struct prelogin *s);

#endif
