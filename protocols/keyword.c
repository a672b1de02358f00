/* SPDX-License-Identifier: ISC */
#include "protocols/keyword.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* What some client might skip or take for the end of a word: blanks, and control characters. */
static bool is_gap(char c)
{
    return (unsigned char)c <= ' ';
}

static void find_word(struct keyword_line *k)
{
    const char *end = k->text + k->text_len;
    k->word = k->text;
    while (k->word < end && is_gap(*k->word))
        k->word++;
    while (k->word + k->word_len < end && !is_gap(k->word[k->word_len]) &&
           k->word[k->word_len] != '=')
        k->word_len++;
}

struct keyword_line keyword_line_in(const char *line, size_t len, size_t prefix)
{
    struct keyword_line k = {.line = line, .len = len};
    size_t text = len;
    if (text > 0 && line[text - 1] == '\n')
        text--;
    if (text > 0 && line[text - 1] == '\r')
        text--;
    size_t skip = text > prefix ? prefix : text;
    k.text = line + skip;
    k.text_len = text - skip;
    find_word(&k);
    return k;
}

struct keyword_line keyword_line_of(const char *text)
{
    struct keyword_line k = {
        .line = text, .len = strlen(text), .text = text, .text_len = strlen(text)};
    find_word(&k);
    return k;
}

bool keyword_is(const struct keyword_line *k, const char *name)
{
    return k->word_len == strlen(name) && strncasecmp(k->word, name, k->word_len) == 0;
}

bool keyword_is_same(const struct keyword_line *k, const struct keyword_line *other)
{
    return k->word_len == other->word_len && strncasecmp(k->word, other->word, k->word_len) == 0;
}

bool keyword_is_one_of(const struct keyword_line *k, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (keyword_is(k, names[i]))
            return true;
    return false;
}

bool keyword_is_edited_out(const struct keyword_line *k, const struct capability_edits *edits,
                           size_t n)
{
    for (; edits != NULL && n < edits->count; n++)
        for (size_t i = 0; i < edits->items[n]->n_hide; i++)
            if (keyword_is(k, edits->items[n]->hide[i]))
                return true;
    return false;
}

bool keyword_is_hidden(const struct keyword_line *k, const struct capability_edits *edits,
                       const struct pattern_list *hide)
{
    return keyword_is_edited_out(k, edits, 0) ||
           (hide != NULL && pattern_list_matches(hide, k->text, k->text_len, true));
}

bool keyword_is_any_added(const struct capability_edits *edits)
{
    for (size_t i = 0; edits != NULL && i < edits->count; i++)
        if (edits->items[i]->n_add > 0)
            return true;
    return false;
}

bool keyword_has_parameters(const struct keyword_line *k)
{
    return k->word + k->word_len < k->text + k->text_len;
}

static bool is_channel_bound(const char *mechanism, size_t len)
{
    return len >= 5 && strncasecmp(mechanism + len - 5, "-PLUS", 5) == 0;
}

static bool is_separator(char c)
{
    return is_gap(c) || c == '=';
}

static size_t put(char *out, size_t at, const char *data, size_t len)
{
    memcpy(out + at, data, len);
    return at + len;
}

size_t keyword_write_unbound(const struct keyword_line *k, char *out)
{
    size_t i = (size_t)(k->word - k->text) + k->word_len;
    size_t len = put(out, 0, k->line, (size_t)(k->text - k->line) + i);
    bool any = false;
    while (i < k->text_len) {
        size_t gap = i;
        while (i < k->text_len && is_separator(k->text[i]))
            i++;
        size_t word = i;
        while (i < k->text_len && !is_separator(k->text[i]))
            i++;
        if (i == word || is_channel_bound(k->text + word, i - word))
            continue;
        len = put(out, len, k->text + gap, i - gap);
        any = true;
    }
    const char *end = k->text + k->text_len;
    return any ? put(out, len, end, (size_t)(k->line + k->len - end)) : 0;
}

const char *keyword_may_add(const char *text, size_t max)
{
    const struct keyword_line k = keyword_line_of(text);
    if (k.text_len > max)
        return "is too long for a line of 512 bytes";
    for (size_t i = 0; i < k.text_len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return "has bytes that are not printable ASCII";
    if (!isalnum((unsigned char)text[0]))
        return "does not begin with a keyword";
    for (size_t i = 0; i < k.word_len; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_')
            return "does not begin with a keyword of letters, digits, '-' and '_'";
    return NULL;
}
