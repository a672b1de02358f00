/* SPDX-License-Identifier: ISC
 *
 * What we say to a client ourselves before its login: refusals, and last words when one of the
 * sides is lost. Nothing here asks the backend.
 */
#ifndef PROTOCOLS_PRELOGIN_SAY_H
#define PROTOCOLS_PRELOGIN_SAY_H

#include "protocols/prelogin_session.h"

/* An answer of one line. Does not flush. */
enum dialogue_end prelogin_say(struct prelogin *s, enum say how, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A command of the client that we refuse. */
enum dialogue_end prelogin_refuse(struct prelogin *s, const char *text);
/* The same, because there is no TLS yet. */
enum dialogue_end prelogin_refuse_in_clear(struct prelogin *s);

/* A refusal after which nothing the client sends is understood: for good, or because it may do
 * better another time. Flushes; DIALOGUE_REFUSED. */
enum dialogue_end prelogin_refuse_and_close(struct prelogin *s, bool temporary, const char *text);

/* The last word, a temporary refusal before closing. Whether it arrives changes nothing. It is kept
 * while a server is being chosen: the next one may do. */
void prelogin_goodbye(struct prelogin *s, const char *text);

/* Says goodbye to the backend; nobody waits for the answer. */
void prelogin_quit_backend(struct prelogin *s);

/* A read or a write came back with `status`, which is not WIRE_OK: DIALOGUE_LOST after the last
 * word that fits. */
enum dialogue_end prelogin_lost_client(struct prelogin *s, enum wire_status status);
enum dialogue_end prelogin_lost_backend(struct prelogin *s, enum wire_status status);

/* The backend does not follow the protocol, so nothing it says from here on can be attributed to a
 * command. `what` goes behind "backend" in the reason. DIALOGUE_LOST. */
enum dialogue_end prelogin_distrust_backend(struct prelogin *s, const char *what);

#endif
