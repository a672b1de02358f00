/* SPDX-License-Identifier: ISC */
#include "proxy/relayas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocols/memory.h"

/* ---- reading ---- */

static bool is_name(const char *text)
{
    static const char good[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-@+";
    size_t len = strlen(text);
    return len > 0 && len <= RELAY_NAME_MAX && strspn(text, good) == len;
}

/* Both parts may be wrong: the pattern has its own words for that. */
bool relay_list_add(struct relay_list *list, const char *text, char *error, size_t error_size)
{
    struct relay_rule rule = {0};
    const char *blank = strrchr(text, ' '), *tab = strrchr(text, '\t');
    if (blank == NULL || (tab != NULL && tab > blank))
        blank = tab;
    if (blank == NULL || !is_name(blank + 1)) {
        snprintf(error, error_size,
                 "write /pattern/ NAME, with a name of at most %d letters, digits and . _ - @ +",
                 RELAY_NAME_MAX);
        return false;
    }
    snprintf(rule.name, sizeof rule.name, "%s", blank + 1);
    while (blank > text && (blank[-1] == ' ' || blank[-1] == '\t'))
        blank--;
    char *pattern = memory_strdup(text);
    pattern[blank - text] = '\0';
    rule.pattern = pattern_create(pattern, error, error_size);
    free(pattern);
    if (rule.pattern == NULL)
        return false;
    list->items = memory_resize(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = rule;
    return true;
}

void relay_list_finish(struct relay_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        pattern_destroy(list->items[i].pattern);
    free(list->items);
    *list = (struct relay_list){0};
}

/* ---- finding ---- */

/* A pattern that takes too long to decide has decided against the client. */
static bool finds(const struct pattern *p, const struct cert_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        const struct cert_key *key = &keys->items[i];
        if (key->whole && pattern_matches(p, key->text, strlen(key->text), false))
            return true;
    }
    return false;
}

const struct relay_rule *relay_list_find(const struct relay_list *list,
                                         const struct cert_keys *keys)
{
    for (size_t i = 0; i < list->count; i++)
        if (finds(list->items[i].pattern, keys))
            return &list->items[i];
    return NULL;
}
