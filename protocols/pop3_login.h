/* SPDX-License-Identifier: ISC
 *
 * Logging in without SASL: USER and PASS, APOP (RFC 1939 §7).
 */
#ifndef PROTOCOLS_POP3_LOGIN_H
#define PROTOCOLS_POP3_LOGIN_H

#include "protocols/prelogin_session.h"

prelogin_handler pop3_do_user; /* half a login */
prelogin_handler pop3_do_pass; /* also APOP */

#endif
