/* SPDX-License-Identifier: ISC
 *
 * What is made of a DNS that is written here: each row has a destination, the answers that there
 * are, and where it leads. Whatever is not written is securely absent.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>

#include "proxy/discover.h"

enum how { SECURE, INSECURE, FAILED, ABSENT_INSECURE, NO_NAME };

enum { TTL_0 = 1 };

struct answer {
    const char *name;
    enum dns_type type;
    enum how how;
    const char *data;      /* A, AAAA: the address; MX: "10 host"; TLSA: "311" and 32 bytes of it */
    const char *canonical; /* the name is an alias */
    unsigned ttl;          /* 0: 60; TTL_0: none */
};

struct row {
    const char *name, *destination;
    struct answer answers[8];
    bool no_dane;
    enum route_state want;
    const char *want_hosts; /* "name:addresses:dane[=base]" each, blanks between; DANE is none,
                             * failed, found */
    const char *want_why;   /* of the route, or its first host; is in it; NULL: any */
    unsigned want_ttl;      /* 0: 60 */
    const char *forbidden;  /* name that nobody may ask about; NULL: none */
};

#define TLSA_OF(name) "_25._tcp." name

static const struct row rows[] = {
    /* one host */
    {.name = "host-with-records",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"},
                 {.name = "mx.lab", .type = DNS_AAAA, .how = SECURE, .data = "2001:db8::1"},
                 {.name = TLSA_OF("mx.lab"), .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:2:found=mx.lab"},
    {.name = "host-without-records",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:none",
     .want_why = "has no TLSA records"},
    {.name = "records-that-are-not-signed",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"},
                 {.name = TLSA_OF("mx.lab"), .type = DNS_TLSA, .how = INSECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:none",
     .want_why = "not signed"},
    {.name = "failed-lookup-of-records-is-no-absence",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"},
                 {.name = TLSA_OF("mx.lab"), .type = DNS_TLSA, .how = FAILED}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:failed",
     .want_why = "no answer"},
    {.name = "addresses-that-are-not-signed-have-no-records",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab", .type = DNS_A, .how = INSECURE, .data = "192.0.2.1"},
                 {.name = "mx.lab", .type = DNS_CNAME, .how = ABSENT_INSECURE}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:none",
     .want_why = "addresses of mx.lab are not signed",
     .forbidden = TLSA_OF("mx.lab")},
    {.name = "one-kind-of-address-that-is-not-signed",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"},
                 {.name = "mx.lab", .type = DNS_AAAA, .how = INSECURE, .data = "2001:db8::1"},
                 {.name = TLSA_OF("mx.lab"), .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:2:none",
     .forbidden = TLSA_OF("mx.lab")},
    {.name = "one-kind-of-address-that-fails",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"},
                 {.name = "mx.lab", .type = DNS_AAAA, .how = FAILED},
                 {.name = TLSA_OF("mx.lab"), .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:found=mx.lab"},
    {.name = "addresses-that-fail",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab", .type = DNS_A, .how = FAILED}},
     .want = ROUTE_FAILED,
     .want_hosts = "",
     .want_why = "no answer"},
    {.name = "no-address",
     .destination = "mx.lab:25",
     .want = ROUTE_ABSENT,
     .want_hosts = "",
     .want_why = "has no address"},
    {.name = "address-of-another-length",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab", .type = DNS_A, .how = SECURE, .data = "2001:db8::1"}},
     .want = ROUTE_ABSENT,
     .want_hosts = ""},
    {.name = "without-dane-nobody-asks-for-records",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab", .type = DNS_A, .how = INSECURE, .data = "192.0.2.1"}},
     .no_dane = true,
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:none",
     .forbidden = TLSA_OF("mx.lab")},
    {.name = "port-is-in-the-name-of-records",
     .destination = "mx.lab:587",
     .answers = {{.name = "mx.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"},
                 {.name = "_587._tcp.mx.lab", .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:found=mx.lab"},

    /* aliases, RFC 7672 §2.2.2 */
    {.name = "records-where-the-alias-leads",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab",
                  .type = DNS_A,
                  .how = SECURE,
                  .data = "192.0.2.1",
                  .canonical = "real.lab"},
                 {.name = TLSA_OF("real.lab"), .type = DNS_TLSA, .how = SECURE, .data = "311"},
                 {.name = TLSA_OF("mx.lab"), .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:found=real.lab"},
    {.name = "records-of-the-alias-itself",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab",
                  .type = DNS_A,
                  .how = SECURE,
                  .data = "192.0.2.1",
                  .canonical = "real.lab"},
                 {.name = TLSA_OF("mx.lab"), .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:found=mx.lab"},
    {.name = "records-that-fail-where-the-alias-leads",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab",
                  .type = DNS_A,
                  .how = SECURE,
                  .data = "192.0.2.1",
                  .canonical = "real.lab"},
                 {.name = TLSA_OF("real.lab"), .type = DNS_TLSA, .how = FAILED},
                 {.name = TLSA_OF("mx.lab"), .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:failed"},
    {.name = "signed-alias-that-leads-to-the-unsigned",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab",
                  .type = DNS_A,
                  .how = INSECURE,
                  .data = "192.0.2.1",
                  .canonical = "real.lab"},
                 {.name = "mx.lab", .type = DNS_CNAME, .how = SECURE, .data = "-"},
                 {.name = TLSA_OF("mx.lab"), .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:found=mx.lab",
     .forbidden = TLSA_OF("real.lab")},
    {.name = "alias-about-which-nobody-knows",
     .destination = "mx.lab:25",
     .answers = {{.name = "mx.lab",
                  .type = DNS_A,
                  .how = INSECURE,
                  .data = "192.0.2.1",
                  .canonical = "real.lab"},
                 {.name = "mx.lab", .type = DNS_CNAME, .how = FAILED}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:failed"},

    /* domains */
    {.name = "exchanges-by-preference",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = SECURE, .data = "20 b.lab,10 a.lab"},
                 {.name = "a.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"},
                 {.name = "b.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.2"},
                 {.name = TLSA_OF("b.lab"), .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "a.lab:1:none b.lab:1:found=b.lab"},
    {.name = "exchange-without-an-address-is-passed-over",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = SECURE, .data = "10 a.lab,20 b.lab"},
                 {.name = "b.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.2"}},
     .want = ROUTE_FOUND,
     .want_hosts = "b.lab:1:none"},
    {.name = "exchange-that-fails-is-passed-over",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = SECURE, .data = "10 a.lab,20 b.lab"},
                 {.name = "a.lab", .type = DNS_A, .how = FAILED},
                 {.name = "b.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.2"}},
     .want = ROUTE_FOUND,
     .want_hosts = "b.lab:1:none"},
    {.name = "all-exchanges-fail-or-are-absent",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = SECURE, .data = "10 a.lab,20 b.lab"},
                 {.name = "b.lab", .type = DNS_A, .how = FAILED}},
     .want = ROUTE_FAILED,
     .want_hosts = "",
     .want_why = "no answer"},
    {.name = "exchanges-that-are-not-signed-have-no-records",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = INSECURE, .data = "10 a.lab"},
                 {.name = "a.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"},
                 {.name = TLSA_OF("a.lab"), .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "a.lab:1:none",
     .want_why = "the MX records of lab are not signed",
     .forbidden = TLSA_OF("a.lab")},
    {.name = "mx-that-fails",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = FAILED},
                 {.name = "lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"}},
     .want = ROUTE_FAILED,
     .want_hosts = "",
     .want_why = "no answer",
     .forbidden = TLSA_OF("lab")},
    {.name = "no-such-domain",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = NO_NAME}},
     .want = ROUTE_ABSENT,
     .want_hosts = "",
     .want_why = "there is no domain lab"},
    {.name = "domain-without-mx-is-a-host",
     .destination = "mx:lab:2525",
     .answers = {{.name = "lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"},
                 {.name = "_2525._tcp.lab", .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "lab:1:found=lab"},
    {.name = "absence-of-mx-that-is-not-signed",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = ABSENT_INSECURE},
                 {.name = "lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"},
                 {.name = TLSA_OF("lab"), .type = DNS_TLSA, .how = SECURE, .data = "311"}},
     .want = ROUTE_FOUND,
     .want_hosts = "lab:1:none",
     .forbidden = TLSA_OF("lab")},
    {.name = "null-mx",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = SECURE, .data = "0 "},
                 {.name = "lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"}},
     .want = ROUTE_NULL_MX,
     .want_hosts = "",
     .want_why = "null MX"},
    {.name = "null-mx-beside-another-is-ignored",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = SECURE, .data = "0 ,10 a.lab"},
                 {.name = "a.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1"}},
     .want = ROUTE_FOUND,
     .want_hosts = "a.lab:1:none"},
    {.name = "exchange-that-is-no-name",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = SECURE, .data = "10 a\r\nb.lab"}},
     .want = ROUTE_ABSENT,
     .want_hosts = "",
     .want_why = "no usable MX"},
    {.name = "exchange-that-is-cut-off",
     .destination = "mx:lab.",
     .answers = {{.name = "lab", .type = DNS_MX, .how = SECURE, .data = "!"}},
     .want = ROUTE_ABSENT,
     .want_hosts = "",
     .want_why = "no usable MX"},

    /* how long it holds */
    {.name = "the-shortest-ttl-counts",
     .destination = "mx.lab:25",
     .answers =
         {{.name = "mx.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1", .ttl = 300},
          {.name = "mx.lab", .type = DNS_AAAA, .how = SECURE, .data = "2001:db8::1", .ttl = 200},
          {.name = TLSA_OF("mx.lab"), .type = DNS_TLSA, .how = SECURE, .data = "311", .ttl = 30}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:2:found=mx.lab",
     .want_ttl = 30},
    {.name = "ttl-of-0-is-a-second",
     .destination = "mx.lab:25",
     .answers =
         {{.name = "mx.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1", .ttl = TTL_0}},
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:1:none",
     .want_ttl = 1},
    {.name = "ttl-of-a-day-is-an-hour",
     .destination = "mx.lab:25",
     .answers =
         {{.name = "mx.lab", .type = DNS_A, .how = SECURE, .data = "192.0.2.1", .ttl = 86400},
          {.name = "mx.lab", .type = DNS_AAAA, .how = SECURE, .data = "2001:db8::1", .ttl = 86400}},
     .no_dane = true,
     .want = ROUTE_FOUND,
     .want_hosts = "mx.lab:2:none",
     .want_ttl = 3600},
};

