/* SPDX-License-Identifier: ISC */
#include "proxy/nexthop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "proxy/address.h"
#include "proxy/demand.h"
#include "proxy/dns.h"

enum { SMTP_PORT = 25, LABEL_MAX = 63 };

static const char prefix[] = "mx:";

/* "mx:25" is port 25 of a host called mx, as it ever was. */
static bool is_mx(const char *text)
{
    return strncasecmp(text, prefix, sizeof prefix - 1) == 0 &&
           strpbrk(text + sizeof prefix - 1, ".:") != NULL;
}

static bool is_label_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

bool nexthop_is_name(const char *text)
{
    size_t len = strlen(text), in_label = 0;
    if (len > 0 && text[len - 1] == '.')
        len--;
    if (len == 0 || len >= NEXTHOP_NAME)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '.' && !is_label_byte(text[i]))
            return false;
        in_label = text[i] == '.' ? 0 : in_label + 1;
        if (in_label > LABEL_MAX || (in_label == 0 && (i == 0 || text[i - 1] == '.')))
            return false;
    }
    return true;
}

static uint16_t port_of(const char *text)
{
    char host[300];
    uint16_t port;
    return address_split(text, host, sizeof host, &port) ? port : 0;
}

static void set_name(struct nexthop *n, const char *name)
{
    size_t len = strlen(name);
    if (len > 0 && name[len - 1] == '.')
        len--;
    memcpy(n->name, name, len);
    n->name[len] = '\0';
}

/* Behind "mx:". */
static bool parse_domain(const char *text, struct nexthop *out, char *error, size_t size)
{
    char whole[400];
    bool has_port = strchr(text, ':') != NULL;
    snprintf(whole, sizeof whole, "%s%s", text, has_port ? "" : ":25");
    if (!address_is_valid(whole, error, size))
        return false;
    char host[300];
    if (!address_host(whole, host, sizeof host) || text[0] == ':' || address_is_literal(host) ||
        !nexthop_is_name(host)) {
        snprintf(error, size, "\"%s%.80s\" is not mx:DOMAIN or mx:DOMAIN:PORT", prefix, text);
        return false;
    }
    set_name(out, host);
    out->mx = out->named = true;
    out->port = has_port ? port_of(whole) : SMTP_PORT;
    return true;
}

bool nexthop_parse(const char *text, struct nexthop *out, char *error, size_t error_size)
{
    char host[300];
    *out = (struct nexthop){0};
    if (is_mx(text))
        return parse_domain(text + sizeof prefix - 1, out, error, error_size);
    if (!address_is_valid(text, error, error_size))
        return false;
    if (!address_host(text, host, sizeof host))
        return true; /* a path */
    out->port = port_of(text);
    out->named =
        !address_is_literal(host) && strcasecmp(host, "localhost") != 0 && nexthop_is_name(host);
    if (out->named)
        set_name(out, host);
    return true;
}

bool nexthop_host(const char *text, char *out, size_t size)
{
    struct nexthop n;
    char error[128];
    if (!is_mx(text))
        return address_host(text, out, size);
    return nexthop_parse(text, &n, error, sizeof error) &&
           (size_t)snprintf(out, size, "%s", n.name) < size;
}

static bool needs_dane(const struct service *s, size_t i)
{
    return s->client && i < s->n_demands && server_level_is_dane(s->demands[i].level);
}

bool nexthop_is_watched(const struct service *s, size_t i)
{
    struct nexthop n;
    char error[128];
    return nexthop_parse(s->connect.items[i].text, &n, error, sizeof error) && n.named &&
           (n.mx || s->delay || needs_dane(s, i));
}

/* ---- checks ---- */

static const char *what_needs_it(const struct service *s, size_t i)
{
    return is_mx(s->connect.items[i].text) ? "connect = mx:DOMAIN"
           : s->delay                      ? "delay = yes"
                                           : "tlsLevel = dane";
}

