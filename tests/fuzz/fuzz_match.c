/* SPDX-License-Identifier: ISC
 *
 * Patterns of the configuration, up to the first LF, against bytes of a peer, which follow.
 */
#include "fuzz.h"
#include "protocols/match.h"

enum { PATTERN_MAX = 200 };

static void check_matches(struct pattern *p, const char *subject, size_t len)
{
    struct pattern_list none = {0}, one = {.items = &p, .count = 1};
    bool found = pattern_matches(p, subject, len, false);
    must(!found || pattern_matches(p, subject, len, true), "a limit only matters where it is met");
    must(found == pattern_matches(p, subject, len, false), "the same is found again");
    must(found == pattern_list_matches(&one, subject, len, false), "a list of one is that one");
    must(!pattern_list_matches(&none, subject, len, true), "an empty list matches nothing");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[PATTERN_MAX + 1], error[256] = "";
    const uint8_t *lf = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t len = lf != NULL ? (size_t)(lf - data) : size;
    if (size == 0 || len > PATTERN_MAX)
        return 0;
    memcpy(text, data, len);
    text[len] = '\0';
    struct pattern *p = pattern_create(text, error, sizeof error);
    must((p != NULL) == (error[0] == '\0'), "there is a pattern or a sentence that says why not");
    if (p != NULL) {
        size_t rest = size - len - (lf != NULL);
        char *subject = copy_exactly(data + size - rest, rest);
        check_matches(p, subject, rest);
        free(subject);
    }
    pattern_destroy(p);
    return 0;
}
