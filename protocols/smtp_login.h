/* SPDX-License-Identifier: ISC
 *
 * Logging in to a server for a client that cannot (RFC 4954): after TLS, before the client is
 * greeted. Private to smtp*.c.
 */
#ifndef PROTOCOLS_SMTP_LOGIN_H
#define PROTOCOLS_SMTP_LOGIN_H

#include "protocols/smtp_session.h"

/* Says EHLO and AUTH as d->login, if there is one; needs TLS with a verified server, whose greeting
 * has been read. One attempt with one mechanism; a secret that is not there is asked for when that
 * is chosen. DIALOGUE_GO_ON: the server knows us, or nobody is to be known. Else the client has
 * heard a 421, so that it keeps its mail; d->remedy says what the administrator can do if it is his
 * to mend. */
enum dialogue_end smtp_log_in(struct smtp *s);

/* For a server that does not take a second EHLO in a connection: s->reply becomes what it has
 * answered to ours; for HELO the first line of it. False: it never has, or has been used. */
bool smtp_recall_hello(struct smtp *s, bool extended);

#endif
