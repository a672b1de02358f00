/* SPDX-License-Identifier: ISC
 *
 * How a session begins whose backend is told by XCLIENT who the client is. XCLIENT of POP3 is
 * Dovecot's: [XCLIENT] in the greeting offers it, +OK answers it, and there is no second greeting.
 */
#ifndef PROTOCOLS_POP3_XCLIENT_H
#define PROTOCOLS_POP3_XCLIENT_H

#include "protocols/pop3_session.h"

/* On a new connection to the backend: reads its greeting, and says XCLIENT. DIALOGUE_GO_ON: it has
 * believed us, and s->edited is its greeting as the client may see it. Otherwise the client has had
 * an -ERR, for a backend that takes it for us must not serve it, and d->remedy says what to
 * configure. */
enum dialogue_end pop3_introduce_client(struct pop3 *s);

#endif
