/* SPDX-License-Identifier: ISC */
#include "protocols/managesieve_visit.h"

#include "protocols/command.h"

void sieve_visit(struct wire *server, const char *hostname, int64_t deadline)
{
    (void)hostname;
    (void)wire_printf(server, deadline, "LOGOUT\r\n");
}

size_t sieve_may_show(const char *line, size_t len)
{
    static const char *const harmless[] = {"CAPABILITY", "LOGOUT", "STARTTLS", NULL};
    return command_may_show(line, len, harmless);
}
