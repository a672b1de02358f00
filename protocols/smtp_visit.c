/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_visit.h"

#include <string.h>
#include <strings.h>

void smtp_visit(struct wire *server, const char *hostname, int64_t deadline)
{
    (void)wire_printf(server, deadline, "EHLO %.255s\r\nQUIT\r\n", hostname);
}

void lmtp_visit(struct wire *server, const char *hostname, int64_t deadline)
{
    (void)wire_printf(server, deadline, "LHLO %.255s\r\nQUIT\r\n", hostname);
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

size_t smtp_may_show(const char *line, size_t len)
{
    static const char *const harmless[] = {"EHLO", "HELO", "LHLO",    "NOOP",
                                           "QUIT", "RSET", "STARTTLS"};
    size_t n = word_length(line, len);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (is_word(line, n, harmless[i]))
            return len;
    if (!is_word(line, n, "AUTH") || n == len)
        return 0;
    return n + 1 + word_length(line + n + 1, len - n - 1);
}
