/* SPDX-License-Identifier: ISC
 *
 * What we say to a client of POP3 ourselves: refusals, and last words when one of the sides is
 * lost. Nothing here asks the backend.
 */
#ifndef PROTOCOLS_POP3_SAY_H
#define PROTOCOLS_POP3_SAY_H

#include "protocols/pop3_session.h"

/* An answer of one line: "+OK text", "-ERR text". Does not flush. */
enum dialogue_end pop3_say(struct pop3 *s, const char *status, const char *text);

/* A command of the client that we answer with -ERR. */
enum dialogue_end pop3_refuse(struct pop3 *s, const char *text);

/* A refusal after which nothing the client sends is understood: for good, or because it may do
 * better another time (RFC 3206 §4). Flushes; DIALOGUE_REFUSED. */
enum dialogue_end pop3_refuse_and_close(struct pop3 *s, bool temporary, const char *text);

/* The last word: "-ERR [SYS/TEMP]" (RFC 3206 §4) before closing. Whether it arrives changes
 * nothing. It is kept while a server is being chosen: the next one may do. */
void pop3_goodbye(struct pop3 *s, const char *text);

/* A read or a write came back with `status`, which is not WIRE_OK: DIALOGUE_LOST after the last
 * word that fits. */
enum dialogue_end pop3_lost_client(struct pop3 *s, enum wire_status status);
enum dialogue_end pop3_lost_backend(struct pop3 *s, enum wire_status status);

/* The backend does not follow the protocol, so nothing it says from here on can be attributed to a
 * command. `what` goes behind "backend" in the reason. DIALOGUE_LOST. */
enum dialogue_end pop3_distrust_backend(struct pop3 *s, const char *what);

#endif
