/* SPDX-License-Identifier: ISC */
#include "proxy/discover.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

struct search {
    const struct asker *asker;
    struct route *route;
    uint16_t port;
    bool dane;
    unsigned ttl; /* the least of all answers */
};

static void ask(struct search *s, const char *name, enum dns_type type, struct dns_answer *out)
{
    s->asker->ask(s->asker->ctx, name, type, out);
    if (out->standing != DNS_FAILED && out->ttl < s->ttl)
        s->ttl = out->ttl;
}

static void finish(struct search *s, struct dns_answer *a)
{
    s->asker->finish(a);
}

__attribute__((format(printf, 2, 3))) static void say(char why[ROUTE_WHY], const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, ROUTE_WHY, format, ap);
    va_end(ap);
}

/* ---- TLSA ---- */

static bool copy_tlsa(struct route_host *h, const struct dns_answer *a)
{
    size_t used = 0;
    h->n_records = 0;
    for (size_t i = 0; i < a->count; i++) {
        if (h->n_records == ROUTE_RECORDS || a->records[i].len > sizeof h->rdata - used)
            return false;
        memcpy(h->rdata + used, a->records[i].data, a->records[i].len);
        h->records[h->n_records].at = (uint16_t)used;
        h->records[h->n_records++].len = (uint16_t)a->records[i].len;
        used += a->records[i].len;
    }
    return true;
}

static void take_tlsa(struct route_host *h, const char *base, const struct dns_answer *a)
{
    h->dane = HOST_DANE_NONE;
    if (a->standing == DNS_FAILED) {
        h->dane = HOST_DANE_FAILED;
        say(h->why, "%s", a->why);
    } else if (a->standing == DNS_INSECURE) {
        say(h->why, "the TLSA records of %.100s are not signed", base);
    } else if (a->count == 0) {
        say(h->why, "%.100s has no TLSA records", base);
    } else if (!copy_tlsa(h, a)) {
        h->dane = HOST_DANE_FAILED;
        say(h->why, "%.100s has too many TLSA records", base);
    } else {
        h->dane = HOST_DANE_FOUND;
        snprintf(h->base, sizeof h->base, "%s", base);
    }
}

static void look_for_tlsa(struct search *s, struct route_host *h, const char *base)
{
    char name[DNS_NAME_MAX + 16];
    struct dns_answer a;
    snprintf(name, sizeof name, "_%u._tcp.%s", (unsigned)s->port, base);
    if (!nexthop_is_name(name)) { /* longer than a name can be: it cannot be there */
        say(h->why, "%.100s is too long a name for TLSA records", base);
        return;
    }
    ask(s, name, DNS_TLSA, &a);
    take_tlsa(h, base, &a);
    finish(s, &a);
}

/* The addresses are not signed. If the name is an alias, and the alias itself is signed, its owner
 * can have records all the same (RFC 7672 §2.2.2). */
static bool is_secure_alias(struct search *s, struct route_host *h)
{
    struct dns_answer a;
    ask(s, h->name, DNS_CNAME, &a);
    bool yes = a.standing == DNS_SECURE && a.count > 0;
    if (a.standing == DNS_FAILED) {
        h->dane = HOST_DANE_FAILED;
        say(h->why, "%s", a.why);
    }
    finish(s, &a);
    return yes;
}

/* `canonical`: where the aliases lead, "" without any. Its records count before those of the name.
 */
static void find_tlsa(struct search *s, struct route_host *h, bool secure, const char *canonical)
{
    say(h->why, "the addresses of %.100s are not signed", h->name);
    if (!secure && !is_secure_alias(s, h))
        return;
    if (secure && canonical[0] != '\0')
        look_for_tlsa(s, h, canonical);
    if (h->dane == HOST_DANE_NONE)
        look_for_tlsa(s, h, h->name);
}

/* ---- addresses ---- */

static void copy_addresses(struct route_host *h, const struct dns_answer *a, bool v6)
{
    size_t want = v6 ? 16 : 4;
    for (size_t i = 0; i < a->count && h->n_addresses < ROUTE_ADDRESSES; i++) {
        if (a->records[i].len != want)
            continue;
        h->addresses[h->n_addresses].v6 = v6;
        memcpy(h->addresses[h->n_addresses++].ip, a->records[i].data, want);
    }
}

struct place {
    bool secure, failed;
    char canonical[DNS_NAME_MAX], why[ROUTE_WHY];
};

static void find_kind(struct search *s, struct route_host *h, bool v6, struct place *p)
{
    struct dns_answer a;
    size_t before = h->n_addresses;
    ask(s, h->name, v6 ? DNS_AAAA : DNS_A, &a);
    if (a.standing == DNS_FAILED) {
        p->failed = true;
        say(p->why, "%s", a.why);
    }
    copy_addresses(h, &a, v6);
    if (h->n_addresses > before) {
        p->secure = p->secure && a.standing == DNS_SECURE;
        if (nexthop_is_name(a.canonical))
            snprintf(p->canonical, sizeof p->canonical, "%s", a.canonical);
    }
    finish(s, &a);
}

/* One of the two kinds is enough. False: it has no address, and p->failed says whether it might.
 * A host without a usable address is not asked about any more. */
