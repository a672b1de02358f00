/* SPDX-License-Identifier: ISC */
#include "proxy/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "protocols/memory.h"
#include "proxy/lookup.h"

struct parts {
    char host[256]; /* empty: not given */
    char port[32];
};

/* The port is behind the last colon, so ":::25" is the host "::". */
static bool split(const char *text, struct parts *out, char *error, size_t error_size)
{
    const char *colon = strrchr(text, ':');
    const char *port = colon != NULL ? colon + 1 : text;
    size_t host_len = colon != NULL ? (size_t)(colon - text) : 0;
    if (host_len >= 2 && text[0] == '[' && text[host_len - 1] == ']') {
        text++;
        host_len -= 2;
    }
    if (host_len >= sizeof out->host || strlen(port) >= sizeof out->port || *port == '\0') {
        snprintf(error, error_size, "\"%.80s\" is not [host:]port or /path", text);
        return false;
    }
    memcpy(out->host, text, host_len);
    out->host[host_len] = '\0';
    strcpy(out->port, port);
    return true;
}

/* A number from 1 to 65535, or a name from services(5). */
static bool find_port(const char *text, uint16_t *port)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*end == '\0' && text[0] >= '0' && text[0] <= '9') {
        *port = (uint16_t)n;
        return n > 0 && n < 65536;
    }
    const struct servent *s = getservbyname(text, "tcp");
    if (s == NULL)
        return false;
    *port = ntohs((uint16_t)s->s_port);
    return true;
}

static bool path_fits(const char *text, char *error, size_t error_size)
{
    if (strlen(text) < sizeof((struct sockaddr_un *)0)->sun_path)
        return true;
    snprintf(error, error_size, "the path of a Unix socket has at most %zu bytes",
             sizeof((struct sockaddr_un *)0)->sun_path - 1);
    return false;
}

bool address_is_valid(const char *text, char *error, size_t error_size)
{
    struct parts p;
    uint16_t port;
    if (text[0] == '/')
        return path_fits(text, error, error_size);
    if (!split(text, &p, error, error_size))
        return false;
    if (find_port(p.port, &port))
        return true;
    snprintf(error, error_size, "\"%s\" is neither a port from 1 to 65535 nor the name of one",
             p.port);
    return false;
}

bool address_has_port(const char *text, uint16_t want)
{
    struct parts p;
    char error[128];
    uint16_t port;
    return text[0] != '/' && split(text, &p, error, sizeof error) && find_port(p.port, &port) &&
           port == want;
}

bool address_split(const char *text, char *host, size_t size, uint16_t *port)
{
    struct parts p;
    char error[128];
    return text[0] != '/' && split(text, &p, error, sizeof error) && find_port(p.port, port) &&
           (size_t)snprintf(host, size, "%s", p.host) < size;
}

bool address_is_same(const char *a, const char *b)
{
    struct parts pa, pb;
    char error[128];
    uint16_t port_a, port_b;
    if (a[0] == '/' || b[0] == '/')
        return strcmp(a, b) == 0;
    if (!split(a, &pa, error, sizeof error) || !split(b, &pb, error, sizeof error) ||
        !find_port(pa.port, &port_a) || !find_port(pb.port, &port_b) || port_a != port_b)
        return false;
    const char *host_a = pa.host[0] != '\0' ? pa.host : "0.0.0.0";
    const char *host_b = pb.host[0] != '\0' ? pb.host : "0.0.0.0";
    return strcasecmp(host_a, host_b) == 0;
}

bool address_host(const char *text, char *out, size_t size)
{
    struct parts p;
    char error[128];
    if (text[0] == '/' || !split(text, &p, error, sizeof error))
        return false;
    return (size_t)snprintf(out, size, "%s", p.host[0] != '\0' ? p.host : "localhost") < size;
}

bool address_is_literal(const char *text)
{
    struct in6_addr any;
    return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

bool address_is_local(const char *text)
{
    struct parts p;
    char error[128];
    if (text[0] == '/')
        return true;
    if (!split(text, &p, error, sizeof error))
        return false;
    return strcasecmp(p.host, "localhost") == 0 || strncmp(p.host, "127.", 4) == 0 ||
           strcmp(p.host, "::1") == 0;
}

static size_t resolve_path(const char *text, struct address *out, char *error, size_t error_size)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&out->sa;
    if (!path_fits(text, error, error_size))
        return 0;
    *out = (struct address){.len = sizeof *un};
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, text);
    address_print(out);
    return 1;
}

struct question {
    const char *host;
    uint16_t port;
    bool listening;
    bool numeric; /* the host is an address: no name service is needed */
};

enum { ANSWERS_MAX = 64 };

