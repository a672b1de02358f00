/* SPDX-License-Identifier: ISC */
#include "proxy/config_original.h"

#include <netinet/in.h>
#include <string.h>

#include "proxy/address.h"
#include "proxy/options.h"

static bool is_any_host(const char *text)
{
    char host[4];
    return address_host(text, host, sizeof host) && strcmp(host, "*") == 0;
}

/* Without the option nobody says what "*" could be. */
static void forbid_any_host(struct config *c, const struct service *s)
{
    for (size_t i = 0; i < s->connect.count; i++)
        if (is_any_host(s->connect.items[i].text))
            config_error(c, s->connect.items[i].where,
                         "connect = %s is for transparent = destination: write a host, or that as "
                         "well",
                         s->connect.items[i].text);
}

/* ---- transparent = destination ---- */

static void check_hosts(struct config *c, const struct service *s)
{
    for (size_t i = 0; i < s->connect.count; i++)
        if (!is_any_host(s->connect.items[i].text))
            config_error(
                c, s->connect.items[i].where,
                "connect = %s: with transparent = destination the client says where to; "
                "write connect = *:PORT for each port it may go to, or leave it out (*:25)",
                s->connect.items[i].text);
}

static void settle_ports(struct config *c, struct service *s)
{
    const char *where = config_where(c, s, "transparent");
    if (s->connect.count > 0)
        check_hosts(c, s);
    else if (s->protocol == &protocol_smtp)
        (void)option_set(option_find("connect"), s, "*:25", where);
    else
        config_error(c, where,
                     "[%s] transparent = destination needs connect = *:PORT, the port that clients "
                     "may go to; *:25 is meant with protocol = smtp alone",
                     s->name);
}

static bool has_same_port(const char *a, const char *b)
{
    struct address port;
    char any[64], error[128];
    const char *colon = strrchr(b, ':');
    snprintf(any, sizeof any, "0.0.0.0:%.40s", colon != NULL ? colon + 1 : b);
    return address_resolve(any, true, &port, 1, error, sizeof error) == 1 &&
           address_has_port(a, address_port(&port));
}

/* Who came to such a port directly could not be told from who was redirected. */
static void check_doors(struct config *c, const struct service *s)
{
    for (size_t i = 0; i < s->accept.count; i++) {
        const struct value *v = &s->accept.items[i];
        if (v->text[0] == '/')
            config_error(c, v->where,
                         "accept = %s: the packet filter redirects to a port: write accept = "
                         "HOST:PORT",
                         v->text);
        for (size_t k = 0; v->text[0] != '/' && k < s->connect.count; k++)
            if (has_same_port(v->text, s->connect.items[k].text))
                config_error(c, v->where,
                             "accept = %s: connections that are made to this port itself would go "
                             "round in a circle: let the packet filter redirect to another one, "
                             "such as 2525",
                             v->text);
    }
}

static void forbid(struct config *c, const struct service *s, const char *option, const char *why)
{
    config_error(c, config_where(c, s, option), "[%s] transparent = destination: %s: leave %s out",
                 s->name, why, option);
}

static void check_destination(struct config *c, struct service *s)
{
    if (!s->client) {
        config_error(c, config_where(c, s, "transparent"),
                     "[%s] transparent = destination is for client = yes: write that as well, or "
                     "connect = HOST:PORT in place of it",
                     s->name);
        return;
    }
    if (s->exec == NULL)
        settle_ports(c, s);
    check_doors(c, s);
    if (s->accept_proxy.count > 0)
        forbid(c, s, "acceptProxy", "a balancer hides where the client was going");
    if (s->identity != IDENTITY_NONE)
        forbid(c, s, "identity", "servers that anybody runs do not ask who the client is");
    if (config_origin(c, s, "failover") == ORIGIN_SECTION)
        forbid(c, s, "failover", "there is nothing to choose from");
}

void config_check_original(struct config *c, struct service *s)
{
    const char *where = config_where(c, s, "transparent");
    switch ((enum redirection)s->redirection) {
    case REDIRECTION_DESTINATION:
        check_destination(c, s);
        return;
    case REDIRECTION_SOURCE:
        config_error(c, where, "transparent = source: write identity = transparent, which is it");
        break;
    case REDIRECTION_BOTH:
        config_error(c, where,
                     "transparent = both: servers see this machine's address, the client's cannot "
                     "be kept here: write transparent = destination");
        break;
    case REDIRECTION_NONE:
        break;
    }
    forbid_any_host(c, s);
}
