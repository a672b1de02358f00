/* SPDX-License-Identifier: ISC
 *
 * Logging in. Of the turns of SASL we read no more than who speaks next, and whether it has
 * succeeded.
 */
#ifndef PROTOCOLS_PRELOGIN_LOGIN_H
#define PROTOCOLS_PRELOGIN_LOGIN_H

#include "protocols/prelogin_session.h"

/* The command whose first argument is a mechanism of SASL. */
prelogin_handler prelogin_do_sasl;

/* Passes on the answer to the last piece of a login. DIALOGUE_PUMP: it has succeeded. */
enum dialogue_end prelogin_pass_verdict(struct prelogin *s);

#endif
