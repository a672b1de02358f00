/* SPDX-License-Identifier: ISC
 *
 * Logging in: USER and PASS, APOP (RFC 1939 §7), AUTH (RFC 5034). Of its turns we read no more than
 * who speaks next, and whether it has succeeded.
 */
#ifndef PROTOCOLS_POP3_LOGIN_H
#define PROTOCOLS_POP3_LOGIN_H

#include "protocols/pop3_session.h"

pop3_handler pop3_do_user; /* half a login */
pop3_handler pop3_do_pass; /* also APOP */
pop3_handler pop3_do_auth;

#endif
