/* SPDX-License-Identifier: ISC */
#include "protocols/pop3_reply.h"

#include <string.h>
#include <strings.h>

static bool begins_with_word(const char *text, size_t len, const char *word)
{
    size_t n = strlen(word);
    return len >= n && memcmp(text, word, n) == 0 && (len == n || text[n] == ' ');
}

enum answer pop3_status_of(const char *text, size_t len)
{
    if (begins_with_word(text, len, "+OK"))
        return ANSWER_OK;
    if (begins_with_word(text, len, "-ERR"))
        return ANSWER_NO;
    return begins_with_word(text, len, "+") ? ANSWER_CONTINUE : ANSWER_NONSENSE;
}

bool pop3_is_end(const char *text, size_t len)
{
    return len == 1 && *text == '.';
}

/* ---- the greeting ---- */

/* Bytes up to and with `last`, or all of them. */
static size_t length_to(const char *text, size_t len, char last)
{
    const char *end = memchr(text, last, len);
    return end != NULL ? (size_t)(end - text) + 1 : len;
}

static bool begins_with_xclient(const char *text, size_t len)
{
    static const char xclient[] = "[XCLIENT";
    const size_t n = sizeof xclient - 1;
    return len >= n && strncasecmp(text, xclient, n) == 0;
}

/* How many bytes at the beginning of the text are not for the client. */
static size_t hidden_length(const char *text, size_t len, bool hide_timestamp)
{
    if (hide_timestamp && *text == '<')
        return length_to(text, len, '>');
    return begins_with_xclient(text, len) ? length_to(text, len, ']') : 0;
}

bool pop3_greeting_takes_xclient(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (begins_with_xclient(line + i, len - i))
            return true;
    return false;
}

void pop3_edit_greeting(const char *line, size_t len, bool hide_timestamp, struct reply *out)
{
    const struct keyword_line k = keyword_line_in(line, len, 0);
    reply_clear(out);
    for (size_t i = 0; i < k.text_len;) {
        size_t n = hidden_length(k.text + i, k.text_len - i, hide_timestamp);
        if (n == 0)
            reply_append(out, k.text + i, 1);
        i += n > 0 ? n : 1;
        bool gap = i == k.text_len || k.text[i] == ' ';
        if (n > 0 && gap && out->len > 0 && out->bytes[out->len - 1] == ' ')
            out->len--;
    }
    reply_append(out, k.text + k.text_len, len - k.text_len);
    out->lines = 1;
}

/* ---- the list behind CAPA ---- */

/* Begins behind the first line, which holds "+OK"; ends before the dot. */
static bool next_capability(const struct reply *r, size_t *position, struct keyword_line *out)
{
    for (;;) {
        bool first = *position == 0;
        if (*position >= r->len)
            return false;
        const char *line = r->bytes + *position;
        size_t len = length_to(line, r->len - *position, '\n');
        *position += len;
        *out = keyword_line_in(line, len, 0);
        if (!first)
            return !pop3_is_end(out->text, out->text_len);
    }
}

static bool is_never_shown(const struct keyword_line *k)
{
    return keyword_is(k, "STLS") || keyword_is(k, "XCLIENT");
}

static bool is_login(const struct keyword_line *k)
{
    return keyword_is(k, "USER") || keyword_is(k, "SASL") || keyword_is(k, "APOP");
}

static void append_line(struct reply *out, const char *text, size_t len)
{
    reply_append(out, text, len);
    reply_append(out, "\r\n", 2);
    out->lines++;
}

static void append_word(struct reply *out, const char *word)
{
    append_line(out, word, strlen(word));
}

static bool has_keyword(const struct reply *r, const struct keyword_line *wanted)
{
    struct keyword_line k;
    size_t position = 0;
    while (next_capability(r, &position, &k))
        if (keyword_is_same(&k, wanted))
            return true;
    return false;
}

static void append_added(struct reply *out, const struct capability_edits *edits, size_t n)
{
    const struct capability_edit *e = edits->items[n];
    for (size_t i = 0; i < e->n_add; i++) {
        const struct keyword_line k = keyword_line_of(e->add[i]);
        if (!keyword_is_edited_out(&k, edits, n + 1) && !has_keyword(out, &k))
            append_line(out, k.text, k.text_len);
    }
}

/* What comes behind the lines of the backend. */
static void end_list(struct reply *out, const struct pop3_rules *rules)
{
    for (size_t i = 0; rules->edits != NULL && i < rules->edits->count; i++)
        append_added(out, rules->edits, i);
    append_word(out, ".");
}

static void append_capability(struct reply *out, const struct pop3_rules *rules,
                              const struct keyword_line *k)
{
    if (is_never_shown(k) || (rules->hide_login && is_login(k)) ||
        keyword_is_hidden(k, rules->edits, rules->hide))
        return;
    if (!keyword_is(k, "SASL") || !keyword_has_parameters(k)) {
        reply_append(out, k->line, k->len);
        out->lines++;
    } else if (reply_append_unbound(out, k)) {
        out->lines++;
    }
}

void pop3_edit_capabilities(const struct reply *in, const struct pop3_rules *rules,
                            struct reply *out)
{
    struct keyword_line k;
    size_t position = 0;
    reply_clear(out);
    reply_append(out, in->bytes, length_to(in->bytes, in->len, '\n'));
    out->lines = 1;
    if (rules->offer_stls)
        append_word(out, "STLS");
    while (next_capability(in, &position, &k))
        append_capability(out, rules, &k);
    end_list(out, rules);
}

void pop3_write_capabilities(const struct pop3_rules *rules, struct reply *out)
{
    const struct keyword_line user = keyword_line_of("USER");
    reply_clear(out);
    append_word(out, "+OK Capability list follows");
    if (rules->offer_stls)
        append_word(out, "STLS");
    if (!rules->hide_login && !keyword_is_hidden(&user, rules->edits, rules->hide))
        append_word(out, "USER");
    end_list(out, rules);
}

bool pop3_offers(const struct reply *r, const char *keyword)
{
    const struct keyword_line k = keyword_line_of(keyword);
    return has_keyword(r, &k);
}

const char *pop3_may_add(const char *text)
{
    enum { TEXT_MAX = 512 - 2 };
    const struct keyword_line k = keyword_line_of(text);
    const char *wrong = keyword_may_add(text, TEXT_MAX);
    if (wrong != NULL)
        return wrong;
    if (is_never_shown(&k) || is_login(&k))
        return "promises what only the backend or ehlock itself can keep";
    return NULL;
}
