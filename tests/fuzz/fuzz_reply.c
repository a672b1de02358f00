/* SPDX-License-Identifier: ISC
 *
 * Replies of the backend, and what is left of their capabilities. The first byte chooses the rules.
 */
#include <ctype.h>
#include <strings.h>

#include "fuzz.h"
#include "protocols/reply.h"

enum { OFFER = 1, HIDE_AUTH = 2, HIDE_PATTERN = 4, EDIT = 8 };

/* What a rule hides and adds when there is one. */
static char hidden_word[] = "SIZE", added_line[] = "X-ADDED 1";

/* Takes lines until the reply is complete or broken. */
static enum reply_line read_reply(struct reply *r, const char *data, size_t size)
{
    enum reply_line last = REPLY_MORE;
    size_t position = 0;
    const char *lf;
    while (last == REPLY_MORE && position < size &&
           (lf = memchr(data + position, '\n', size - position)) != NULL) {
        size_t len = (size_t)(lf - data) + 1 - position, lines = r->lines;
        char *line = copy_exactly(data + position, len);
        last = reply_add_line(r, line, len);
        free(line);
        if (last != REPLY_BAD)
            position += len;
        must(is_same(r->bytes, r->len, data, position), "a reply is what was received");
        must(last == REPLY_BAD || is_same(data + position - len, 3, r->bytes, 3),
             "all lines have the code of the first");
        must(r->lines == lines + (last != REPLY_BAD), "a bad line is not counted, a good one is");
    }
    must(r->lines == 0 || (r->code >= 200 && r->code <= 599), "a reply has a code");
    return last;
}

static bool is_gap(char c)
{
    return (unsigned char)c <= ' ';
}

/* A word of a capability line as a lenient client sees it; NULL behind the last. */
static const char *next_word(const char **p, const char *end, size_t *len)
{
    while (*p < end && (is_gap(**p) || **p == '='))
        (*p)++;
    const char *word = *p;
    while (*p < end && !is_gap(**p) && **p != '=')
        (*p)++;
    *len = (size_t)(*p - word);
    return *len > 0 ? word : NULL;
}

static bool word_is(const char *word, size_t len, const char *name)
{
    return len == strlen(name) && strncasecmp(word, name, len) == 0;
}

/* What a client finds in the list. */
struct seen {
    unsigned starttls, auth, channel_bound, never, hidden, added;
    bool chunking, enhanced_codes;
};

static void see_line(struct seen *s, const char *line, const char *end)
{
    static const char *const never[] = {"XCLIENT",        "XFORWARD",      "REQUIRETLS",
                                        "PIPECONNECT",    "X_PIPECONNECT", "X_PIPE_CONNECT",
                                        "X-ANONYMOUSTLS", "TLS",           "XEXCH50"};
    size_t len;
    const char *p = line + 4;
    while (p < end && is_gap(*p))
        p++;
    const char *word = p < end && *p != '=' ? next_word(&p, end, &len) : NULL;
    if (word == NULL)
        return;
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        s->never += word_is(word, len, never[i]);
    s->hidden += word_is(word, len, hidden_word);
    s->added += word_is(word, len, "X-ADDED");
    s->starttls += word_is(word, len, "STARTTLS");
    s->chunking |= word_is(word, len, "CHUNKING");
    s->enhanced_codes |= word_is(word, len, "ENHANCEDSTATUSCODES");
    if (!word_is(word, len, "AUTH") && !word_is(word, len, "X-EXPS"))
        return;
    s->auth++;
    while ((word = next_word(&p, end, &len)) != NULL)
        s->channel_bound += len >= 5 && strncasecmp(word + len - 5, "-PLUS", 5) == 0;
}

static struct seen see(const struct reply *r)
{
    struct seen s = {0};
    const char *end = r->bytes + r->len, *line = r->bytes;
    for (size_t i = 0; line < end; i++) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        if (i > 0 && lf - line > 4)
            see_line(&s, line, lf);
        line = lf + 1;
    }
    return s;
}

static void check_list(const struct reply *in, const struct capability_rules *rules)
{
    struct reply out = {0}, again = {0}, read = {0};
    struct capabilities told, told_again;
    reply_edit_capabilities(in, rules, &out, &told);
    bool edited = rules->edits != NULL;
    must(out.len <= in->len + strlen("-250-STARTTLS\r\n") +
                        (edited ? strlen("250-\r\n") + strlen(added_line) : 0),
         "no more is added than STARTTLS and what a rule says");
    must(read_reply(&read, out.bytes, out.len) == REPLY_LAST && read.len == out.len &&
             read.code == in->code && read.lines == out.lines,
         "what is shown is one whole reply");

    struct seen s = see(&out);
    must(s.starttls == (rules->offer_starttls ? 1 : 0), "STARTTLS is there once, or not at all");
    must(!edited || (s.hidden == 0 && s.added > 0), "what a rule hides is not there, and what it "
                                                    "adds is");
    must(s.never == 0, "what is never shown is not shown");
    must(!rules->hide_auth || s.auth == 0, "AUTH is hidden where it must be");
    must(s.channel_bound == 0, "no mechanism is shown that binds to a channel");
    must(told.chunking == s.chunking && told.enhanced_codes == s.enhanced_codes,
         "what was told is what is shown");

    reply_edit_capabilities(&out, rules, &again, &told_again);
    must(is_same(out.bytes, out.len, again.bytes, again.len), "a list edited twice is the same");
    reply_finish(&out);
    reply_finish(&again);
    reply_finish(&read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned choice = take_byte(&data, &size);
    char error[128];
    struct pattern *pattern = pattern_create("/^(X-|VRFY)/", error, sizeof error);
    const struct pattern_list hide = {.items = &pattern, .count = choice & HIDE_PATTERN ? 1 : 0};
    char *words[] = {hidden_word, added_line};
    const struct capability_edit edit = {
        .hide = &words[0], .n_hide = 1, .add = &words[1], .n_add = 1};
    const struct capability_edits edits = {.items = {&edit}, .count = 1};
    const struct capability_rules rules = {.offer_starttls = choice & OFFER,
                                           .hide_auth = choice & HIDE_AUTH,
                                           .hide = &hide,
                                           .edits = choice & EDIT ? &edits : NULL};
    struct reply r = {0};
    if (read_reply(&r, (const char *)data, size) == REPLY_LAST && r.code == 250)
        check_list(&r, &rules);
    reply_finish(&r);
    pattern_destroy(pattern);
    return 0;
}
