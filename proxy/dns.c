/* SPDX-License-Identifier: ISC */
#include "proxy/dns.h"

#include <stdio.h>
#include <string.h>

/* Nothing is looked up here, and without a port an IPv6 address has no brackets. */
bool dns_server_parse(const char *text, struct dns_server *out)
{
    char whole[100], host[80], error[128];
    bool bare = address_is_literal(text), v6 = bare && strchr(text, ':') != NULL;
    if ((size_t)snprintf(whole, sizeof whole, "%s%s%s%s", v6 ? "[" : "", text, v6 ? "]" : "",
                         bare ? ":53" : "") >= sizeof whole ||
        !address_is_valid(whole, error, sizeof error) || !address_host(whole, host, sizeof host) ||
        !address_is_literal(host) ||
        address_resolve(whole, false, &out->address, 1, error, sizeof error) != 1)
        return false;
    address_numeric(&out->address, host);
    return (size_t)snprintf(out->text, sizeof out->text, "%s@%u", host,
                            (unsigned)address_port(&out->address)) < sizeof out->text;
}
