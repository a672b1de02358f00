/* SPDX-License-Identifier: ISC
 *
 * Waiting for the client of POP3, and its lines.
 */
#ifndef PROTOCOLS_POP3_CLIENT_H
#define PROTOCOLS_POP3_CLIENT_H

#include "protocols/pop3_session.h"

/* Sends what waits for the client. */
enum dialogue_end pop3_flush_client(struct pop3 *s);

/* Waits for the client's next command, and hears the backend meanwhile. */
enum dialogue_end pop3_wait_for_client(struct pop3 *s, int64_t deadline);

/* A line longer than the limit: -ERR, and the session goes on behind it. */
enum dialogue_end pop3_skip_long_line(struct pop3 *s);

#endif
