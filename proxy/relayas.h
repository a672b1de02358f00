/* SPDX-License-Identifier: ISC
 *
 * relayAs: which client certificates prove which name to the backend.
 */
#ifndef PROXY_RELAYAS_H
#define PROXY_RELAYAS_H

#include <stdbool.h>
#include <stddef.h>

#include "protocols/match.h"
#include "proxy/certkeys.h"

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

/* The first rule whose pattern is found in one of the keys, NULL if there is none; the order of the
 * keys does not matter. Keys that are not whole are passed over. Borrowed. */
const struct relay_rule *relay_list_find(const struct relay_list *list,
                                         const struct cert_keys *keys);

#endif
