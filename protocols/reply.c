/* SPDX-License-Identifier: ISC */
#include "protocols/reply.h"

#include <stdlib.h>
#include <string.h>

#include "protocols/memory.h"

static void make_room(struct reply *r, size_t len)
{
    if (r->len + len <= r->size)
        return;
    size_t size = r->size == 0 ? 512 : r->size;
    while (size < r->len + len)
        size *= 2;
    r->bytes = memory_resize(r->bytes, size);
    r->size = size;
}

void reply_append(struct reply *r, const char *data, size_t len)
{
    make_room(r, len);
    if (len > 0)
        memcpy(r->bytes + r->len, data, len);
    r->len += len;
}

bool reply_append_unbound(struct reply *r, const struct keyword_line *k)
{
    make_room(r, k->len);
    size_t len = keyword_write_unbound(k, r->bytes + r->len);
    r->len += len;
    return len > 0;
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
    reply_append(r, line, len);
    return text > 3 && line[3] == '-' ? REPLY_MORE : REPLY_LAST;
}

static bool next_line(const struct reply *r, size_t *position, struct keyword_line *out)
{
    if (*position >= r->len)
        return false;
    const char *line = r->bytes + *position;
    const char *lf = memchr(line, '\n', r->len - *position);
    size_t len = lf != NULL ? (size_t)(lf - line) + 1 : r->len - *position;
    *position += len;
    *out = keyword_line_in(line, len, 4);
    return true;
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
    return keyword_is_one_of(k, never, sizeof never / sizeof *never);
}

static bool is_hidden(const struct keyword_line *k, const struct capability_rules *rules)
{
    return is_never_shown(k) || (rules->hide_auth && is_auth(k)) ||
           keyword_is_hidden(k, rules->edits, rules->hide);
}

/* False when nothing of the line is left to be shown. */
static bool append_keyword(struct reply *out, const struct keyword_line *k)
{
    if (!is_auth(k) || !keyword_has_parameters(k)) {
        reply_append(out, k->line, k->len);
        return true;
    }
    return reply_append_unbound(out, k);
}

static void note(const struct keyword_line *k, struct capabilities *told)
{
    if (keyword_is(k, "CHUNKING"))
        told->chunking = true;
    else if (keyword_is(k, "ENHANCEDSTATUSCODES"))
        told->enhanced_codes = true;
}

/* ---- lines that are added ---- */

const char *reply_may_add(const char *text)
{
    enum { TEXT_MAX = 512 - 4 - 2 }; /* RFC 5321 §4.5.3.1.5, without code and CRLF */
    const struct keyword_line k = keyword_line_of(text);
    const char *wrong = keyword_may_add(text, TEXT_MAX);
    if (wrong != NULL)
        return wrong;
    if (is_never_shown(&k) || is_auth(&k) || keyword_is(&k, "CHUNKING") ||
        keyword_is(&k, "BINARYMIME"))
        return "promises what only the backend or ehlock itself can keep";
    return NULL;
}

static bool has_keyword(const struct reply *r, const struct keyword_line *wanted)
{
    struct keyword_line k;
    size_t position = 0;
    (void)next_line(r, &position, &k); /* the domain */
    while (next_line(r, &position, &k))
        if (keyword_is_same(&k, wanted))
            return true;
    return false;
}

/* What the n-th edit adds. */
static void append_added(struct reply *out, const struct capability_edits *edits, size_t n,
                         struct capabilities *told)
{
    const struct capability_edit *e = edits->items[n];
    for (size_t i = 0; i < e->n_add; i++) {
        const struct keyword_line k = keyword_line_of(e->add[i]);
        if (keyword_is_edited_out(&k, edits, n + 1) || has_keyword(out, &k))
            continue;
        reply_append(out, "250-", 4);
        reply_append(out, k.text, k.text_len);
        reply_append(out, "\r\n", 2);
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
    reply_append(out, k->line, text);
    if (text == 3)
        reply_append(out, "-", 1);
    reply_append(out, k->line + text, k->len - text);
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
    if (rules->offer_starttls || position < in->len || keyword_is_any_added(rules->edits))
        append_first(out, &k);
    else
        reply_append(out, k.line, k.len);
    out->lines = 1;
    if (rules->offer_starttls) {
        reply_append(out, starttls, sizeof starttls - 1);
        out->lines++;
    }
    while (next_line(in, &position, &k)) {
        if (text_length(k.line, k.len) <= 3 && keyword_is_any_added(rules->edits))
            continue; /* it says nothing, and has no separator that could tell of more */
        if (is_hidden(&k, rules) || !append_keyword(out, &k))
            continue;
        note(&k, told);
        out->lines++;
    }
    for (size_t i = 0; rules->edits != NULL && i < rules->edits->count; i++)
        append_added(out, rules->edits, i, told);
    mark_last(out);
}
