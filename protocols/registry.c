/* SPDX-License-Identifier: ISC */
#include <stddef.h>
#include <strings.h>

#include "protocols/protocol.h"

/* Sorted by name. */
static const struct protocol *const protocols[] = {
    &protocol_lmtp,
    &protocol_managesieve,
    &protocol_pop3,
    &protocol_smtp,
};

const struct protocol *protocol_at(size_t n)
{
    return n < sizeof protocols / sizeof *protocols ? protocols[n] : NULL;
}

const struct protocol *protocol_find(const char *name)
{
    const struct protocol *p;
    for (size_t i = 0; (p = protocol_at(i)) != NULL; i++)
        if (strcasecmp(p->name, name) == 0)
            return p;
    return NULL;
}
