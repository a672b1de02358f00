/* SPDX-License-Identifier: ISC
 *
 * A build without libunbound. The configuration that would need it has been refused.
 */
#include "proxy/dns.h"

#include <stdio.h>

bool dns_is_built(void)
{
    return false;
}

bool dns_load(char *error, size_t error_size)
{
    snprintf(error, error_size, "this build has no libunbound");
    return false;
}

struct dns *dns_open(const struct dns_settings *settings, char *error, size_t error_size)
{
    (void)settings;
    snprintf(error, error_size, "this build has no libunbound");
    return NULL;
}

void dns_ask(struct dns *d, const char *name, enum dns_type type, struct dns_answer *out)
{
    (void)d;
    (void)name;
    (void)type;
    *out = (struct dns_answer){.standing = DNS_FAILED};
}

void dns_answer_finish(struct dns_answer *a)
{
    *a = (struct dns_answer){0};
}
