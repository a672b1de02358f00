/* SPDX-License-Identifier: ISC
 *
 * What we say to the client ourselves: refusals, and last words when one of the sides is lost.
 * Nothing here asks the backend.
 */
#ifndef PROTOCOLS_SMTP_SAY_H
#define PROTOCOLS_SMTP_SAY_H

#include "protocols/smtp_session.h"

/* A reply of one line. The enhanced code is used only where the server has announced them
 * (RFC 2034). Does not flush. */
enum dialogue_end smtp_say(struct smtp *s, int code, const char *enhanced, const char *text);

/* A command of the client that we answer with a refusal of our own and that brought no mail. */
enum dialogue_end smtp_refuse(struct smtp *s, int code, const char *enhanced, const char *text);

/* A refusal after which nothing the client sends can be understood. Flushes; DIALOGUE_REFUSED. */
enum dialogue_end smtp_refuse_and_close(struct smtp *s, int code, const char *enhanced,
                                        const char *text);

/* The last word: 421 before closing (RFC 5321 §3.8). Whether it arrives changes nothing. It is kept
 * while a server is being chosen: the next one may do. */
void smtp_goodbye(struct smtp *s, const char *enhanced, const char *text);

/* A read or a write came back with `status`, which is not WIRE_OK: DIALOGUE_LOST after the last
 * word that fits. */
enum dialogue_end smtp_lost_client(struct smtp *s, enum wire_status status);
enum dialogue_end smtp_lost_backend(struct smtp *s, enum wire_status status);

/* The backend does not follow the protocol, so nothing it says from here on can be attributed to
 * a command. Temporary for the client: it keeps its mail. `what` goes behind "backend" in the
 * reason. DIALOGUE_LOST. */
enum dialogue_end smtp_distrust_backend(struct smtp *s, const char *what);

#endif
