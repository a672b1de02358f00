/* SPDX-License-Identifier: ISC */
#include "protocols/managesieve_list.h"

#include <string.h>

#include "protocols/answer.h"
#include "protocols/managesieve_syntax.h"

/* A line of a list. `text` is "NAME value" without quotes; it borrows from the scratch memory. */
struct entry {
    const char *line;
    size_t len;
    enum answer answer;
    struct keyword_line text;
};

static void read_text(struct entry *e, struct reply *scratch)
{
    struct sieve_token t;
    size_t at = 0;
    reply_clear(scratch);
    while (sieve_next_token(e->line, e->len, &at, &t)) {
        if (scratch->len > 0)
            reply_append(scratch, " ", 1);
        sieve_append_text(scratch, &t);
    }
    e->text = keyword_line_in(scratch->len > 0 ? scratch->bytes : "", scratch->len, 0);
}

static bool next_entry(const struct reply *r, size_t *position, struct entry *out,
                       struct reply *scratch)
{
    if (*position >= r->len)
        return false;
    *out = (struct entry){.line = r->bytes + *position};
    out->len = sieve_line_length(out->line, r->len - *position, SIEVE_SERVER);
    if (out->len == 0)
        return false;
    *position += out->len;
    out->answer = sieve_answer_of(out->line, out->len);
    read_text(out, scratch);
    return true;
}

static bool is_readable(const struct entry *e)
{
    for (size_t i = 0; i < e->text.len; i++)
        if ((unsigned char)e->text.line[i] < ' ' || e->text.line[i] == '\x7f')
            return false;
    return true;
}

static bool is_never_shown(const struct keyword_line *k)
{
    return keyword_is(k, "STARTTLS") || keyword_is(k, "XCLIENT");
}

static bool has_keyword(const struct reply *r, const struct keyword_line *wanted)
{
    struct reply scratch = {0};
    struct entry e;
    size_t position = 0;
    bool found = false;
    while (!found && next_entry(r, &position, &e, &scratch))
        found = e.answer == ANSWER_CONTINUE && keyword_is_same(&e.text, wanted);
    reply_finish(&scratch);
    return found;
}

/* ---- writing ---- */

static void append_words(struct reply *out, const char *name, size_t name_len, const char *value,
                         size_t value_len)
{
    sieve_append_quoted(out, name, name_len);
    reply_append(out, " ", 1);
    sieve_append_quoted(out, value, value_len);
    reply_append(out, "\r\n", 2);
    out->lines++;
}

/* "NAME value" as an administrator writes it. */
static void append_text(struct reply *out, const struct keyword_line *k)
{
    const char *end = k->text + k->text_len, *value = k->word + k->word_len;
    while (value < end && (*value == ' ' || *value == '='))
        value++;
    if (value < end) {
        append_words(out, k->word, k->word_len, value, (size_t)(end - value));
        return;
    }
    sieve_append_quoted(out, k->word, k->word_len);
    reply_append(out, "\r\n", 2);
    out->lines++;
}

static void append_added(struct reply *out, const struct capability_edits *edits, size_t n)
{
    const struct capability_edit *e = edits->items[n];
    for (size_t i = 0; i < e->n_add; i++) {
        const struct keyword_line k = keyword_line_of(e->add[i]);
        if (!keyword_is_edited_out(&k, edits, n + 1) && !has_keyword(out, &k))
            append_text(out, &k);
    }
}

static void append_ours(struct reply *out, const struct sieve_rules *rules)
{
    const struct keyword_line starttls = keyword_line_of("STARTTLS");
    for (size_t i = 0; rules->edits != NULL && i < rules->edits->count; i++)
        append_added(out, rules->edits, i);
    if (rules->offer_starttls)
        append_text(out, &starttls);
}

static void append_raw(struct reply *out, const struct entry *e)
{
    reply_append(out, e->line, e->len);
    out->lines++;
}

/* The line as it is, unless there is a mechanism in it that must not be seen. */
static void append_sasl(struct reply *out, const struct sieve_rules *rules, const struct entry *e)
{
    static const char name[] = "SASL";
    struct reply left = {0};
    bool any = !rules->hide_login && keyword_has_parameters(&e->text) &&
               reply_append_unbound(&left, &e->text);
    if (any && left.len == e->text.len) {
        append_raw(out, e);
    } else if (any) {
        const struct keyword_line k = keyword_line_in(left.bytes, left.len, 0);
        append_text(out, &k);
    } else {
        append_words(out, name, strlen(name), "", 0);
    }
    reply_finish(&left);
}

static void append_capability(struct reply *out, const struct sieve_rules *rules,
                              const struct entry *e)
{
    if (!is_readable(e) || is_never_shown(&e->text) ||
        keyword_is_hidden(&e->text, rules->edits, rules->hide))
        return;
    if (keyword_is(&e->text, "SASL"))
        append_sasl(out, rules, e);
    else
        append_raw(out, e);
}

void sieve_edit_list(const struct reply *in, const struct sieve_rules *rules, struct reply *out)
{
    struct reply scratch = {0};
    struct entry e;
    size_t position = 0;
    reply_clear(out);
    while (next_entry(in, &position, &e, &scratch)) {
        if (e.answer == ANSWER_CONTINUE) {
            append_capability(out, rules, &e);
            continue;
        }
        if (e.answer == ANSWER_OK)
            append_ours(out, rules);
        if (e.answer != ANSWER_NONSENSE)
            append_raw(out, &e);
    }
    reply_finish(&scratch);
}

bool sieve_offers(const struct reply *r, const char *keyword)
{
    const struct keyword_line k = keyword_line_of(keyword);
    return has_keyword(r, &k);
}

const char *sieve_may_add(const char *text)
{
    enum { TEXT_MAX = 512 - 2 };
    const struct keyword_line k = keyword_line_of(text);
    const char *wrong = keyword_may_add(text, TEXT_MAX);
    if (wrong != NULL)
        return wrong;
    if (is_never_shown(&k) || keyword_is(&k, "SASL") || keyword_is(&k, "UNAUTHENTICATE"))
        return "promises what only the backend or ehlock itself can keep";
    return NULL;
}