/* ---- a DNS ---- */

struct records {
    unsigned char data[DNS_RECORDS_MAX][300];
};

static size_t write_name(const char *text, unsigned char *out)
{
    size_t n = 0;
    while (*text != '\0') {
        size_t label = strcspn(text, ".");
        out[n++] = (unsigned char)label;
        memcpy(out + n, text, label);
        n += label;
        text += label + (text[label] == '.');
    }
    out[n++] = 0;
    return n;
}

static size_t write_mx(const char *text, unsigned char *out)
{
    char *end;
    if (text[0] == '!') { /* says a label of 60 bytes and has two */
        memcpy(out, "\0\12\74ab", 5);
        return 5;
    }
    unsigned long preference = strtoul(text, &end, 10);
    out[0] = 0;
    out[1] = (unsigned char)preference;
    return 2 + write_name(end + 1, out + 2);
}

static size_t write_data(const struct answer *a, const char *text, unsigned char *out)
{
    bool v6 = strchr(text, ':') != NULL;
    switch (a->type) {
    case DNS_A:
    case DNS_AAAA:
        assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, text, out), 1);
        return v6 ? 16 : 4;
    case DNS_MX:
        return write_mx(text, out);
    case DNS_TLSA:
        for (size_t i = 0; i < 3; i++)
            out[i] = (unsigned char)(text[i] - '0');
        memset(out + 3, 0x5a, 32);
        return 35;
    case DNS_CNAME:
        break;
    }
    return write_name("elsewhere.lab", out);
}

