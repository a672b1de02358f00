/* SPDX-License-Identifier: ISC */
#include "protocols/managesieve_syntax.h"

#include <string.h>
#include <strings.h>

/* ---- pieces ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_control(char c)
{
    return (unsigned char)c < ' ' || c == '\x7f';
}

/* ATOM-CHAR; a '}' is one. */
static bool is_atom_char(char c)
{
    return c > ' ' && c < '\x7f' && strchr("\"()\\{", c) == NULL;
}

/* Bytes of the string from its quote to the other one; 0: it has none, or holds what it must not.
 */
static size_t quoted_length(const char *text, size_t len)
{
    size_t i = 1;
    while (i < len && text[i] != '"') {
        if (text[i] == '\\')
            i++;
        if (i < len && (text[i] == '\0' || text[i] == '\r' || text[i] == '\n'))
            return 0;
        i++;
    }
    return i < len ? i + 1 : 0;
}

static size_t atom_length(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && is_atom_char(text[n]))
        n++;
    return n;
}

/* "{N}", "{N+}": its length, or 0. A number has no zero in front, so that nobody reads it as
 * another one. */
static size_t announcement_length(const char *text, size_t len, bool *plus, size_t *literal)
{
    enum { DIGITS_MAX = 9 };
    size_t i = 1;
    *literal = 0;
    while (i < len && i <= DIGITS_MAX && is_digit(text[i]))
        *literal = *literal * 10 + (size_t)(text[i++] - '0');
    if (i == 1 || (i > 2 && text[1] == '0'))
        return 0;
    *plus = i < len && text[i] == '+';
    i += *plus ? 1 : 0;
    return i < len && text[i] == '}' ? i + 1 : 0;
}

static size_t token_length(const char *text, size_t len)
{
    bool plus;
    size_t literal;
    switch (*text) {
    case '"':
        return quoted_length(text, len);
    case '{':
        return announcement_length(text, len, &plus, &literal);
    case '(':
    case ')':
        return 1;
    default:
        return atom_length(text, len);
    }
}

/* Whether the token at text[i] may stand where it does: behind a blank, at the beginning of a line,
 * or, to a server, beside a parenthesis. */
static bool stands_apart(const char *text, size_t i, enum sieve_side side, bool behind_literal)
{
    bool parenthesis = text[i] == '(' || text[i] == ')';
    if (side == SIEVE_CLIENT && parenthesis)
        return false;
    if (i == 0)
        return !behind_literal || parenthesis;
    return text[i - 1] == ' ' || parenthesis || text[i - 1] == '(' || text[i - 1] == ')';
}

/* A client's blank is between two tokens: it says nothing about a line that is empty. */
static bool has_odd_blank(const char *text, size_t len, size_t i, enum sieve_side side,
                          bool behind_literal)
{
    if (side == SIEVE_SERVER)
        return false;
    return (i == 0 && !behind_literal) || i + 1 == len || text[i + 1] == ' ';
}

enum sieve_piece sieve_read_piece(const char *text, size_t len, enum sieve_side side,
                                  bool behind_literal, size_t *literal)
{
    bool plus;
    *literal = 0;
    if (len == 0)
        return behind_literal ? SIEVE_ENDS : SIEVE_BAD;
    for (size_t i = 0, n; i < len; i += n) {
        n = 1;
        if (text[i] == ' ' && !has_odd_blank(text, len, i, side, behind_literal))
            continue;
        n = token_length(text + i, len - i);
        if (n == 0 || !stands_apart(text, i, side, behind_literal))
            return SIEVE_BAD;
        if (text[i] != '{')
            continue;
        (void)announcement_length(text + i, n, &plus, literal);
        return i + n == len && (plus || side == SIEVE_SERVER) ? SIEVE_GOES_ON : SIEVE_BAD;
    }
    return SIEVE_ENDS;
}

