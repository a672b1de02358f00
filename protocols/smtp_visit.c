/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_visit.h"

#include "protocols/command.h"

void smtp_visit(struct wire *server, const char *hostname, int64_t deadline)
{
    (void)wire_printf(server, deadline, "EHLO %.255s\r\nQUIT\r\n", hostname);
}

void lmtp_visit(struct wire *server, const char *hostname, int64_t deadline)
{
    (void)wire_printf(server, deadline, "LHLO %.255s\r\nQUIT\r\n", hostname);
}

size_t smtp_may_show(const char *line, size_t len)
{
    static const char *const harmless[] = {"EHLO", "HELO", "LHLO",     "NOOP",
                                           "QUIT", "RSET", "STARTTLS", NULL};
    return command_may_show(line, len, harmless);
}
