/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_command.h"

#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Parameters follow the path behind a blank. A quoted local part may hold such a word as well; the
 * client could have given the parameter, so nothing is won with that. */
bool smtp_mail_asks_utf8(const struct command *c)
{
    static const char word[] = "SMTPUTF8";
    const size_t len = sizeof word - 1;
    for (size_t i = 1; i + len <= c->args_len; i++)
        if (is_blank(c->args[i - 1]) && strncasecmp(c->args + i, word, len) == 0 &&
            (i + len == c->args_len || is_blank(c->args[i + len])))
            return true;
    return false;
}

bool smtp_bdat_parse(const struct command *c, uint64_t *size, bool *last)
{
    const char *p = c->args, *end = c->args + c->args_len;
    uint64_t n = 0;
    if (p == end || *p < '0' || *p > '9')
        return false;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (uint64_t)(*p - '0');
        if (n > SMTP_CHUNK_MAX)
            return false;
    }
    *size = n;
    *last = p < end;
    if (!*last)
        return true;
    if (!is_blank(*p))
        return false;
    while (p < end && is_blank(*p))
        p++;
    return end - p == 4 && strncasecmp(p, "LAST", 4) == 0;
}
