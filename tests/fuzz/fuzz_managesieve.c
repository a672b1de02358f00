/* SPDX-License-Identifier: ISC
 *
 * Lines and lists of ManageSieve: nothing that is not for the client gets through the editing, what
 * comes out of it is a list of the same kind, and every command that is let through is one line, of
 * which nobody could take a part for another command.
 */
#include "fuzz.h"

#include <strings.h>

#include "protocols/managesieve_list.h"
#include "protocols/managesieve_syntax.h"

static size_t count(const char *data, size_t len, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += data[i] == c;
    return n;
}

/* ---- what clients say ---- */

static bool has_word(const char *data, size_t len, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= len; i++)
        if (strncasecmp(data + i, word, n) == 0)
            return true;
    return false;
}

/* How a line is read that goes on behind "{N+}" and its line end, said once more: where it ends, or
 * 0. Quotes are not looked at: a line with one that is open has been refused. */
static size_t end_of_line(const char *data, size_t len)
{
    size_t at = 0;
    for (;;) {
        const char *lf = memchr(data + at, '\n', len - at);
        if (lf == NULL)
            return 0;
        const char *end = lf, *brace = lf;
        if (end > data + at && end[-1] == '\r')
            end--;
        while (brace > data + at && *brace != '{')
            brace--;
        int read = 0;
        unsigned literal = 0;
        char text[16] = "";
        if (*brace == '{' && end - brace < (ptrdiff_t)sizeof text)
            memcpy(text, brace, (size_t)(end - brace));
        bool more = sscanf(text, "{%9u+}%n", &literal, &read) == 1 && read > 0 &&
                    (size_t)read == strlen(text);
        at = (size_t)(lf - data) + 1;
        if (!more)
            return at;
        if (literal > len - at)
            return 0;
        at += literal;
    }
}

/* A command that is let through has no line end but its own. */
static void check_forwarded(const char *line, size_t len, const struct command *c)
{
    bool noop = sieve_is_harmless_string(c->args, c->args_len);
    bool login = sieve_mind_mechanism(c->args, c->args_len) == NULL;
    bool answer = sieve_is_answer(c->args, c->args_len);
    if (noop || login || answer) {
        must(count(line, len, '\n') == 1, "there is no literal");
        must(count(line, len, '\0') == 0, "there is no NUL");
    }
    if (login) {
        struct sieve_token t;
        size_t at = 0;
        must(sieve_next_token(c->args, c->args_len, &at, &t), "there is a mechanism");
        must(t.len < 5 || strncasecmp(t.text + t.len - 5, "-PLUS", 5) != 0,
             "no mechanism is bound to the channel");
    }
}

/* `line`: whole. */
static void check_command(const char *line, size_t len)
{
    struct command c;
    struct reply sent = {0}, again = {0};
    size_t end = sieve_append_in_quotes(&sent, line, len);
    must(end == 1 || end == 2, "a line has an end");
    must(sieve_line_length(sent.bytes, sent.len, SIEVE_CLIENT) == sent.len, "it stays one line");
    must(sieve_append_in_quotes(&again, sent.bytes, sent.len) == end, "its end is the same");
    must(is_same(sent.bytes, sent.len, again.bytes, again.len), "once is enough");
    if (sieve_parse_command(sent.bytes, sent.len - end, &c)) {
        must(c.args + c.args_len == sent.bytes + sent.len - end,
             "arguments are the rest of the line");
        check_forwarded(sent.bytes, sent.len, &c);
    }
    reply_finish(&sent);
    reply_finish(&again);
}

static void check_client(const char *data, size_t size)
{
    size_t len = sieve_line_length(data, size, SIEVE_CLIENT);
    must(len <= size, "a line is in what there is");
    if (len == 0)
        return;
    must(data[len - 1] == '\n', "a line has an end");
    if (memchr(data, '"', len) == NULL)
        must(end_of_line(data, size) == len, "it ends where everybody says that it does");
    must(sieve_line_length(data, len, SIEVE_CLIENT) == len, "nothing behind it counts");
    check_command(data, len);
}

/* ---- what servers say ---- */

struct found {
    size_t lines, starttls, sasl;
};