static bool find_host(struct search *s, struct route_host *h, bool dane, struct place *p)
{
    *p = (struct place){.secure = true};
    find_kind(s, h, true, p);
    find_kind(s, h, false, p);
    if (h->n_addresses == 0)
        return false;
    if (dane)
        find_tlsa(s, h, p->secure, p->canonical);
    return true;
}

static void add_host(struct search *s, const char *name, bool dane)
{
    struct route *r = s->route;
    struct route_host *h = &r->hosts[r->n_hosts];
    struct place place;
    if (r->n_hosts == ROUTE_HOSTS)
        return;
    memset(h, 0, sizeof *h);
    snprintf(h->name, sizeof h->name, "%s", name);
    if (find_host(s, h, dane, &place)) {
        r->state = ROUTE_FOUND;
        r->n_hosts++;
    } else if (place.failed && r->state != ROUTE_FOUND) {
        r->state = ROUTE_FAILED;
        say(r->why, "%s", place.why);
    } else if (r->state == ROUTE_UNKNOWN) {
        r->state = ROUTE_ABSENT;
        say(r->why, "%.100s has no address", name);
    }
}

/* ---- MX ---- */

struct exchange {
    unsigned preference, lot; /* equals are taken in random order (RFC 5321 §5.1) */
    char name[DNS_NAME_MAX];
};

/* Reads a name in wire format. False: it is none that can be asked for. The root is "". */
static bool read_name(const unsigned char *data, size_t len, char out[DNS_NAME_MAX])
{
    size_t used = 0;
    for (size_t i = 0; i < len && data[i] != 0; i += data[i] + 1U) {
        size_t label = data[i];
        if (label > 63 || i + 1 + label >= len || used + label + 2 > DNS_NAME_MAX)
            return false;
        if (memchr(data + i + 1, '.', label) != NULL || memchr(data + i + 1, '\0', label) != NULL)
            return false;
        if (used > 0)
            out[used++] = '.';
        memcpy(out + used, data + i + 1, label);
        used += label;
    }
    out[used] = '\0';
    return used == 0 ? len > 0 && data[0] == 0 : nexthop_is_name(out);
}

static int by_preference(const void *a, const void *b)
{
    const struct exchange *x = a, *y = b;
    if (x->preference != y->preference)
        return x->preference < y->preference ? -1 : 1;
    return x->lot < y->lot ? -1 : x->lot > y->lot;
}

/* The exchanges in order, without what is no name. *null: there is "." (RFC 7505 §3). */
static size_t read_exchanges(const struct dns_answer *a, struct exchange out[DNS_RECORDS_MAX],
                             bool *null)
{
    size_t n = 0;
    *null = false;
    for (size_t i = 0; i < a->count; i++) {
        const unsigned char *data = a->records[i].data;
        struct exchange *x = &out[n];
        if (a->records[i].len < 3 || !read_name(data + 2, a->records[i].len - 2, x->name))
            continue;
        if (x->name[0] == '\0') {
            *null = true;
            continue;
        }
        x->preference = (unsigned)data[0] << 8 | data[1];
        if (getrandom(&x->lot, sizeof x->lot, 0) != sizeof x->lot)
            x->lot = (unsigned)i;
        n++;
    }
    qsort(out, n, sizeof *out, by_preference);
    return n;
}

/* What nobody has signed, nobody can be held to: the names of such hosts may be an attacker's
 * (RFC 7672 §2.2.1). */
static void add_exchanges(struct search *s, const struct nexthop *to, const struct dns_answer *a)
{
    struct exchange exchanges[DNS_RECORDS_MAX];
    struct route *r = s->route;
    bool null, dane = s->dane && a->standing == DNS_SECURE;
    size_t n = read_exchanges(a, exchanges, &null);
    for (size_t i = 0; i < n; i++) {
        size_t before = r->n_hosts;
        add_host(s, exchanges[i].name, dane);
        if (s->dane && !dane && r->n_hosts > before)
            say(r->hosts[before].why, "the MX records of %.100s are not signed", to->name);
    }
    if (n > 0)
        return;
    r->state = null ? ROUTE_NULL_MX : ROUTE_ABSENT;
    say(r->why, null ? "%.100s does not accept mail (null MX)" : "%.100s has no usable MX record",
        to->name);
}

static void follow_mx(struct search *s, const struct nexthop *to)
{
    struct dns_answer a;
    ask(s, to->name, DNS_MX, &a);
    if (a.standing == DNS_FAILED) {
        s->route->state = ROUTE_FAILED;
        say(s->route->why, "%s", a.why);
    } else if (a.no_such_name) {
        s->route->state = ROUTE_ABSENT;
        say(s->route->why, "there is no domain %.100s", to->name);
    } else if (a.count == 0) {
        add_host(s, to->name, s->dane && a.standing == DNS_SECURE);
    } else {
        add_exchanges(s, to, &a);
    }
    finish(s, &a);
}

unsigned discover(const struct nexthop *to, bool dane, const struct asker *asker, struct route *out)
{
    struct search s = {
        .asker = asker, .route = out, .port = to->port, .dane = dane, .ttl = DISCOVER_TTL_MAX};
    memset(out, 0, sizeof *out);
    if (to->mx)
        follow_mx(&s, to);
    else
        add_host(&s, to->name, dane);
    return s.ttl < DISCOVER_TTL_MIN ? DISCOVER_TTL_MIN : s.ttl;
}
