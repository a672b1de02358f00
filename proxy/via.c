/* SPDX-License-Identifier: ISC */
#include "proxy/via.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocols/memory.h"

/* The proxy's address as `connect` would have it. */
enum { PLACE_MAX = 300 };

/* ---- the configuration ---- */

static const struct scheme {
    const char *text;
    enum via_kind kind;
} schemes[] = {
    {"http://", VIA_HTTP},
    {"socks5://", VIA_SOCKS},
    {"socks5h://", VIA_SOCKS}, /* curl's word for what both mean here */
};

static const struct scheme *find_scheme(const char *text)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strncasecmp(text, schemes[i].text, strlen(schemes[i].text)) == 0)
            return &schemes[i];
    return NULL;
}

static bool is_host(const char *text)
{
    if (address_is_literal(text))
        return true;
    for (const char *p = text; *p != '\0'; p++)
        if (!isalnum((unsigned char)*p) && strchr("-._", *p) == NULL)
            return false;
    return text[0] != '\0';
}

/* NULL, or what is wrong. */
static const char *parse(const char *text, enum via_kind *kind, char place[PLACE_MAX])
{
    char host[256];
    uint16_t port;
    const struct scheme *scheme = find_scheme(text);
    if (scheme == NULL)
        return "write http://HOST:PORT or socks5://HOST:PORT";
    const char *rest = text + strlen(scheme->text);
    size_t n = strlen(rest);
    if (strchr(rest, '@') != NULL)
        return "user and password belong into viaUsername and viaPasswordFile";
    if (n > 0 && rest[n - 1] == '/')
        n--;
    if (n >= PLACE_MAX || memchr(rest, '/', n) != NULL)
        return "write http://HOST:PORT or socks5://HOST:PORT";
    memcpy(place, rest, n);
    place[n] = '\0';
    if (!address_split(place, host, sizeof host, &port) || !is_host(host))
        return "the proxy is written HOST:PORT behind the two slashes";
    *kind = scheme->kind;
    return NULL;
}

/* What neither a request of HTTP nor a message of SOCKS may hold. */
static bool is_plain_text(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

static void check_login(struct config *c, const struct service *s, enum via_kind kind)
{
    const char *where = config_where(c, s, "viaUsername");
    if ((s->via_username == NULL) != (s->via_password_file == NULL))
        config_error(c, s->via_username != NULL ? where : config_where(c, s, "viaPasswordFile"),
                     "viaUsername and viaPasswordFile belong together: write both, or none");
    if (s->via_username != NULL &&
        (strlen(s->via_username) > VIA_PART_MAX || !is_plain_text(s->via_username)))
        config_error(c, where, "viaUsername has at most %d bytes and no control characters",
                     VIA_PART_MAX);
    if (s->via_username != NULL && kind == VIA_HTTP && strchr(s->via_username, ':') != NULL)
        config_error(c, where, "viaUsername: an HTTP proxy knows no user with ':' in the name");
    if (s->via_password_file != NULL && secret_is_public(s->via_password_file))
        config_warn(c, config_where(c, s, "viaPasswordFile"),
                    "everybody on this machine can read the password in %s: chmod o= %s",
                    s->via_password_file, s->via_password_file);
}

static void check_targets(struct config *c, const struct service *s)
{
    char host[256];
    uint16_t port;
    for (size_t i = 0; s->redirection == REDIRECTION_NONE && i < s->connect.count; i++) {
        const struct value *v = &s->connect.items[i];
        if (v->text[0] == '/')
            config_error(c, v->where, "connect: a Unix socket cannot be reached through via = %s",
                         s->via);
        else if (!address_split(v->text, host, sizeof host, &port) || !is_host(host))
            config_error(c, v->where,
                         "connect: through a proxy (via) a server is written HOST:PORT, where HOST "
                         "is a name of letters, digits, '-', '_' and '.', or an address");
    }
}

static void check_others(struct config *c, const struct service *s, const char *where)
{
    if (s->exec != NULL)
        config_error(c, where, "via: there is no connection with exec, leave it out");
    if (s->redirection != REDIRECTION_NONE)
        config_error(c, where,
                     "via: with transparent = destination servers are known by their addresses "
                     "alone, and gone to without a proxy: leave one of the two out");
    if (s->identity == IDENTITY_TRANSPARENT)
        config_error(
            c, where,
            "via: the server sees the proxy's address, so identity = transparent is of no "
            "use: write identity = proxy, proxy2 or xclient, as the server understands it");
}

static void forbid_login(struct config *c, const struct service *s)
{
    if (s->via_username != NULL)
        config_error(c, config_where(c, s, "viaUsername"),
                     "viaUsername means nothing without via = http://HOST:PORT or the like");
    if (s->via_password_file != NULL)
        config_error(c, config_where(c, s, "viaPasswordFile"),
                     "viaPasswordFile means nothing without via = http://HOST:PORT or the like");
}

void via_check(struct config *c, const struct service *s)
{
    enum via_kind kind = VIA_HTTP;
    char place[PLACE_MAX];
    if (s->via == NULL) {
        forbid_login(c, s);
        return;
    }
    const char *where = config_where(c, s, "via"), *wrong = parse(s->via, &kind, place);
    if (wrong != NULL)
        config_error(c, where, "via: %s", wrong);
    check_login(c, s, kind);
    check_targets(c, s);
    check_others(c, s, where);
}

/* ---- before the fork ---- */

static bool fail(const struct config *c, const struct service *s, const char *option,
                 const char *reason, char *error, size_t size)
{
    snprintf(error, size, "%s: %s: %s", config_where(c, s, option), option, reason);
    return false;
}

static bool fill(struct via *v, const struct config *c, const struct service *s, char *error,
                 size_t size)
{
    char place[PLACE_MAX], reason[300];
    const char *wrong = parse(s->via, &v->kind, place);
    if (wrong != NULL)
        return fail(c, s, "via", wrong, error, size);
    v->count =
        address_resolve(place, false, v->addresses, VIA_ADDRESSES_MAX, reason, sizeof reason);
    if (v->count == 0)
        return fail(c, s, "via", reason, error, size);
    if (v->user != NULL && (v->password = secret_read(s->via_password_file, VIA_PART_MAX,
                                                      SECRET_LINE, reason, sizeof reason)) == NULL)
        return fail(c, s, "viaPasswordFile", reason, error, size);
    for (size_t i = 0; i < s->connect.count; i++)
        (void)address_split(s->connect.items[i].text, v->targets[i].host, sizeof v->targets[i].host,
                            &v->targets[i].port);
    return true;
}

struct via *via_create(const struct config *c, const struct service *s, char *error, size_t size)
{
    struct via *v = memory_alloc(sizeof *v);
    *v = (struct via){.name = s->via,
                      .user = s->via_username,
                      .targets = memory_alloc((s->connect.count + 1) * sizeof *v->targets)};
    if (fill(v, c, s, error, size))
        return v;
    via_destroy(v);
    return NULL;
}

bool via_keep_family(struct via *v, int family)
{
    size_t n = 0;
    for (size_t i = 0; i < v->count; i++)
        if (family == AF_UNSPEC || v->addresses[i].sa.ss_family == family)
            v->addresses[n++] = v->addresses[i];
    v->count = n;
    return n > 0;
}

void via_destroy(struct via *v)
{
    if (v == NULL)
        return;
    secret_destroy(v->password);
    free(v->targets);
    free(v);
}

void via_share(struct via *v, bool with_children)
{
    if (v != NULL && v->password != NULL)
        secret_share(v->password, with_children);
}