/* Bytes with the line end; 0: there is none. `text`: without it. */
static size_t piece_length(const char *data, size_t len, size_t *text)
{
    const char *lf = memchr(data, '\n', len);
    if (lf == NULL)
        return 0;
    *text = (size_t)(lf - data);
    if (*text > 0 && data[*text - 1] == '\r')
        --*text;
    return (size_t)(lf - data) + 1;
}

size_t sieve_line_length(const char *data, size_t len, enum sieve_side side)
{
    size_t at = 0, text, literal;
    for (bool behind = false;; behind = true) {
        size_t n = piece_length(data + at, len - at, &text);
        if (n == 0)
            return 0;
        enum sieve_piece piece = sieve_read_piece(data + at, text, side, behind, &literal);
        at += n;
        if (piece != SIEVE_GOES_ON)
            return piece == SIEVE_ENDS ? at : 0;
        if (literal > len - at)
            return 0;
        at += literal;
    }
}

/* ---- tokens ---- */

static bool is_between(char c)
{
    return c == ' ' || c == '\r' || c == '\n';
}

/* The bytes of the literal that is announced in the `n` bytes at line[*position]. */
static void read_literal(const char *line, size_t len, size_t *position, size_t n,
                         struct sieve_token *out)
{
    bool plus;
    (void)announcement_length(line + *position, n, &plus, &out->len);
    *position += n;
    while (*position < len && line[(*position)++] != '\n')
        ;
    if (out->len > len - *position)
        out->len = len - *position;
    out->text = line + *position;
    *position += out->len;
}

static size_t begin_of_token(const char *line, size_t len, size_t position)
{
    while (position < len && is_between(line[position]))
        position++;
    return position;
}

bool sieve_next_token(const char *line, size_t len, size_t *position, struct sieve_token *out)
{
    *position = begin_of_token(line, len, *position);
    size_t n = *position < len ? token_length(line + *position, len - *position) : 0;
    if (n == 0)
        return false;
    const char *token = line + *position;
    *out = (struct sieve_token){.text = token, .len = n};
    if (*token == '{') {
        out->kind = SIEVE_LITERAL;
        read_literal(line, len, position, n, out);
        return true;
    }
    *position += n;
    out->kind = *token == '(' || *token == ')' ? SIEVE_PARENTHESIS : SIEVE_ATOM;
    if (*token == '"')
        *out = (struct sieve_token){.kind = SIEVE_QUOTED, .text = token + 1, .len = n - 2};
    return true;
}

bool sieve_is_string(const struct sieve_token *t)
{
    return t->kind == SIEVE_QUOTED || t->kind == SIEVE_LITERAL;
}

void sieve_append_text(struct reply *out, const struct sieve_token *t)
{
    for (size_t i = 0; i < t->len; i++) {
        if (t->kind == SIEVE_QUOTED && t->text[i] == '\\' && i + 1 < t->len)
            i++;
        reply_append(out, t->text + i, 1);
    }
}

void sieve_append_quoted(struct reply *out, const char *text, size_t len)
{
    reply_append(out, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"' || text[i] == '\\')
            reply_append(out, "\\", 1);
        reply_append(out, is_control(text[i]) ? " " : text + i, 1);
    }
    reply_append(out, "\"", 1);
}

/* ---- what clients say ---- */

static bool is_verb_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_';
}

bool sieve_parse_command(const char *line, size_t len, struct command *out)
{
    size_t n = 0;
    while (n < len && n < COMMAND_VERB_MAX && is_verb_char(line[n])) {
        bool lower = line[n] >= 'a' && line[n] <= 'z';
        out->verb[n] = (char)(lower ? line[n] - 'a' + 'A' : line[n]);
        n++;
    }
    out->verb[n] = '\0';
    if (n == 0 || (n < len && line[n] != ' '))
        return false;
    n += n < len ? 1 : 0;
    out->args = line + n;
    out->args_len = len - n;
    return true;
}