struct answers {
    int error; /* of getaddrinfo */
    size_t count;
    struct address list[ANSWERS_MAX];
};

static void ask(const void *ctx, void *result)
{
    const struct question *q = ctx;
    struct answers *out = result;
    char port[8];
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM,
                                    .ai_flags = q->numeric     ? AI_NUMERICHOST
                                                : q->listening ? AI_PASSIVE
                                                               : AI_ADDRCONFIG};
    snprintf(port, sizeof port, "%u", q->port);
    int r = getaddrinfo(q->host, port, &hints, &list);
    if (r == EAI_ADDRFAMILY || r == EAI_NONAME) { /* loopback only: AI_ADDRCONFIG sees no IPv6 */
        hints.ai_flags &= ~AI_ADDRCONFIG;
        r = getaddrinfo(q->host, port, &hints, &list);
    }
    out->error = r;
    if (r != 0)
        return;
    for (const struct addrinfo *a = list; a != NULL && out->count < ANSWERS_MAX; a = a->ai_next) {
        struct address *to = &out->list[out->count];
        if (a->ai_addrlen > sizeof to->sa)
            continue;
        *to = (struct address){.len = a->ai_addrlen};
        memcpy(&to->sa, a->ai_addr, a->ai_addrlen);
        address_print(to);
        out->count++;
    }
    freeaddrinfo(list);
}

static bool find_addresses(const struct question *q, struct answers *out)
{
    if (!q->numeric)
        return lookup_apart(ask, q, out, sizeof *out);
    *out = (struct answers){0};
    ask(q, out);
    return true;
}

size_t address_resolve(const char *text, bool listening, struct address *out, size_t max,
                       char *error, size_t error_size)
{
    struct parts p;
    struct question q = {.listening = listening};
    if (text[0] == '/')
        return resolve_path(text, out, error, error_size);
    if (!address_is_valid(text, error, error_size) || !split(text, &p, error, error_size) ||
        !find_port(p.port, &q.port))
        return 0;
    q.host = p.host[0] != '\0' ? p.host : listening ? "0.0.0.0" : "localhost";

    q.numeric = address_is_literal(q.host);

    struct answers *found = memory_alloc(sizeof *found);
    size_t n = 0;
    if (!find_addresses(&q, found))
        snprintf(error, error_size, "the host \"%s\" could not be looked up", q.host);
    else if (found->error != 0)
        snprintf(error, error_size, "the host \"%s\" was not found: %s", q.host,
                 gai_strerror(found->error));
    else if (found->count == 0)
        snprintf(error, error_size, "the host \"%s\" has no address", q.host);
    else
        n = found->count < max ? found->count : max;
    if (n > 0)
        memcpy(out, found->list, n * sizeof *out);
    free(found);
    return n;
}

void address_print(struct address *a)
{
    char host[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
    const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
    switch (a->sa.ss_family) {
    case AF_INET:
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(a->text, sizeof a->text, "%s:%u", host, ntohs(in->sin_port));
        break;
    case AF_INET6:
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], host, sizeof host);
            snprintf(a->text, sizeof a->text, "%s:%u", host, ntohs(in6->sin6_port));
        } else {
            inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
            snprintf(a->text, sizeof a->text, "[%s]:%u", host, ntohs(in6->sin6_port));
        }
        break;
    case AF_UNIX:
        snprintf(a->text, sizeof a->text, "%s",
                 a->len > sizeof(sa_family_t) && un->sun_path[0] != '\0' ? un->sun_path : "unix");
        break;
    default:
        snprintf(a->text, sizeof a->text, "?");
    }
}

void address_smtp_literal(const struct address *a, char out[ADDRESS_LITERAL_MAX])
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
    char host[INET6_ADDRSTRLEN] = "";
    bool v6 = a->sa.ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
    if (v6)
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
    else if (a->sa.ss_family == AF_INET6)
        inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], host, sizeof host);
    else if (a->sa.ss_family == AF_INET)
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
    out[0] = '\0';
    if (host[0] != '\0')
        snprintf(out, ADDRESS_LITERAL_MAX, "[%s%s]", v6 ? "IPv6:" : "", host);
}

void address_numeric(const struct address *a, char out[ADDRESS_HOST_MAX])
{
    const struct address plain = address_unmapped(a);
    const struct sockaddr_in *in = (const struct sockaddr_in *)&plain.sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&plain.sa;
    snprintf(out, ADDRESS_HOST_MAX, "unix");
    if (plain.sa.ss_family == AF_INET)
        inet_ntop(AF_INET, &in->sin_addr, out, ADDRESS_HOST_MAX);
    else if (plain.sa.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &in6->sin6_addr, out, ADDRESS_HOST_MAX);
}

