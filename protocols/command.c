/* SPDX-License-Identifier: ISC */
#include "protocols/command.h"

#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_verb_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

bool command_parse(const char *text, size_t len, struct command *out)
{
    size_t n = 0;
    if (memchr(text, '\0', len) != NULL)
        return false;
    while (n < len && n < COMMAND_VERB_MAX && is_verb_char(text[n])) {
        out->verb[n] = upper(text[n]);
        n++;
    }
    out->verb[n] = '\0';
    if (n == 0 || (n < len && !is_blank(text[n])))
        return false;
    while (n < len && is_blank(text[n]))
        n++;
    while (len > n && is_blank(text[len - 1]))
        len--;
    out->args = text + n;
    out->args_len = len - n;
    return true;
}

bool command_binds_channel(const struct command *c)
{
    size_t n = 0;
    while (n < c->args_len && !is_blank(c->args[n]))
        n++;
    return n >= 5 && strncasecmp(c->args + n - 5, "-PLUS", 5) == 0;
}

static size_t word_length(const char *line, size_t len)
{
    size_t n = 0;
    while (n < len && line[n] != ' ' && line[n] != '\t' && line[n] != '\r' && line[n] != '\n')
        n++;
    return n;
}

static bool is_word(const char *line, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(line, word, len) == 0;
}

size_t command_may_show(const char *line, size_t len, const char *const *harmless)
{
    size_t n = word_length(line, len);
    for (; *harmless != NULL; harmless++)
        if (is_word(line, n, *harmless))
            return len;
    if (!is_word(line, n, "AUTH") || n == len)
        return 0;
    return n + 1 + word_length(line + n + 1, len - n - 1);
}
