/* SPDX-License-Identifier: ISC */
#include "protocols/match.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "protocols/memory.h"

enum {
    MATCH_LIMIT = 100000, /* internal match() calls: far above what a keyword needs */
    DEPTH_LIMIT = 1000,
};

struct pattern {
    pcre2_code *code;
    pcre2_match_data *found;
    pcre2_match_context *limits;
};

/* Flags behind the closing delimiter; false at one that is not known. */
static bool read_flags(const char *flags, uint32_t *options)
{
    for (; *flags != '\0'; flags++) {
        switch (*flags) {
        case 'i':
            *options ^= PCRE2_CASELESS;
            break;
        case 'm':
            *options ^= PCRE2_MULTILINE;
            break;
        case 'x':
            *options ^= PCRE2_EXTENDED;
            break;
        default:
            return false;
        }
    }
    return true;
}

struct pattern *pattern_create(const char *text, char *error, size_t error_size)
{
    char delimiter = text[0];
    const char *end = delimiter != '\0' ? strrchr(text + 1, delimiter) : NULL;
    uint32_t options = PCRE2_CASELESS;
    if (!ispunct((unsigned char)delimiter) || end == NULL) {
        snprintf(error, error_size, "a pattern is written /expression/ or /expression/flags");
        return NULL;
    }
    if (!read_flags(end + 1, &options)) {
        snprintf(error, error_size, "unknown flag in \"%s\" behind the pattern", end + 1);
        return NULL;
    }

    int code;
    PCRE2_SIZE offset;
    struct pattern *p = memory_alloc(sizeof *p);
    *p = (struct pattern){0};
    p->code = pcre2_compile((PCRE2_SPTR)text + 1, (PCRE2_SIZE)(end - text - 1), options, &code,
                            &offset, NULL);
    if (p->code == NULL) {
        PCRE2_UCHAR message[128];
        pcre2_get_error_message(code, message, sizeof message);
        snprintf(error, error_size, "%s at position %zu of the pattern", (char *)message,
                 (size_t)offset + 1);
        pattern_destroy(p);
        return NULL;
    }
    /* The just-in-time compiler fails where memory may not be executable; pcre2_match then
     * interprets, so its result is of no interest. */
    (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
    p->found = pcre2_match_data_create_from_pattern(p->code, NULL);
    p->limits = pcre2_match_context_create(NULL);
    if (p->found == NULL || p->limits == NULL) {
        snprintf(error, error_size, "out of memory");
        pattern_destroy(p);
        return NULL;
    }
    pcre2_set_match_limit(p->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(p->limits, DEPTH_LIMIT);
    return p;
}

void pattern_destroy(struct pattern *p)
{
    if (p == NULL)
        return;
    pcre2_match_context_free(p->limits);
    pcre2_match_data_free(p->found);
    pcre2_code_free(p->code);
    free(p);
}

bool pattern_matches(const struct pattern *p, const char *subject, size_t len, bool on_limit)
{
    int n = pcre2_match(p->code, (PCRE2_SPTR)subject, len, 0, 0, p->found, p->limits);
    if (n >= 0)
        return true;
    return n == PCRE2_ERROR_NOMATCH ? false : on_limit;
}

bool pattern_list_matches(const struct pattern_list *list, const char *subject, size_t len,
                          bool on_limit)
{
    for (size_t i = 0; i < list->count; i++)
        if (pattern_matches(list->items[i], subject, len, on_limit))
            return true;
    return false;
}