void address_client_key(const struct address *a, unsigned char key[16])
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
    memset(key, 0, 16);
    key[0] = (unsigned char)a->sa.ss_family;
    if (a->sa.ss_family == AF_INET) {
        memcpy(key + 12, &in->sin_addr, 4);
    } else if (a->sa.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        key[0] = AF_INET;
        memcpy(key + 12, &in6->sin6_addr.s6_addr[12], 4);
    } else if (a->sa.ss_family == AF_INET6) {
        memcpy(key + 8, &in6->sin6_addr, 8);
    }
}

struct address address_of(int family, const void *ip, uint16_t port)
{
    struct address a = {.sa.ss_family = (sa_family_t)family};
    struct sockaddr_in *in = (struct sockaddr_in *)&a.sa;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a.sa;
    if (family == AF_INET) {
        a.len = sizeof *in;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, ip, sizeof in->sin_addr);
    } else {
        a.len = sizeof *in6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, ip, sizeof in6->sin6_addr);
    }
    address_print(&a);
    return a;
}

bool address_of_socket(int fd, struct address *out)
{
    out->len = sizeof out->sa;
    if (getsockname(fd, (struct sockaddr *)&out->sa, &out->len) != 0)
        return false;
    address_print(out);
    return true;
}

bool address_read(const char *text, uint16_t port, struct address *out)
{
    unsigned char ip[16];
    int family = inet_pton(AF_INET, text, ip) == 1    ? AF_INET
                 : inet_pton(AF_INET6, text, ip) == 1 ? AF_INET6
                                                      : AF_UNSPEC;
    if (family != AF_UNSPEC)
        *out = address_of(family, ip, port);
    return family != AF_UNSPEC;
}

struct address address_unmapped(const struct address *a)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
    if (a->sa.ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        return *a;
    return address_of(AF_INET, &in6->sin6_addr.s6_addr[12], ntohs(in6->sin6_port));
}

uint16_t address_port(const struct address *a)
{
    if (a->sa.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&a->sa)->sin_port);
    if (a->sa.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&a->sa)->sin6_port);
    return 0;
}

/* ---- networks ---- */

/* Whether the bytes are alike in the first `bits`. */
static bool same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool parse_bits(const char *text, unsigned most, unsigned *bits)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    *bits = (unsigned)n;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && n <= most;
}

static bool parse_ip(const char *text, struct network *out)
{
    *out = (struct network){0};
    if (inet_pton(AF_INET, text, out->bytes) == 1) {
        out->ipv4 = true;
        return true;
    }
    return inet_pton(AF_INET6, text, out->bytes) == 1;
}

/* ::ffff:192.0.2.0/120 is 192.0.2.0/24. */
static void unmap(struct network *n)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (n->ipv4 || n->bits < 96 || memcmp(n->bytes, mapped, sizeof mapped) != 0)
        return;
    memmove(n->bytes, n->bytes + 12, 4);
    memset(n->bytes + 4, 0, 12);
    n->bits -= 96;
    n->ipv4 = true;
}

const char *network_parse(const char *text, struct network *out)
{
    char ip[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof ip)
        return "is not ADDRESS or ADDRESS/BITS";
    memcpy(ip, text, len);
    ip[len] = '\0';
    if (!parse_ip(ip, out))
        return "is not ADDRESS or ADDRESS/BITS";
    unsigned most = out->ipv4 ? 32 : 128;
    out->bits = most;
    if (slash != NULL && !parse_bits(slash + 1, most, &out->bits))
        return "has a number of bits that is not from 0 to 32 (IPv4) or 128 (IPv6)";
    unsigned char cut[16] = {0};
    memcpy(cut, out->bytes, (out->bits + 7) / 8);
    if (out->bits % 8 != 0)
        cut[out->bits / 8] &= (unsigned char)(0xff << (8 - out->bits % 8));
    if (memcmp(cut, out->bytes, sizeof cut) != 0)
        return "has bits set behind the number of bits that count";
    unmap(out);
    return NULL;
}

bool network_list_has(const struct network_list *list, const struct address *a)
{
    const struct address plain = address_unmapped(a);
    const void *ip = &((const struct sockaddr_in *)&plain.sa)->sin_addr;
    if (plain.sa.ss_family == AF_INET6)
        ip = &((const struct sockaddr_in6 *)&plain.sa)->sin6_addr;
    else if (plain.sa.ss_family != AF_INET)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        const struct network *n = &list->items[i];
        if (n->ipv4 == (plain.sa.ss_family == AF_INET) && same_bits(n->bytes, ip, n->bits))
            return true;
    }
    return false;
}