static void fill(const struct answer *a, struct dns_answer *out)
{
    char *texts = a->data != NULL ? strdup(a->data) : NULL, *save = NULL;
    struct records *r = calloc(1, sizeof *r);
    assert_non_null(r);
    out->own = r;
    for (char *t = texts != NULL ? strtok_r(texts, ",", &save) : NULL; t != NULL;
         t = strtok_r(NULL, ",", &save)) {
        out->records[out->count].data = r->data[out->count];
        out->records[out->count].len = write_data(a, t, r->data[out->count]);
        out->count++;
    }
    free(texts);
    if (a->canonical != NULL)
        snprintf(out->canonical, sizeof out->canonical, "%s", a->canonical);
}

static void ask(void *ctx, const char *name, enum dns_type type, struct dns_answer *out)
{
    const struct row *row = ctx;
    *out = (struct dns_answer){.standing = DNS_SECURE, .ttl = 3600};
    if (row->forbidden != NULL && strcmp(row->forbidden, name) == 0)
        fail_msg("asked about %s", name);
    for (size_t i = 0; i < 8 && row->answers[i].name != NULL; i++) {
        const struct answer *a = &row->answers[i];
        if (a->type != type || strcasecmp(a->name, name) != 0)
            continue;
        out->standing = a->how == FAILED                                  ? DNS_FAILED
                        : a->how == INSECURE || a->how == ABSENT_INSECURE ? DNS_INSECURE
                                                                          : DNS_SECURE;
        out->no_such_name = a->how == NO_NAME;
        out->ttl = a->ttl == TTL_0 ? 0 : a->ttl > 0 ? a->ttl : 60;
        snprintf(out->why, sizeof out->why, "no answer about %s", name);
        fill(a, out);
    }
}