/* Both would wait for the other to begin. */
static void check_port(struct config *c, const struct service *s, const struct value *v)
{
    struct nexthop n;
    char error[128];
    if (s->client && s->protocol != NULL && s->implicit_tls != IMPLICIT_YES &&
        s->protocol->tls_port != 0 && nexthop_parse(v->text, &n, error, sizeof error) &&
        n.port == s->protocol->tls_port)
        config_warn(c, v->where,
                    "connect = %s: servers begin with TLS on port %u: write implicitTls = yes",
                    v->text, n.port);
}

static void check_entry(struct config *c, const struct service *s, size_t i)
{
    const struct value *v = &s->connect.items[i];
    char error[256];
    check_port(c, s, v);
    if (!nexthop_is_watched(s, i))
        return;
    if (!dns_is_built())
        config_error(c, v->where,
                     "%s is not in this build, which has no libunbound: build with "
                     "-Ddane=enabled, or write connect = HOST:PORT, delay = no and a tlsLevel "
                     "without DANE",
                     what_needs_it(s, i));
    else if (!dns_load(error, sizeof error))
        config_error(c, v->where, "%s needs libunbound, which cannot be loaded: %s",
                     what_needs_it(s, i), error);
    if (s->identity == IDENTITY_TRANSPARENT)
        config_error(c, config_where(c, s, "identity"),
                     "identity = transparent has its sockets made before addresses are known: it "
                     "excludes mx:, delay = yes and DANE");
    if (s->via != NULL)
        config_error(c, config_where(c, s, "via"),
                     "via: the proxy looks names up, which excludes mx:, delay = yes and DANE");
    if (is_mx(v->text) && s->protocol != NULL && !config_speaks_mail(s))
        config_error(c, v->where,
                     "%s: MX records say where mail is handed in, not where it is fetched: write "
                     "connect = HOST:PORT",
                     v->text);
    if (is_mx(v->text) && s->failover == FAILOVER_RR)
        config_error(c, v->where,
                     "failover = rr and connect = mx:DOMAIN exclude each other: the MX records say "
                     "who comes first");
}

void nexthops_check(struct config *c, const struct service *s)
{
    for (size_t i = 0; i < s->connect.count; i++)
        check_entry(c, s, i);
}

static bool any(const struct config *c, bool (*is)(const struct service *s, size_t i))
{
    for (size_t n = 0; n < c->n_services; n++)
        for (size_t i = 0; !service_is_bundle(&c->services[n]) && i < c->services[n].connect.count;
             i++)
            if (is(&c->services[n], i))
                return true;
    return false;
}

bool nexthops_are_watched(const struct config *c)
{
    return any(c, nexthop_is_watched);
}

bool nexthops_need_dane(const struct config *c)
{
    return any(c, needs_dane);
}

static void check_servers(struct config *c)
{
    for (size_t i = 0; i < c->resolver.count; i++) {
        struct dns_server ignored;
        const struct value *v = &c->resolver.items[i];
        if (i == DNS_SERVERS_MAX)
            config_error(c, v->where, "resolver: more than %d servers", DNS_SERVERS_MAX);
        if (!dns_server_parse(v->text, &ignored))
            config_error(c, v->where,
                         "resolver: \"%.80s\" is not ADDRESS or ADDRESS:PORT ([ADDRESS]:PORT for "
                         "IPv6)",
                         v->text);
    }
}

void nexthops_check_program(struct config *c)
{
    bool anchored = config_origin(c, NULL, "dnssecAnchor") != ORIGIN_NOWHERE;
    check_servers(c);
    if (!nexthops_are_watched(c)) {
        if (c->resolver.count > 0 || anchored)
            config_warn(c, config_where(c, NULL, anchored ? "dnssecAnchor" : "resolver"),
                        "nothing is looked up while ehlock runs: no service has connect = "
                        "mx:DOMAIN, delay = yes or tlsLevel = dane");
        return;
    }
    if ((anchored || nexthops_need_dane(c)) && access(c->dnssec_anchor, R_OK) != 0)
        config_error(c, config_where(c, NULL, "dnssecAnchor"),
                     "dnssecAnchor: cannot read %s: %s; the keys of the root zone are in the "
                     "package dns-root-data",
                     c->dnssec_anchor, strerror(errno));
}