static void check_entry(const struct sieve_token *name, const char *line, size_t len,
                        const struct sieve_rules *rules, struct found *found)
{
    bool starttls = name->len == 8 && strncasecmp(name->text, "STARTTLS", 8) == 0;
    bool sasl = name->len == 4 && strncasecmp(name->text, "SASL", 4) == 0;
    must(name->len != 7 || strncasecmp(name->text, "XCLIENT", 7) != 0, "XCLIENT is not shown");
    must(!sasl || !rules->hide_login || !has_word(line, len, "PLAIN"),
         "no login is shown where it is withheld");
    must(!sasl || !has_word(line, len, "-PLUS "), "no mechanism is bound to the channel");
    found->starttls += starttls;
    found->sasl += sasl;
}

static void check_list(const struct reply *out, const struct sieve_rules *rules)
{
    struct found found = {0};
    enum answer answer = ANSWER_NONSENSE;
    for (size_t at = 0, len; at < out->len; at += len) {
        struct sieve_token name;
        size_t position = 0;
        len = sieve_line_length(out->bytes + at, out->len - at, SIEVE_SERVER);
        must(len > 0, "lines are whole");
        answer = sieve_answer_of(out->bytes + at, len);
        must(answer != ANSWER_NONSENSE, "lines are what a server says");
        must((answer == ANSWER_CONTINUE) == (at + len < out->len), "the answer is the last line");
        must(sieve_next_token(out->bytes + at, len, &position, &name), "there are tokens");
        if (answer == ANSWER_CONTINUE)
            check_entry(&name, out->bytes + at, len, rules, &found);
        found.lines++;
    }
    bool offered = rules->offer_starttls && answer == ANSWER_OK;
    must(found.lines == out->lines, "the lines are counted");
    must(found.starttls == (offered ? 1 : 0), "STARTTLS is there if we offer it, once");
    must(sieve_offers(out, "STARTTLS") == offered, "and is found there");
}

/* As it is read: up to an answer, or not at all. */
static bool read_list(struct reply *in, const char *data, size_t size)
{
    for (size_t at = 0, len; at < size; at += len) {
        len = sieve_line_length(data + at, size - at, SIEVE_SERVER);
        if (len == 0)
            return false;
        reply_append(in, data + at, len);
        switch (sieve_answer_of(data + at, len)) {
        case ANSWER_CONTINUE:
            break;
        case ANSWER_NONSENSE:
            return false;
        case ANSWER_OK:
        case ANSWER_NO:
        case ANSWER_BYE:
            return true;
        }
    }
    return false;
}

static void check_server(const char *data, size_t size, const struct sieve_rules *rules)
{
    struct reply in = {0}, out = {0}, again = {0};
    if (read_list(&in, data, size)) {
        sieve_edit_list(&in, rules, &out);
        check_list(&out, rules);
        sieve_edit_list(&out, rules, &again);
        must(is_same(out.bytes, out.len, again.bytes, again.len), "editing twice changes nothing");
    }
    reply_finish(&in);
    reply_finish(&out);
    reply_finish(&again);
}

/* What we say ourselves is one line. */
static void check_quoted(const char *data, size_t size)
{
    struct reply line = {0};
    reply_append(&line, "OK ", 3);
    sieve_append_quoted(&line, data, size);
    reply_append(&line, "\r\n", 2);
    must(sieve_line_length(line.bytes, line.len, SIEVE_SERVER) == line.len, "it is one line");
    must(sieve_answer_of(line.bytes, line.len) == ANSWER_OK, "it is an answer");
    reply_finish(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char version[] = "VERSION 1.0", starttls[] = "STARTTLS";
    static char *adds[] = {version}, *hides[] = {starttls};
    static const struct capability_edit edit = {
        .hide = hides, .n_hide = 1, .add = adds, .n_add = 1};
    const struct capability_edits edits = {.items = {&edit}, .count = 1};
    unsigned choice = take_byte(&data, &size);
    const struct sieve_rules rules = {.offer_starttls = choice & 1,
                                      .hide_login = choice & 2,
                                      .edits = choice & 4 ? &edits : NULL};
    char *text = copy_exactly(data, size);
    check_client(text, size);
    check_server(text, size, &rules);
    check_quoted(text, size);
    free(text);
    return 0;
}
