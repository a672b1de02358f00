/* SPDX-License-Identifier: ISC
 *
 * What a session knows, put together for the trace header of a message (trace.h).
 */
#ifndef PROTOCOLS_SMTP_TRACE_H
#define PROTOCOLS_SMTP_TRACE_H

#include "protocols/smtp_session.h"
#include "protocols/trace.h"

/* Whether messages of this session get a header. Where we ask the server for TLS they do not: the
 * client has chosen that server, and we are a part of the client. */
bool smtp_is_traced(const struct smtp *s);

/* Remembers the name in EHLO, LHLO or HELO. */
void smtp_trace_hello(struct smtp *s, const struct command *c);

/* trace_write for the message that begins with `data`. */
size_t smtp_trace_write(const struct smtp *s, const char *data, size_t len, bool stuffed,
                        char out[TRACE_MAX]);

#endif
