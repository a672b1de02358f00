/* SPDX-License-Identifier: ISC
 *
 * What dialogues of line protocols have in common, whatever their words are.
 */
#ifndef PROTOCOLS_DIALOGUE_H
#define PROTOCOLS_DIALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/protocol.h"

enum {
    GOODBYE_SECONDS = 10,   /* for a last reply to a client that may be gone */
    SKIP_MAX = 1024 * 1024, /* bytes of one endless line before we give up on the client */
    LAST_WORD_MAX = 200,    /* bytes of a reason; with a long host name still a line of RFC 5321 */
};

/* Sets d->reason. */
void dialogue_because(struct dialogue *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same: `what`, and the first line of the `len` bytes that the backend has said, shortened. A
 * reason stands between quotes in the log, so that the backend's own become others. */
void dialogue_because_of(struct dialogue *d, const char *what, const char *said, size_t len);

/* d->reason as a sentence for the client: printable, for certificates hold names that a stranger
 * has chosen, and no line of ours may be ended by one. */
void dialogue_sentence(const struct dialogue *d, char out[LAST_WORD_MAX + 1]);

/* Until when the client may be silent; `decided`: with TLS or in clear, pretls_deadline is over. */
int64_t dialogue_client_deadline(const struct dialogue *d, bool decided);

/* Whether two programs in a row would agree about where this line of the client ends. */
bool dialogue_ends_clearly(const struct dialogue *d, const struct line *line);

/* Puts the client's line to the backend, byte for byte. Only a bare LF that the administrator wants
 * mended is. */
enum wire_status dialogue_put_line(struct dialogue *d, const struct line *line, int64_t deadline);

/* Appends the next `n` bytes of the wire to `out`, of any kind; at most that of a reply, or of a
 * command, which the caller has seen to. WIRE_TRUNCATED also at the end of the stream. */
enum wire_status dialogue_take_bytes(struct wire *w, size_t n, int64_t deadline, struct reply *out);

/* Whether the backend has said something that nobody asked for, which would pass for the answer to
 * what is asked next. */
bool dialogue_is_out_of_turn(const struct dialogue *d);

/* Says a goodbye, given without CRLF, to which nobody waits for the answer; the one of SMTP. */
void dialogue_tell_backend(struct dialogue *d, const char *command);
void dialogue_quit_backend(struct dialogue *d);

/* Whether nothing has been said to the client, not even into the wire's buffer. */
bool dialogue_client_knows_nothing(const struct dialogue *d);

/* Whether a session may go on in clear where TLS was asked for and has failed. */
bool dialogue_may_fall_back(const struct dialogue *d);

/* Before another server: nothing that is true of one is of the next. */
void dialogue_forget_server(struct dialogue *d);

#endif