static bool holds_control(const struct sieve_token *t)
{
    for (size_t i = 0; i < t->len; i++)
        if (is_control(t->text[i]))
            return true;
    return false;
}

size_t sieve_append_in_quotes(struct reply *out, const char *line, size_t len)
{
    struct sieve_token t;
    size_t begin = 0, end = 0, copied = 0;
    for (size_t at = 0; sieve_next_token(line, len, &at, &t);
         begin = begin_of_token(line, len, at)) {
        end = at;
        if (t.kind != SIEVE_LITERAL || holds_control(&t))
            continue;
        reply_append(out, line + copied, begin - copied);
        sieve_append_quoted(out, t.text, t.len);
        copied = at;
    }
    reply_append(out, line + copied, len - copied);
    return len - end;
}

bool sieve_is_harmless_string(const char *args, size_t len)
{
    struct sieve_token t;
    size_t at = 0;
    if (!sieve_next_token(args, len, &at, &t))
        return len == 0;
    return sieve_is_string(&t) && !holds_control(&t) && !sieve_next_token(args, len, &at, &t);
}

static bool is_base64(const struct sieve_token *t)
{
    for (size_t i = 0; i < t->len; i++) {
        char c = t->text[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !is_digit(c) && c != '+' &&
            c != '/' && c != '=')
            return false;
    }
    return true;
}

bool sieve_is_answer(const char *args, size_t len)
{
    struct sieve_token t, more;
    size_t at = 0;
    if (!sieve_next_token(args, len, &at, &t) || !sieve_is_string(&t) ||
        sieve_next_token(args, len, &at, &more))
        return false;
    return is_base64(&t) || (t.len == 1 && *t.text == '*');
}

static bool is_mechanism(const struct sieve_token *t)
{
    for (size_t i = 0; i < t->len; i++)
        if (!is_verb_char(t->text[i]))
            return false;
    return sieve_is_string(t) && t->len > 0;
}

static bool binds_channel(const struct sieve_token *t)
{
    return t->len >= 5 && strncasecmp(t->text + t->len - 5, "-PLUS", 5) == 0;
}

const char *sieve_mind_mechanism(const char *args, size_t len)
{
    struct sieve_token t;
    size_t at = 0;
    if (!sieve_next_token(args, len, &at, &t) || !is_mechanism(&t))
        return "AUTHENTICATE needs a mechanism";
    if (binds_channel(&t))
        return "Mechanism is not available";
    if (!sieve_next_token(args, len, &at, &t))
        return NULL;
    if (!sieve_is_string(&t) || !is_base64(&t))
        return "Initial response is not base64";
    return sieve_next_token(args, len, &at, &t) ? "AUTHENTICATE takes two arguments" : NULL;
}

/* ---- what servers say ---- */

static bool is_atom(const struct sieve_token *t, const char *word)
{
    return t->kind == SIEVE_ATOM && t->len == strlen(word) &&
           strncasecmp(t->text, word, t->len) == 0;
}

static size_t count_strings(const char *line, size_t len)
{
    struct sieve_token t;
    size_t at = 0, n = 0;
    while (sieve_next_token(line, len, &at, &t)) {
        if (!sieve_is_string(&t))
            return 0;
        n++;
    }
    return n;
}

enum answer sieve_answer_of(const char *line, size_t len)
{
    struct sieve_token t;
    size_t at = 0;
    if (!sieve_next_token(line, len, &at, &t))
        return ANSWER_NONSENSE;
    if (is_atom(&t, "OK"))
        return ANSWER_OK;
    if (is_atom(&t, "NO"))
        return ANSWER_NO;
    if (is_atom(&t, "BYE"))
        return ANSWER_BYE;
    size_t n = count_strings(line, len);
    return n == 1 || n == 2 ? ANSWER_CONTINUE : ANSWER_NONSENSE;
}

bool sieve_is_challenge(const char *line, size_t len)
{
    return count_strings(line, len) == 1;
}
