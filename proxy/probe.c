/* SPDX-License-Identifier: ISC */
#include "proxy/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "certs/tls.h"
#include "protocols/memory.h"
#include "proxy/generation.h"
#include "proxy/log.h"
#include "proxy/measure.h"
#include "proxy/nexthop.h"
#include "proxy/original.h"
#include "proxy/probe_command.h"
#include "proxy/probe_report.h"
#include "proxy/resolver.h"
#include "proxy/visit.h"
#include "proxy/waypoint.h"
#include "proxy/worker.h"

/* Through a proxy the way to that is meant. */
static void keep_family(struct backends *b, int family)
{
    size_t n = 0;
    if (b->via != NULL) {
        if (!via_keep_family(b->via, family))
            b->count = 0;
        return;
    }
    for (size_t i = 0; i < b->count; i++) {
        if (family != AF_UNSPEC && b->addresses[i].sa.ss_family != family)
            continue;
        b->addresses[n] = b->addresses[i];
        b->entries[n] = b->entries[i];
        b->hosts[n++] = b->hosts[i];
    }
    b->count = n;
}

/* ---- one visit ---- */

/* What is printed of it: of a server that is left when it is left, of the last one in the end. */
struct story {
    const struct probe_command *command;
    const struct measure *measures;
    bool begun;       /* something has been printed */
    bool told;        /* of the server that was reached last */
    unsigned left[3]; /* servers that were left, by enum visit_result */
};

static void begin_paragraph(struct story *s)
{
    if (s->begun)
        putchar('\n');
    s->begun = true;
}

static void put_heading(void *ctx, const struct visit *v)
{
    struct story *s = ctx;
    s->told = false;
    if (s->command->brief || v->backends->count == 1)
        return;
    begin_paragraph(s);
    tap_put_printable(stdout, visit_name(v), strlen(visit_name(v)));
    printf(" (%s)\n", v->address->text);
}

static void put_silent_ones(void *ctx, const char *why)
{
    struct story *s = ctx;
    if (s->command->brief)
        return;
    begin_paragraph(s);
    fputs("NO ANSWER: ", stdout);
    tap_put_printable(stdout, why, strlen(why));
    putchar('\n');
}

/* Whether anything has been said by anybody, which is shown. */
static bool has_talked(const struct visit *v)
{
    return v->tap.lines > 0 || v->shook_hands;
}

static void tell_of_the_left(void *ctx, const struct visit *v)
{
    struct story *s = ctx;
    s->left[v->result]++;
    s->told = true;
    if (s->command->brief)
        return;
    probe_report_details(stdout, v, s->measures);
    if (v->dialogue.logging_in)
        (void)probe_report_login(stdout, v, false);
    if (has_talked(v))
        putchar('\n');
    probe_report_result(stdout, v, s->measures);
}

/* Where nobody was left to go on with, the last one has been told of already. */
static void tell_of_the_last(const struct story *s, const struct visit *v)
{
    bool gap = s->told || has_talked(v);
    if (s->command->brief)
        return;
    if (!s->told)
        probe_report_details(stdout, v, s->measures);
    if (v->address != NULL)
        gap = probe_report_login(stdout, v, s->command->skips_login) || gap;
    if (gap)
        putchar('\n');
}

/* Those that could not be reached have had their turn, and nothing else. */
static struct probe_tally count(const struct story *s, const struct visit *v, bool serves)
{
    struct probe_tally t = {.serves = serves,
                            .of = v->backends->count,
                            .not_met = s->left[VISIT_NOT_MET],
                            .no_answer = s->left[VISIT_NO_ANSWER]};
    bool is_another = v->address != NULL && !s->told; /* than those that were left */
    for (size_t i = 0; i < t.of; i++)
        t.tried += v->turns.used[i];
    t.no_answer += t.tried - t.not_met - t.no_answer - is_another;
    t.not_met += is_another && !serves && v->result == VISIT_NOT_MET;
    t.no_answer += is_another && v->result == VISIT_NO_ANSWER;
    return t;
}

static enum visit_result visit(const struct pool *pool, const struct backends *backends,
                               const struct measure *m, const struct probe_command *w)
{
    struct visit v;
    struct story s = {.command = w, .measures = m};
    const struct onlooker onlooker = {.dialogue = w->brief ? NULL : stdout,
                                      .arrives = put_heading,
                                      .moves_on = tell_of_the_left,
                                      .passes = put_silent_ones,
                                      .ctx = &s};
    visit_run(&v, pool, backends, &onlooker);
    bool serves = v.result == VISIT_MET;
    if (serves && w->days > 0 && probe_expires_within(&v, m, w->days, v.reason, sizeof v.reason))
        v.result = VISIT_NOT_MET;
    enum visit_result result = v.result;
    const struct probe_tally tally = count(&s, &v, serves);
    tell_of_the_last(&s, &v);
    probe_report_end(stdout, &v, m, &tally);
    visit_finish(&v);
    return result;
}

/* ---- all addresses ---- */

/* The gravest result of all addresses is the result. */
static enum visit_result visit_all(const struct pool *pool, const struct measure *m,
                                   const struct probe_command *w)
{
    enum visit_result worst = VISIT_MET;
    for (size_t i = 0; i < pool->backends.count; i++) {
        struct backends one = {
            .count = 1,
            .local = pool->backends.local,
            .via = pool->backends.via,
            .redirected = pool->backends.redirected,
        };
        one.addresses[0] = pool->backends.addresses[i];
        one.entries[0] = pool->backends.entries[i];
        one.hosts[0] = pool->backends.hosts[i];
        if (!w->brief)
            printf("%s%s\n", i > 0 ? "\n" : "", one.addresses[0].text);
        enum visit_result result = visit(pool, &one, m, w);
        worst = result > worst ? result : worst;
    }
    return worst;
}

