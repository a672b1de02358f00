/* SPDX-License-Identifier: ISC
 *
 * Waiting for the client before its login.
 */
#ifndef PROTOCOLS_PRELOGIN_CLIENT_H
#define PROTOCOLS_PRELOGIN_CLIENT_H

#include "protocols/prelogin_session.h"

/* Sends what waits for the client. */
enum dialogue_end prelogin_flush_client(struct prelogin *s);

/* Waits for the client's next command, and hears the backend meanwhile. */
enum dialogue_end prelogin_wait_for_client(struct prelogin *s, int64_t deadline);

#endif
