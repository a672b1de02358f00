/* SPDX-License-Identifier: ISC
 *
 * libunbound, as one process uses it that asks one question after the other: no thread, no child.
 */
#include "proxy/dns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <unbound.h>

#include "protocols/library.h"
#include "protocols/memory.h"

enum { CLASS_IN = 1, RCODE_NXDOMAIN = 3 };

/* Of libunbound.so.8. */
static struct {
    struct ub_ctx *(*ub_ctx_create)(void);
    void (*ub_ctx_delete)(struct ub_ctx *ctx);
    int (*ub_ctx_debugout)(struct ub_ctx *ctx, void *out);
    int (*ub_ctx_set_option)(struct ub_ctx *ctx, const char *opt, const char *val);
    int (*ub_ctx_resolvconf)(struct ub_ctx *ctx, const char *fname);
    int (*ub_ctx_set_fwd)(struct ub_ctx *ctx, const char *addr);
    int (*ub_ctx_add_ta_file)(struct ub_ctx *ctx, const char *fname);
    int (*ub_resolve)(struct ub_ctx *ctx, const char *name, int rrtype, int rrclass,
                      struct ub_result **result);
    void (*ub_resolve_free)(struct ub_result *result);
    const char *(*ub_strerror)(int err);
} lib;
static const struct library_symbol symbols[] = {
    LIBRARY_SYMBOL(lib, ub_ctx_create),      LIBRARY_SYMBOL(lib, ub_ctx_delete),
    LIBRARY_SYMBOL(lib, ub_ctx_debugout),    LIBRARY_SYMBOL(lib, ub_ctx_set_option),
    LIBRARY_SYMBOL(lib, ub_ctx_resolvconf),  LIBRARY_SYMBOL(lib, ub_ctx_set_fwd),
    LIBRARY_SYMBOL(lib, ub_ctx_add_ta_file), LIBRARY_SYMBOL(lib, ub_resolve),
    LIBRARY_SYMBOL(lib, ub_resolve_free),    LIBRARY_SYMBOL(lib, ub_strerror),
};

struct dns {
    struct ub_ctx *ctx;
};

bool dns_is_built(void)
{
    return true;
}

bool dns_load(char *error, size_t error_size)
{
    return library_load("libunbound.so.8", symbols, sizeof symbols / sizeof *symbols, error,
                        error_size);
}

/* ---- opening ---- */

/* What has been unreachable or forged is asked again soon: the resolver waits between its attempts,
 * and a server that is back must not be shunned for a quarter of an hour. Nor may a dead one keep
 * everybody waiting: sessions do. Versions before 1.17 do not know the last two. */
static const struct {
    const char *option, *value;
    bool needed;
} settings_of_ours[] = {
    {"do-not-query-localhost:", "no", true},
    {"infra-host-ttl:", "5", true},
    {"val-bogus-ttl:", "2", true},
    {"infra-cache-max-rtt:", "1500", false}, /* milliseconds */
    {"outbound-msg-retry:", "3", false},
};

static int set_options(struct ub_ctx *ctx)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof settings_of_ours / sizeof *settings_of_ours; i++) {
        int r = lib.ub_ctx_set_option(ctx, settings_of_ours[i].option, settings_of_ours[i].value);
        if (settings_of_ours[i].needed && r != 0)
            failed = r;
    }
    return failed;
}

static int set_servers(struct ub_ctx *ctx, const struct dns_settings *s)
{
    int r = 0;
    if (s->n_servers == 0)
        return lib.ub_ctx_resolvconf(ctx, NULL);
    for (size_t i = 0; r == 0 && i < s->n_servers; i++)
        r = lib.ub_ctx_set_fwd(ctx, s->servers[i].text);
    return r;
}

/* Its own zones are answered without asking anybody; files are read at the first question. */
static int read_files(struct ub_ctx *ctx)
{
    struct ub_result *result = NULL;
    int r = lib.ub_resolve(ctx, "localhost", DNS_A, CLASS_IN, &result);
    lib.ub_resolve_free(result);
    return r;
}

