/* SPDX-License-Identifier: ISC
 *
 * How a session begins whose backend is told by XCLIENT who the client is.
 */
#ifndef PROTOCOLS_SMTP_XCLIENT_H
#define PROTOCOLS_SMTP_XCLIENT_H

#include "protocols/smtp_session.h"

/* On a new connection to the backend: reads its greeting, says EHLO or LHLO in our own name, and
 * XCLIENT. DIALOGUE_GO_ON: the backend begins anew with this client, and s->reply is its second
 * greeting, a 220, which is the first that counts. Otherwise the client has had a 421, for a
 * backend that takes it for us must not serve it, and d->remedy says what to configure. */
enum dialogue_end smtp_introduce_client(struct smtp *s);

#endif
