/* SPDX-License-Identifier: ISC
 *
 * Waiting for the client, and its lines.
 */
#ifndef PROTOCOLS_SMTP_CLIENT_H
#define PROTOCOLS_SMTP_CLIENT_H

#include <stdint.h>

#include "protocols/smtp_session.h"

/* Sends what waits for the client. */
enum dialogue_end smtp_flush_client(struct smtp *s);

/* Waits for the client's next command, and hears the backend meanwhile. */
enum dialogue_end smtp_wait_for_client(struct smtp *s, int64_t deadline);

/* A line longer than the limit: 500, and the session goes on behind it (RFC 5321 §4.5.3.1). */
enum dialogue_end smtp_skip_long_line(struct smtp *s);

#endif