struct dns *dns_open(const struct dns_settings *settings, char *error, size_t error_size)
{
    const char *what = "libunbound";
    if (!dns_load(error, error_size))
        return NULL;
    struct ub_ctx *ctx = lib.ub_ctx_create();
    if (ctx == NULL) {
        snprintf(error, error_size, "%s: out of memory", what);
        return NULL;
    }
    lib.ub_ctx_debugout(ctx, NULL);
    int r = set_options(ctx);
    if (r == 0) {
        what = settings->n_servers > 0 ? "resolver" : "/etc/resolv.conf";
        r = set_servers(ctx, settings);
    }
    if (r == 0 && settings->anchor != NULL) {
        what = settings->anchor;
        r = lib.ub_ctx_add_ta_file(ctx, settings->anchor);
    }
    if (r == 0)
        r = read_files(ctx);
    if (r != 0) {
        snprintf(error, error_size, "%s: %s", what, lib.ub_strerror(r));
        lib.ub_ctx_delete(ctx);
        return NULL;
    }
    struct dns *d = memory_alloc(sizeof *d);
    d->ctx = ctx;
    return d;
}

/* ---- asking ---- */

static void fail(struct dns_answer *out, const char *name, const char *what, const char *more)
{
    out->standing = DNS_FAILED;
    out->count = 0;
    snprintf(out->why, sizeof out->why, "%.60s: %.60s%s%.70s", name, what,
             more[0] != '\0' ? ": " : "", more);
    for (char *c = out->why; *c != '\0'; c++) /* libunbound quotes names from answers */
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
            *c = '?';
}

static void copy_canonical(struct dns_answer *out, const struct ub_result *result)
{
    const char *from = result->canonname;
    size_t len = from != NULL ? strlen(from) : 0, asked = strlen(result->qname);
    if (len > 0 && from[len - 1] == '.')
        len--;
    if (asked > 0 && result->qname[asked - 1] == '.')
        asked--;
    if (len == 0 || len >= sizeof out->canonical ||
        (len == asked && strncasecmp(from, result->qname, len) == 0))
        return;
    memcpy(out->canonical, from, len);
    out->canonical[len] = '\0';
}

static void copy_records(struct dns_answer *out, const struct ub_result *result)
{
    for (size_t i = 0; result->havedata && result->data[i] != NULL; i++) {
        if (out->count == DNS_RECORDS_MAX) {
            fail(out, result->qname, "too many records", "");
            return;
        }
        out->records[out->count].data = (const unsigned char *)result->data[i];
        out->records[out->count++].len = (size_t)result->len[i];
    }
}

void dns_ask(struct dns *d, const char *name, enum dns_type type, struct dns_answer *out)
{
    struct ub_result *result = NULL;
    *out = (struct dns_answer){0};
    int r = lib.ub_resolve(d->ctx, name, (int)type, CLASS_IN, &result);
    if (r != 0) {
        fail(out, name, "DNS lookup failed", lib.ub_strerror(r));
        return;
    }
    out->own = result;
    if (result->bogus) {
        fail(out, name, "DNSSEC validation failed",
             result->why_bogus != NULL ? result->why_bogus : "");
    } else if (result->rcode != 0 && result->rcode != RCODE_NXDOMAIN) {
        fail(out, name, "no DNS server answers", "");
    } else {
        out->standing = result->secure ? DNS_SECURE : DNS_INSECURE;
        out->no_such_name = result->nxdomain != 0;
        out->ttl = result->ttl > 0 ? (unsigned)result->ttl : 0;
        copy_canonical(out, result);
        copy_records(out, result);
    }
}

void dns_answer_finish(struct dns_answer *a)
{
    lib.ub_resolve_free(a->own);
    *a = (struct dns_answer){0};
}