/* ---- the process ---- */

/* In the jail there is nobody whom stdio could ask how to buffer; and whoever gets in there is not
 * to read what is typed. */
static void prepare_streams(void)
{
    static char buffer[BUFSIZ];
    setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
    if (freopen("/dev/null", "r", stdin) == NULL)
        (void)close(STDIN_FILENO);
}

static bool no_answer(const char *why)
{
    printf("NO ANSWER: %s\n", why);
    return false;
}

static bool has_any(const struct backends *b)
{
    return b->count > 0 || no_answer("there is no address of this kind (-4, -6)");
}

/* What the resolver is to find out, it finds out meanwhile. */
static bool find_way(struct pool *p, int family)
{
    char why[300] = "";
    if (p->routes == NULL)
        return has_any(&p->backends);
    switch (
        waypoint_take(p, wire_deadline((unsigned)p->service->timeout_connect), why, sizeof why)) {
    case WAY_FOUND:
        keep_family(&p->backends, family);
        return has_any(&p->backends);
    case WAY_NULL_MX:
        return no_answer("the domain takes no mail (null MX)");
    case WAY_NONE:
        break;
    }
    return no_answer(why);
}

static int go(struct generation *g, const struct probe_command *w)
{
    struct pool *p = &g->pools[0];
    prepare_streams();
    programs_keep(g);
    resolver_keep(g); /* both end when this process does */
    const struct oneshot kept = {.fd = -1,
                                 .report_fd = -1,
                                 .stop_fd = g->keys->stop_fds[1],
                                 .spawner_stop_fd = g->spawner.stop_fd,
                                 .resolver_stop_fd = g->resolver.stop_fd,
                                 .cancel_fd = -1};
    struct measure *m = measures_create(p->service, p->destinations);
    worker_enter_jail(p, &g->jail, &kept);
    if (!find_way(p, w->family))
        return VISIT_NO_ANSWER;
    enum visit_result result = w->all ? visit_all(p, m, w) : visit(p, &p->backends, m, w);
    measures_destroy(m, p->destinations->count);
    return (int)result;
}

/* Whether anything is left to the resolver. */
static bool asks_for_resolver(const struct service *s)
{
    for (size_t i = 0; i < s->connect.count; i++)
        if (nexthop_is_watched(s, i))
            return true;
    return false;
}

/* transparent = destination: HOST is where the client was going, and `b` knows the ports until it
 * knows that. */
static bool take_host(struct backends *b, const char *host)
{
    static struct address found[BACKENDS_MAX];
    char reason[300];
    size_t kept = 0, n = address_resolve(host, false, found, BACKENDS_MAX, reason, sizeof reason);
    for (size_t i = 0; i < n; i++)
        if (original_may_go(b, &found[i], reason, sizeof reason))
            found[kept++] = found[i];
    if (kept == 0)
        return no_answer(reason);
    memcpy(b->addresses, found, kept * sizeof *found);
    b->count = kept;
    return true;
}

/* A name that cannot be looked up is a server that cannot be reached. */
static bool find_addresses(const struct config *c, const struct probe_command *w)
{
    static struct backends b; /* large */
    char error[300];
    if (!backends_resolve(&b, c, c->only, error, sizeof error))
        return no_answer(error);
    if (b.redirected && !take_host(&b, w->destination))
        return false;
    keep_family(&b, w->family);
    backends_finish(&b);
    return asks_for_resolver(c->only) || has_any(&b);
}

/* Takes the configuration. */
static int probe(struct config *c, const struct probe_command *w)
{
    struct tls_memory memory = {0};
    const struct common common = {
        .notify_fd = -1, .cancel_fd = -1, .accuse_fd = -1, .single = true, .memory = &memory};
    struct generation *g = NULL;
    char error[1024];
    if (tls_global_init(error, sizeof error))
        g = generation_prepare(c, &common, error, sizeof error);
    if (g == NULL || !generation_begin_keys(g, error, sizeof error) ||
        !generation_finish_keys(g, error, sizeof error) ||
        !tls_memory_read(&memory, g->config, FIRST_USE_LOOKS, NULL, error, sizeof error)) {
        fprintf(stderr, "ehlock probe: %s%s\n", error,
                w->login && geteuid() != 0 ? " (--login is for who may read the secret: root?)"
                                           : "");
        generation_destroy(g, true);
        return EX_CONFIG;
    }
    struct backends *b = &g->pools[0].backends;
    if (b->redirected && !take_host(b, w->destination)) {
        generation_destroy(g, true);
        return VISIT_NO_ANSWER;
    }
    keep_family(b, w->family);
    int status = go(g, w);
    fflush(stdout);
    _exit(status); /* what is left goes with the process: it may no longer end its keeper */
}

int probe_run(int argc, char **argv)
{
    static const struct log_settings log = {
        .level = LOG_WARNING, .facility = LOG_DAEMON, .ident = "ehlock", .to_stderr = true};
    struct probe_command w;
    int status = probe_command_parse(argc, argv, &w);
    if (status != 0)
        return status;
    (void)log_open(&log);
    struct config *c = memory_alloc(sizeof *c);
    config_init(c);
    status = probe_command_configure(c, &w);
    if (status == 0 && !find_addresses(c, &w))
        status = VISIT_NO_ANSWER;
    if (status == 0)
        return probe(c, &w);
    config_finish(c);
    free(c);
    return status;
}