static void finish(struct dns_answer *a)
{
    free(a->own);
    *a = (struct dns_answer){0};
}

/* ---- what has come of it ---- */

static void describe(const struct route *r, char *out, size_t size)
{
    static const char *const words[] = {
        [HOST_DANE_NONE] = "none", [HOST_DANE_FAILED] = "failed", [HOST_DANE_FOUND] = "found"};
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < r->n_hosts; i++) {
        const struct route_host *h = &r->hosts[i];
        used += (size_t)snprintf(out + used, size - used, "%s%s:%zu:%s%s%s", i > 0 ? " " : "",
                                 h->name, h->n_addresses, words[h->dane],
                                 h->base[0] != '\0' ? "=" : "", h->base);
        assert_int_equal(h->dane == HOST_DANE_FOUND, h->n_records == 1);
        if (h->n_records == 1)
            assert_int_equal(route_record(h, 0).len, 32);
    }
}

static void test_row(void **state)
{
    const struct row *row = *state;
    const struct asker asker = {.ask = ask, .finish = finish, .ctx = (void *)row};
    struct route *r = calloc(1, sizeof *r);
    struct nexthop to;
    char text[1024], error[128];
    assert_non_null(r);
    assert_true(nexthop_parse(row->destination, &to, error, sizeof error));
    unsigned ttl = discover(&to, !row->no_dane, &asker, r);
    describe(r, text, sizeof text);
    assert_string_equal(text, row->want_hosts);
    assert_int_equal(r->state, row->want);
    const char *why = r->n_hosts > 0 ? r->hosts[0].why : r->why;
    if (row->want_why != NULL && strstr(why, row->want_why) == NULL)
        fail_msg("\"%s\" does not have \"%s\" in it", why, row->want_why);
    if (row->want_ttl > 0)
        assert_int_equal(ttl, row->want_ttl);
    free(r);
}

/* ---- limits ---- */

static void many(void *ctx, const char *name, enum dns_type type, struct dns_answer *out)
{
    const size_t *n = ctx;
    struct records *r = calloc(1, sizeof *r);
    assert_non_null(r);
    *out = (struct dns_answer){.standing = DNS_SECURE, .ttl = 60, .own = r};
    (void)name;
    for (size_t i = 0; type != DNS_AAAA && i < *n; i++) {
        out->records[i].data = r->data[i];
        out->records[i].len = type == DNS_A ? 4 : 35;
        r->data[i][0] = 3;
        out->count++;
    }
}

static void try_many(size_t n, struct route *r)
{
    const struct asker asker = {.ask = many, .finish = finish, .ctx = &n};
    struct nexthop to;
    char error[128];
    assert_true(nexthop_parse("mx.lab:25", &to, error, sizeof error));
    (void)discover(&to, true, &asker, r);
}

static void test_limits(void **state)
{
    static struct route r;
    (void)state;
    try_many(ROUTE_ADDRESSES, &r);
    assert_int_equal(r.hosts[0].n_addresses, ROUTE_ADDRESSES);
    try_many(ROUTE_ADDRESSES + 1, &r);
    assert_int_equal(r.hosts[0].n_addresses, ROUTE_ADDRESSES);
    try_many(ROUTE_RECORDS, &r);
    assert_int_equal(r.hosts[0].dane, HOST_DANE_FOUND);
    assert_int_equal(r.hosts[0].n_records, ROUTE_RECORDS);
    try_many(ROUTE_RECORDS + 1, &r); /* never some of them only */
    assert_int_equal(r.hosts[0].dane, HOST_DANE_FAILED);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, test_row, rows);
    unit_add(&u, "limits", test_limits, NULL);
    return unit_run(&u, "discover");
}
