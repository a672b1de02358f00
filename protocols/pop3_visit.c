/* SPDX-License-Identifier: ISC */
#include "protocols/pop3_visit.h"

#include "protocols/command.h"

void pop3_visit(struct wire *server, const char *hostname, int64_t deadline)
{
    (void)hostname;
    (void)wire_printf(server, deadline, "CAPA\r\nQUIT\r\n");
}

size_t pop3_may_show(const char *line, size_t len)
{
    static const char *const harmless[] = {"CAPA", "QUIT", "STLS", NULL};
    return command_may_show(line, len, harmless);
}
