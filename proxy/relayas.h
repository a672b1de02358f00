/* SPDX-License-Identifier: ISC
 *
 * relayAs: which client certificates prove which name to the backend.
 */
#ifndef PROXY_RELAYAS_H
#define PROXY_RELAYAS_H

#include <stdbool.h>
#include <stddef.h>

#include "certs/tls.h"
#include "protocols/match.h"

enum { RELAY_NAME_MAX = 64 };

struct relay_rule {
    struct pattern *pattern;
    char name[RELAY_NAME_MAX + 1];
};
struct relay_list {
    struct relay_rule *items;
    size_t count;
};

/* Reads "/pattern/flags NAME" and puts it behind the others. NAME is of letters, digits and
 * ". _ - @ +", at most RELAY_NAME_MAX. False: `error` says what is wrong. */
bool relay_list_add(struct relay_list *list, const char *text, char *error, size_t error_size);
void relay_list_finish(struct relay_list *list);

/* The name of the first rule whose pattern is found in one of these texts about the peer's
 * certificate, NULL if there is none:
 *   sha256:HEX  spki-sha256:HEX  subject:RFC4514  issuer:RFC4514  name:NAME
 * NAME is the first subjectAltName, or without any the common name. A text that tls.h could not
 * write whole, or not in ASCII, is none: two certificates might share it. Borrowed.
 * To be asked only about a certificate that has been judged to be good. */
const char *relay_list_find(const struct relay_list *list, const struct tls_certificates *c);

/* Whether a text of tls.h about a certificate is there, and is all of it. */
bool relay_text_is_whole(const char *text);

#endif
