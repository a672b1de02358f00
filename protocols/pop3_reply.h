/* SPDX-License-Identifier: ISC
 *
 * What a POP3 server says (RFC 1939 §3): its answers, its greeting (§7), and the list behind CAPA
 * (RFC 2449 §5). Pure. A list is kept in a struct reply, of which code stays 0.
 */
#ifndef PROTOCOLS_POP3_REPLY_H
#define PROTOCOLS_POP3_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "protocols/answer.h"
#include "protocols/keyword.h"
#include "protocols/reply.h"

/* The first word of an answer, without line end: "+OK", "-ERR", or "+" in the middle of AUTH
 * (RFC 5034 §4). RFC 1939 §3 wants it in upper case. */
enum answer pop3_status_of(const char *text, size_t len);

/* Whether a line, without its end, ends an answer of many lines: a dot alone (RFC 1939 §3). */
bool pop3_is_end(const char *text, size_t len);

/* Writes to `out` (cleared first) the greeting as the client may see it, `len` bytes with the line
 * end. Never shown: [XCLIENT], by which Dovecot says that it would believe us who the client is. If
 * asked for, the timestamp of APOP (RFC 1939 §7) is hidden: all from a '<' to the next '>', because
 * clients look for no more than these. What stays is not changed. */
void pop3_edit_greeting(const char *line, size_t len, bool hide_timestamp, struct reply *out);

/* Whether the greeting says [XCLIENT]. */
bool pop3_greeting_takes_xclient(const char *line, size_t len);

/* What is to be done with a list of capabilities. */
struct pop3_rules {
    bool offer_stls;                      /* put STLS into the list */
    bool hide_login;                      /* USER, SASL and their like, where there is no TLS yet */
    const struct pattern_list *hide;      /* the administrator's; matched against a line */
    const struct capability_edits *edits; /* NULL: none */
};

/* Writes to `out` (cleared first) what the client may see of `in`, an answer to CAPA from "+OK" to
 * the dot:
 * - never shown: STLS of the backend, XCLIENT (it would hand out the trust that the backend has in
 *   us), *-PLUS mechanisms of SASL (RFC 9266: bound to one TLS connection, which is not the
 *   backend's);
 * - STLS, when offered, comes first, and what edits add comes last, each keyword only if it is not
 *   there. An edit hides from the backend's lines and from what the edits before it add, never what
 *   it adds itself;
 * - lines that stay are not changed. */
void pop3_edit_capabilities(const struct reply *in, const struct pop3_rules *rules,
                            struct reply *out);

/* The same where the backend knows no CAPA (RFC 2595 §4 wants it where there is STLS). Such a
 * server has USER; nothing is known of what it can do besides. */
void pop3_write_capabilities(const struct pop3_rules *rules, struct reply *out);

/* Whether the answer to CAPA names the keyword, as a whole word in any case. */
bool pop3_offers(const struct reply *r, const char *keyword);

/* NULL, or what is wrong with the text as a line that is added: it is no keyword with parameters in
 * printable ASCII that fits into a line of 512 bytes (RFC 2449 §4), or the keyword promises what
 * only the backend or we ourselves can keep. */
const char *pop3_may_add(const char *text);

#endif
