/* SPDX-License-Identifier: ISC
 *
 * Configurations: every complaint is counted and told, and what is accepted means the same when it
 * is shown and read again.
 */
#include <strings.h>

#include "fuzz.h"
#include "proxy/config.h"
#include "proxy/options.h"

enum {
    TEXT_MAX = 3000
}; /* shorter than a line may be, so that a path that is made absolute fits */

struct told {
    unsigned errors, warnings;
};

static void hear(void *ctx, bool is_error, const char *sentence)
{
    struct told *t = ctx;
    must(sentence[0] != '\0', "a complaint says something");
    if (is_error)
        t->errors++;
    else
        t->warnings++;
}

static bool load(struct config *c, struct told *t, const char *text, size_t len)
{
    *t = (struct told){0};
    config_init(c);
    c->complain = hear;
    c->complain_ctx = t;
    bool good = config_parse(c, text, len, "fuzz.conf");
    must(good == (c->errors == 0), "reading succeeds when there was no error");
    good = good && config_check(c);
    must(good == (c->errors == 0), "checking succeeds when there was no error");
    must(t->errors == c->errors && t->warnings == c->warnings, "each complaint is told once");
    return good;
}

static char *show(const struct config *c, size_t *len)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, len);
    config_show(c, f);
    fclose(f);
    return text;
}

static bool is_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool is_same_list(const struct values *a, const struct values *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = strcmp(a->items[i].text, b->items[i].text) == 0;
    return same;
}

static bool is_same_value(const struct option_row *row, const void *a, const void *b)
{
    const char *at_a = (const char *)a + row->offset, *at_b = (const char *)b + row->offset;
    switch (row->type) {
    case OPTION_TEXT:
    case OPTION_FILE:
        return is_same_text(*(char *const *)at_a, *(char *const *)at_b);
    case OPTION_SECRET: /* the other one would be a placeholder, which is refused */
        break;
    case OPTION_NUMBER:
    case OPTION_CHOICE:
        return *(const int *)at_a == *(const int *)at_b;
    case OPTION_LIST:
    case OPTION_FILES:
        return is_same_list((const struct values *)at_a, (const struct values *)at_b);
    case OPTION_INCLUDE:
    case OPTION_NOTHING:
    case OPTION_GONE:
        break;
    }
    return true;
}

static void check_values(const void *a, const void *b, enum option_scope scope)
{
    const struct option_row *row;
    for (size_t i = 0; (row = option_at(i)) != NULL; i++)
        must(row->scope != scope || is_same_value(row, a, b), "a value is what was shown");
}

static void check_shown(const struct config *c)
{
    struct config again;
    struct told told;
    size_t len, len_again;
    char *text = show(c, &len);
    must(load(&again, &told, text, len), "what is shown is accepted");
    must(again.n_services == c->n_services, "all services are shown");
    check_values(c, &again, SCOPE_GLOBAL);
    for (size_t i = 0; i < c->n_services; i++)
        check_values(&c->services[i], &again.services[i], SCOPE_SERVICE);
    char *text_again = show(&again, &len_again);
    must(is_same(text, len, text_again, len_again), "what is shown is shown again");
    free(text);
    free(text_again);
    config_finish(&again);
}

static bool has_password(const struct config *c)
{
    for (size_t i = 0; i < c->n_services; i++)
        if (c->services[i].login_password != NULL)
            return true;
    return false;
}

/* What stands for the password must not be taken for one. */
static void check_hidden(const struct config *c)
{
    struct config again;
    struct told told;
    size_t len;
    char *text = show(c, &len);
    must(!load(&again, &told, text, len), "the placeholder of a password is refused");
    free(text);
    config_finish(&again);
}

/* Whether it could make us read directories. */
static bool includes(const char *text, size_t len)
{
    static const char word[] = "include";
    for (size_t i = 0; i + sizeof word - 1 <= len; i++)
        if (strncasecmp(text + i, word, sizeof word - 1) == 0)
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c;
    struct told told;
    if (size > TEXT_MAX || includes((const char *)data, size))
        return 0;
    char *text = copy_exactly(data, size);
    if (load(&c, &told, text, size)) {
        if (has_password(&c))
            check_hidden(&c);
        else
            check_shown(&c);
    }
    config_finish(&c);
    free(text);
    return 0;
}
