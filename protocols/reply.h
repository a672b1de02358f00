/* SPDX-License-Identifier: ISC
 *
 * Three-digit replies (RFC 5321 §4.2) and the capability list in one of them (§4.1.1.1).
 * Pure: bytes in, bytes out, no reading and no writing.
 */
#ifndef PROTOCOLS_REPLY_H
#define PROTOCOLS_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "protocols/keyword.h"
#include "protocols/match.h"

enum reply_line {
    REPLY_MORE, /* "250-text": further lines follow */
    REPLY_LAST, /* "250 text" or "250": the reply is complete */
    REPLY_BAD,  /* not a reply line, or its code differs from the first line's */
};

/* A reply as received: every byte, with the line ends. */
struct reply {
    int code; /* 0 while empty */
    size_t lines;
    char *bytes; /* owned; not terminated by NUL */
    size_t len, size;
};

/* Takes one line (`len` bytes with its line end) into the reply. At REPLY_BAD the reply is as
 * it was before. The code's first digit must be 2 to 5 (RFC 5321 §4.2.1; 1 is never sent). */
enum reply_line reply_add_line(struct reply *r, const char *line, size_t len);

/* Takes bytes as they are, of what is no three-digit reply; code and lines stay. */
void reply_append(struct reply *r, const char *data, size_t len);
/* The same for a line of a list, without mechanisms that bind to the channel. False when nothing of
 * it is left to be shown. */
bool reply_append_unbound(struct reply *r, const struct keyword_line *k);

/* Empties it, keeping the memory; frees the memory. Both accept a zeroed struct. */
void reply_clear(struct reply *r);
void reply_finish(struct reply *r);

/* Whether the 250 reply to EHLO or LHLO names the keyword, as a whole word in any case; its first
 * line is the domain. */
bool reply_offers(const struct reply *r, const char *keyword);

/* The same, and what stands behind the keyword on its line: `len` bytes, without the line end. They
 * borrow from `r`. */
bool reply_find(const struct reply *r, const char *keyword, const char **parameters, size_t *len);

/* What is to be done with a list of capabilities. */
struct capability_rules {
    bool offer_starttls;                  /* put STARTTLS into the list */
    bool hide_auth;                       /* AUTH in every spelling, where there is no TLS yet */
    const struct pattern_list *hide;      /* the administrator's; matched against a keyword line */
    const struct capability_edits *edits; /* NULL: none */
};

/* NULL, or what is wrong with the text as a line that is added: it is no keyword (RFC 5321
 * §4.1.1.1) with parameters in printable ASCII that fits into a line of 512 bytes, or the keyword
 * promises what only the backend or we ourselves can keep: those that are never shown, AUTH, and
 * CHUNKING, behind which the backend must read octets. */
const char *reply_may_add(const char *text);

/* What the list, as the client is shown it, promises. */
struct capabilities {
    bool chunking;       /* RFC 3030 */
    bool enhanced_codes; /* RFC 2034 */
};

/* Writes to `out` (cleared first) what the client may see of the 250 reply `in` to EHLO or LHLO:
 * - the first line, the domain, is kept;
 * - never shown: STARTTLS of the backend, XCLIENT, XFORWARD (they would hand out the trust that
 *   the backend has in us), REQUIRETLS (RFC 8689: we cannot promise it), PIPECONNECT, *-PLUS
 *   mechanisms (RFC 9266: bound to one TLS connection, which is not the backend's),
 *   X-ANONYMOUSTLS and TLS (dialects of STARTTLS), XEXCH50 (carries uncounted bytes);
 * - STARTTLS, when offered, is put behind the domain, so that it is the last line only if it is
 *   the only keyword: as the first line it would take the domain's place, and at least one
 *   Android client does not see it on the last (RFC 5321 §4.1.1.1 permits any place);
 * - of the lines that stay only the '-' or ' ' behind the code may change;
 * - what edits add comes last, each keyword only if it is not there. An edit hides from the
 *   backend's lines and from what the edits before it add, never what it adds itself, so that a
 * line can be replaced; patterns hide from the backend's lines only. A keyword is compared as a
 * whole word: "XSECURITY=NONE,STARTTLS" is not STARTTLS. Blanks and control characters around it do
 * not count, because some clients skip them. */
void reply_edit_capabilities(const struct reply *in, const struct capability_rules *rules,
                             struct reply *out, struct capabilities *told);

#endif
