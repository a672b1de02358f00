/* SPDX-License-Identifier: ISC */
#include "protocols/reply.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocols/memory.h"

static void append(struct reply *r, const char *data, size_t len)
{
    if (r->len + len > r->size) {
        size_t size = r->size == 0 ? 512 : r->size;
        while (size < r->len + len)
            size *= 2;
        r->bytes = memory_resize(r->bytes, size);
        r->size = size;
    }
    if (len > 0)
        memcpy(r->bytes + r->len, data, len);
    r->len += len;
}

void reply_clear(struct reply *r)
{
    r->code = 0;
    r->lines = 0;
    r->len = 0;
}

void reply_finish(struct reply *r)
{
    free(r->bytes);
    *r = (struct reply){0};
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes of the line without LF or CRLF. */
static size_t text_length(const char *line, size_t len)
{
    if (len > 0 && line[len - 1] == '\n')
        len--;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    return len;
}

enum reply_line reply_add_line(struct reply *r, const char *line, size_t len)
{
    size_t text = text_length(line, len);
    if (text < 3 || line[0] < '2' || line[0] > '5' || !is_digit(line[1]) || !is_digit(line[2]))
        return REPLY_BAD;
    if (text > 3 && line[3] != '-' && line[3] != ' ')
        return REPLY_BAD;
    int code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
    if (r->lines > 0 && code != r->code)
        return REPLY_BAD;
    r->code = code;
    r->lines++;
    append(r, line, len);
    return text > 3 && line[3] == '-' ? REPLY_MORE : REPLY_LAST;
}

/* One line of the list: `text` is what follows the code and its separator, `word` the keyword. */
struct keyword_line {
    const char *line;
    size_t len;
    const char *text;
    size_t text_len;
    const char *word;
    size_t word_len;
};

/* What some client might skip or take for the end of a word: blanks, and control characters. */
static bool is_gap(char c)
{
    return (unsigned char)c <= ' ';
}

/* The keyword ends at a gap, or at '=' for the old spelling "AUTH=LOGIN". */
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

static bool next_line(const struct reply *r, size_t *position, struct keyword_line *out)
{
    if (*position >= r->len)
        return false;
    const char *line = r->bytes + *position;
    const char *lf = memchr(line, '\n', r->len - *position);
    size_t len = lf != NULL ? (size_t)(lf - line) + 1 : r->len - *position;
    size_t text = text_length(line, len);
    *position += len;
    *out = (struct keyword_line){.line = line,
                                 .len = len,
                                 .text = line + (text > 4 ? 4 : text),
                                 .text_len = text > 4 ? text - 4 : 0};
    find_word(out);
    return true;
}

static bool keyword_is(const struct keyword_line *k, const char *name)
{
    return k->word_len == strlen(name) && strncasecmp(k->word, name, k->word_len) == 0;
}

bool reply_find(const struct reply *r, const char *keyword, const char **parameters, size_t *len)
{
    struct keyword_line k;
    size_t position = 0;
    if (!next_line(r, &position, &k))
        return false;
    while (next_line(r, &position, &k)) {
        if (!keyword_is(&k, keyword))
            continue;
        *parameters = k.word + k.word_len;
        *len = (size_t)(k.text + k.text_len - *parameters);
        return true;
    }
    return false;
}

bool reply_offers(const struct reply *r, const char *keyword)
{
    const char *parameters;
    size_t len;
    return reply_find(r, keyword, &parameters, &len);
}

static bool is_auth(const struct keyword_line *k)
{
    return keyword_is(k, "AUTH") || keyword_is(k, "X-EXPS");
}

static bool is_never_shown(const struct keyword_line *k)
{
    static const char *const never[] = {
        "STARTTLS",      "XCLIENT",        "XFORWARD",       "REQUIRETLS", "PIPECONNECT",
        "X_PIPECONNECT", "X_PIPE_CONNECT", "X-ANONYMOUSTLS", "TLS",        "XEXCH50",
    };
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (keyword_is(k, never[i]))
            return true;
    return false;
}

/* Whether one of the edits, from the n-th on, takes the keyword out. */
static bool is_edited_out(const struct keyword_line *k, const struct capability_edits *edits,
                          size_t n)
{
    for (; edits != NULL && n < edits->count; n++)
        for (size_t i = 0; i < edits->items[n]->n_hide; i++)
            if (keyword_is(k, edits->items[n]->hide[i]))
                return true;
    return false;
}

static bool is_hidden(const struct keyword_line *k, const struct capability_rules *rules)
{
    if (is_never_shown(k) || is_edited_out(k, rules->edits, 0))
        return true;
    if (rules->hide_auth && is_auth(k))
        return true;
    return rules->hide != NULL && pattern_list_matches(rules->hide, k->text, k->text_len, true);
}

static bool is_channel_bound(const char *mechanism, size_t len)
{
    return len >= 5 && strncasecmp(mechanism + len - 5, "-PLUS", 5) == 0;
}

static bool is_separator(char c)
{
    return is_gap(c) || c == '=';
}

/* Writes the line again without mechanisms that bind to the channel, each with the blank before
 * it. Returns false, and writes nothing, when no mechanism is left. */
static bool append_auth(struct reply *out, const struct keyword_line *k)
{
    size_t line_start = out->len;
    size_t i = (size_t)(k->word - k->text) + k->word_len;
    bool any = false;
    append(out, k->line, (size_t)(k->text - k->line) + i);
    while (i < k->text_len) {
        size_t gap = i;
        while (i < k->text_len && is_separator(k->text[i]))
            i++;
        size_t word = i;
        while (i < k->text_len && !is_separator(k->text[i]))
            i++;
        if (i == word || is_channel_bound(k->text + word, i - word))
            continue;
        append(out, k->text + gap, i - gap);
        any = true;
    }
    if (!any) {
        out->len = line_start;
        return false;
    }
    const char *end = k->text + k->text_len;
    append(out, end, (size_t)(k->line + k->len - end));
    return true;
}

/* False when nothing of the line is left to be shown. */
static bool append_keyword(struct reply *out, const struct keyword_line *k)
{
    if (is_auth(k) && k->word + k->word_len < k->text + k->text_len)
        return append_auth(out, k);
    append(out, k->line, k->len);
    return true;
}

static void note(const struct keyword_line *k, struct capabilities *told)
{
    if (keyword_is(k, "CHUNKING"))
        told->chunking = true;
    else if (keyword_is(k, "ENHANCEDSTATUSCODES"))
        told->enhanced_codes = true;
}

/* ---- lines that are added ---- */

static struct keyword_line line_of(const char *text)
{
    struct keyword_line k = {.text = text, .text_len = strlen(text)};
    find_word(&k);
    return k;
}

const char *reply_may_add(const char *text)
{
    enum { TEXT_MAX = 512 - 4 - 2 }; /* RFC 5321 §4.5.3.1.5, without code and CRLF */
    const struct keyword_line k = line_of(text);
    if (k.text_len > TEXT_MAX)
        return "is too long for a line of 512 bytes";
    for (size_t i = 0; i < k.text_len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return "has bytes that are not printable ASCII";
    if (!isalnum((unsigned char)text[0]))
        return "does not begin with a keyword";
    for (size_t i = 0; i < k.word_len; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_')
            return "does not begin with a keyword of letters, digits, '-' and '_'";
    if (is_never_shown(&k) || is_auth(&k) || keyword_is(&k, "CHUNKING") ||
        keyword_is(&k, "BINARYMIME"))
        return "promises what only the backend or ehlock itself can keep";
    return NULL;
}

static bool adds_anything(const struct capability_edits *edits)
{
    for (size_t i = 0; edits != NULL && i < edits->count; i++)
        if (edits->items[i]->n_add > 0)
            return true;
    return false;
}

static bool has_keyword(const struct reply *r, const struct keyword_line *wanted)
{
    struct keyword_line k;
    size_t position = 0;
    (void)next_line(r, &position, &k); /* the domain */
    while (next_line(r, &position, &k))
        if (k.word_len == wanted->word_len && strncasecmp(k.word, wanted->word, k.word_len) == 0)
            return true;
    return false;
}

/* What the n-th edit adds. */
static void append_added(struct reply *out, const struct capability_edits *edits, size_t n,
                         struct capabilities *told)
{
    const struct capability_edit *e = edits->items[n];
    for (size_t i = 0; i < e->n_add; i++) {
        const struct keyword_line k = line_of(e->add[i]);
        if (is_edited_out(&k, edits, n + 1) || has_keyword(out, &k))
            continue;
        append(out, "250-", 4);
        append(out, k.text, k.text_len);
        append(out, "\r\n", 2);
        note(&k, told);
        out->lines++;
    }
}

/* ---- the whole list ---- */

/* The separators tell which line is the last, so they are set when all lines are known. */
static void mark_last(struct reply *r)
{
    struct keyword_line k;
    size_t position = 0;
    while (next_line(r, &position, &k)) {
        size_t at = (size_t)(k.line - r->bytes) + 3;
        if (text_length(k.line, k.len) > 3)
            r->bytes[at] = position < r->len ? '-' : ' ';
    }
}

/* A first line "250" alone has no separator to set; it gets one when lines follow it. */
static void append_first(struct reply *out, const struct keyword_line *k)
{
    size_t text = text_length(k->line, k->len);
    append(out, k->line, text);
    if (text == 3)
        append(out, "-", 1);
    append(out, k->line + text, k->len - text);
}

void reply_edit_capabilities(const struct reply *in, const struct capability_rules *rules,
                             struct reply *out, struct capabilities *told)
{
    static const char starttls[] = "250-STARTTLS\r\n";
    struct keyword_line k;
    size_t position = 0;

    reply_clear(out);
    *told = (struct capabilities){0};
    out->code = in->code;
    if (!next_line(in, &position, &k))
        return;
    if (rules->offer_starttls || position < in->len || adds_anything(rules->edits))
        append_first(out, &k);
    else
        append(out, k.line, k.len);
    out->lines = 1;
    if (rules->offer_starttls) {
        append(out, starttls, sizeof starttls - 1);
        out->lines++;
    }
    while (next_line(in, &position, &k)) {
        if (is_hidden(&k, rules) || !append_keyword(out, &k))
            continue;
        note(&k, told);
        out->lines++;
    }
    for (size_t i = 0; rules->edits != NULL && i < rules->edits->count; i++)
        append_added(out, rules->edits, i, told);
    mark_last(out);
}
