/* SPDX-License-Identifier: ISC
 *
 * AUTH (RFC 4954): the turns of a login, of which we read no more than who speaks next.
 */
#ifndef PROTOCOLS_SMTP_AUTH_H
#define PROTOCOLS_SMTP_AUTH_H

#include "protocols/smtp_session.h"

/* Whether the AUTH keyword and command are withheld: RFC 4954 §4, no passwords in clear. */
bool smtp_auth_withheld(const struct smtp *s);
/* Whether the keyword is not shown: for that reason, or because we log in for the client. */
bool smtp_auth_hidden(const struct smtp *s);

smtp_handler smtp_do_auth;

#endif
