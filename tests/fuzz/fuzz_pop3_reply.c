/* SPDX-License-Identifier: ISC
 *
 * What a POP3 server says: nothing that is not for the client gets through the editing, and what
 * comes out of it is an answer of the same kind.
 */
#include "fuzz.h"

#include <strings.h>

#include "protocols/pop3_reply.h"

static size_t text_length(const char *line, size_t len)
{
    if (len > 0 && line[len - 1] == '\n')
        len--;
    return len > 0 && line[len - 1] == '\r' ? len - 1 : len;
}

static size_t line_length(const char *data, size_t len)
{
    const char *lf = memchr(data, '\n', len);
    return lf != NULL ? (size_t)(lf - data) + 1 : len;
}

/* What the header promises, said once more: the first word of a line, whatever is around it. */
static bool line_is(const char *line, size_t len, const char *word)
{
    size_t i = 0, n = strlen(word);
    while (i < len && (unsigned char)line[i] <= ' ')
        i++;
    return len - i >= n && strncasecmp(line + i, word, n) == 0 &&
           (len - i == n || (unsigned char)line[i + n] <= ' ' || line[i + n] == '=');
}

static bool has_bound_mechanism(const char *line, size_t len)
{
    for (size_t i = 0; i + 5 <= len; i++)
        if (strncasecmp(line + i, "-PLUS", 5) == 0 &&
            (i + 5 == len || (unsigned char)line[i + 5] <= ' ' || line[i + 5] == '='))
            return true;
    return false;
}

static void check_line(const char *line, size_t len, const struct pop3_rules *rules)
{
    must(!line_is(line, len, "XCLIENT"), "XCLIENT is not shown");
    must(!rules->hide_login || (!line_is(line, len, "USER") && !line_is(line, len, "SASL")),
         "no login is shown where it is withheld");
    must(!line_is(line, len, "SASL") || !has_bound_mechanism(line, len),
         "no mechanism is bound to the channel");
}

static void check_list(const struct reply *out, const struct pop3_rules *rules)
{
    size_t at = line_length(out->bytes, out->len), lines = 1, stls = 0;
    must(pop3_status_of(out->bytes, text_length(out->bytes, at)) == ANSWER_OK, "it is still +OK");
    for (size_t len; at < out->len; at += len, lines++) {
        const char *line = out->bytes + at;
        len = line_length(line, out->len - at);
        bool last = at + len == out->len;
        must(last == pop3_is_end(line, text_length(line, len)), "the dot is the last line");
        check_line(line, text_length(line, len), rules);
        stls += line_is(line, text_length(line, len), "STLS");
    }
    must(lines == out->lines, "the lines are counted");
    must(stls == (rules->offer_stls ? 1 : 0), "STLS is there if we offer it, once");
    must(pop3_offers(out, "STLS") == rules->offer_stls, "and is found there");
}

/* As it is read: up to the dot, or not at all. */
static bool read_list(struct reply *in, const char *data, size_t size)
{
    for (size_t at = 0, len; at < size; at += len) {
        len = line_length(data + at, size - at);
        if (data[at + len - 1] != '\n')
            return false;
        reply_append(in, data + at, len);
        size_t text = text_length(data + at, len);
        if (at == 0 && pop3_status_of(data, text) != ANSWER_OK)
            return false;
        if (at > 0 && pop3_is_end(data + at, text))
            return true;
    }
    return false;
}

static void check_greeting(const char *line, size_t len, bool hide)
{
    struct reply out = {0};
    enum answer status = pop3_status_of(line, text_length(line, len));
    if (status != ANSWER_OK && status != ANSWER_NO)
        return; /* no greeting */
    pop3_edit_greeting(line, len, hide, &out);
    must(out.len <= len, "a greeting does not grow");
    must(pop3_status_of(out.bytes, text_length(out.bytes, out.len)) == status,
         "a greeting stays of its kind");
    must(!hide || memchr(out.bytes, '<', out.len) == NULL, "no timestamp is shown");
    must(!hide || memchr(line, '<', len) != NULL || memchr(line, '[', len) != NULL ||
             is_same(line, len, out.bytes, out.len),
         "what has nothing to hide is not changed");
    reply_finish(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char uidl[] = "UIDL", stls[] = "STLS";
    static char *adds[] = {uidl}, *hides[] = {stls};
    static const struct capability_edit edit = {
        .hide = hides, .n_hide = 1, .add = adds, .n_add = 1};
    const struct capability_edits edits = {.items = {&edit}, .count = 1};
    unsigned choice = take_byte(&data, &size);
    const struct pop3_rules rules = {
        .offer_stls = choice & 1, .hide_login = choice & 2, .edits = choice & 4 ? &edits : NULL};
    struct reply in = {0}, out = {0}, again = {0};
    char *text = copy_exactly(data, size);
    if (size > 0)
        check_greeting(text, line_length(text, size), choice & 8);
    if (read_list(&in, text, size)) {
        pop3_edit_capabilities(&in, &rules, &out);
        check_list(&out, &rules);
        pop3_edit_capabilities(&out, &rules, &again);
        must(is_same(out.bytes, out.len, again.bytes, again.len), "editing twice changes nothing");
    }
    pop3_write_capabilities(&rules, &out);
    check_list(&out, &rules);
    reply_finish(&in);
    reply_finish(&out);
    reply_finish(&again);
    free(text);
    return 0;
}
