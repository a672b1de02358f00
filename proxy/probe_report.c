/* SPDX-License-Identifier: ISC */
#include "proxy/probe_report.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "certs/facts.h"

/* ---- small things ---- */

static void put(FILE *out, const char *text)
{
    tap_put_printable(out, text, strlen(text));
}

static void put_date(FILE *out, time_t t)
{
    struct tm tm;
    char text[32];
    if (t == (time_t)-1 || gmtime_r(&t, &tm) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        snprintf(text, sizeof text, "?");
    fputs(text, out);
}

/* Certificates have been seen only where TLS came up. */
static bool examine(const struct visit *v, const struct measure *measures, time_t when,
                    struct examination *e)
{
    struct verify_bytes chain[TLS_PEER_CHAIN_MAX];
    struct verify_peer peer;
    if (!v->upstream.secured)
        return false;
    const struct measure *m = &measures[v->to - v->pool->destinations->items];
    tls_get_peer(v->upstream.tls, chain, &peer);
    (void)examine_chain(m->trust, &m->rules, &peer, when, e);
    return true;
}

/* ---- TLS and certificates ---- */

static void report_tls(FILE *out, const struct tls *tls)
{
    struct tls_info i;
    tls_get_info(tls, &i);
    fprintf(out, "\nTLS: %s, cipher %s, group %s, signature %s, name asked for ", i.version,
            i.cipher, i.group, i.signature);
    put(out, i.sni);
    putc('\n', out);
}

static void report_certificate(FILE *out, const struct verify_bytes *der, size_t n, size_t of)
{
    struct certificate_facts f;
    fprintf(out, "\ncertificate %zu of %zu\n", n, of);
    if (!certificate_facts_read(der, &f)) {
        fputs("  cannot be read\n", out);
        return;
    }
    fprintf(out, "  subject  %s\n  names    %s\n  issuer   %s\n  valid    ", f.subject, f.names,
            f.issuer);
    put_date(out, f.from);
    fputs(" to ", out);
    put_date(out, f.until);
    if (f.until < time(NULL))
        fputs(" (expired)\n", out);
    else
        fprintf(out, " (%ld days left)\n", (long)((f.until - time(NULL)) / 86400));
    fprintf(out, "  key      %s, %u bits; signed with %s\n", f.key, f.key_bits, f.signature);
    fprintf(out, "  pin      sha256:%s\n  pin      spki-sha256:%s\n", f.sha256, f.spki_sha256);
}

static void report_certificates(FILE *out, const struct tls *tls)
{
    struct verify_bytes chain[TLS_PEER_CHAIN_MAX];
    struct verify_peer peer;
    tls_get_peer(tls, chain, &peer);
    for (size_t i = 0; i < peer.n_chain; i++)
        report_certificate(out, &chain[i], i + 1, peer.n_chain);
}

/* ---- checks and levels ---- */

static void report_checks(FILE *out, const struct examination *e, const struct measure *m)
{
    static const char *const words[] = {
        [EXAMINED_PASSES] = "pass", [EXAMINED_FAILS] = "FAIL", [EXAMINED_NOT] = "-"};
    putc('\n', out);
    for (enum examined i = 0; i < N_EXAMINED; i++)
        fprintf(out, "%-4s  %-10s  %s\n", words[e->state[i]], examined_word(i), e->why[i]);
    if (m->trust == NULL) {
        fputs("      nobody is trusted: ", out);
        put(out, m->no_trust);
        putc('\n', out);
    }
}

/* What DNS says of the host, which is only asked where that counts. */
static void report_records(FILE *out, const struct upstream *u)
{
    struct dane_record records[ROUTE_RECORDS];
    size_t usable;
    if (u->host == NULL || !server_level_is_dane(u->to->demand->level))
        return;
    if (u->host->dane != HOST_DANE_FOUND) {
        fputs("\nTLSA: none: ", out);
        put(out, u->host->why);
        putc('\n', out);
        return;
    }
    size_t n = route_records(u->host, records, &usable);
    fprintf(out, "\nTLSA: %zu record%s for ", n, n == 1 ? "" : "s");
    put(out, u->host->base);
    fprintf(out, ", %zu can be used%s\n", usable,
            u->level != LEVEL_DANE_ONLY      ? ""
            : u->verdict.cause == VERDICT_OK ? ", and one fits"
                                             : ", and none fits");
}

/* Without records that can be used DANE asks for TLS, or for nothing (RFC 7672 §2.2). */
static bool satisfies_dane(const struct upstream *u, enum server_level level)
{
    if (u->host == NULL || !server_level_is_dane(u->to->demand->level))
        return false;
    if (u->level == LEVEL_DANE_ONLY)
        return u->judged && u->verdict.cause == VERDICT_OK;
    return level == LEVEL_DANE;
}

/* By the key that it has shown first, which is no pin that anybody has written down. */
static bool is_known(const struct upstream *u)
{
    return u->to->demand->first_use && u->judged && u->verdict.cause == VERDICT_OK;
}

static bool satisfies(const struct examination *e, const struct upstream *u,
                      enum server_level level)
{
    return measure_satisfies(e, level) || (level == LEVEL_FINGERPRINT && is_known(u));
}

static enum server_level highest_level(const struct examination *e, const struct upstream *u)
{
    enum server_level level = measure_level(e);
    return level < LEVEL_FINGERPRINT && is_known(u) ? LEVEL_FINGERPRINT : level;
}

static void report_levels(FILE *out, const struct examination *e, const struct upstream *u)
{
    static const enum server_level dane[] = {LEVEL_DANE, LEVEL_DANE_ONLY};
    fputs("\nlevels that it satisfies:", out);
    for (enum server_level l = LEVEL_NONE; l <= LEVEL_SECURE; l++)
        if (satisfies(e, u, l))
            fprintf(out, " %s", server_level_word(l));
    for (size_t i = 0; i < 2; i++)
        if (satisfies_dane(u, dane[i]))
            fprintf(out, " %s", server_level_word(dane[i]));
    putc('\n', out);
}

void probe_report_details(FILE *out, const struct visit *v, const struct measure *m)
{
    struct examination e;
    if (!examine(v, m, time(NULL), &e))
        return;
    report_tls(out, v->upstream.tls);
    report_certificates(out, v->upstream.tls);
    report_checks(out, &e, &m[v->to - v->pool->destinations->items]);
    report_records(out, &v->upstream);
    report_levels(out, &e, &v->upstream);
}

/* ---- the login ---- */

/* A password that is wrong locks accounts if it is tried every minute: nobody's is, unasked. */
bool probe_report_login(FILE *out, const struct visit *v, bool skipped)
{
    const struct dialogue *d = &v->dialogue;
    if (d->login == NULL && !skipped)
        return false;
    fputs("\nlogin: ", out);
    if (skipped) {
        fputs("not tried; --login tries it", out);
    } else if (d->logged_in != NULL) {
        fprintf(out, "pass (%s)", d->logged_in);
    } else if (!d->logging_in) {
        fputs("not tried: no server was good enough for it", out);
    } else {
        fputs("FAIL: ", out);
        put(out, d->reason);
        fprintf(out, "%s%s", d->remedy != NULL ? "; " : "", d->remedy != NULL ? d->remedy : "");
    }
    putc('\n', out);
    return true;
}

/* ---- the one line ---- */

bool probe_expires_within(const struct visit *v, const struct measure *m, unsigned days, char *why,
                          size_t size)
{
    struct examination e;
    if (!examine(v, m, time(NULL) + (time_t)days * 86400, &e) ||
        e.state[EXAMINED_VALIDITY] == EXAMINED_PASSES)
        return false;
    snprintf(why, size, "in %u days it will be so: %.400s", days, e.why[EXAMINED_VALIDITY]);
    return true;
}

static void put_tls(FILE *out, const struct visit *v, const struct examination *e)
{
    struct tls_info i;
    tls_get_info(v->upstream.tls, &i);
    fprintf(out, ", %s, %s, highest level %s, %s %s", i.version, i.cipher,
            server_level_word(highest_level(e, &v->upstream)),
            e->state[EXAMINED_VALIDITY] == EXAMINED_PASSES ? "valid" : "but",
            e->why[EXAMINED_VALIDITY]);
    if (v->dialogue.logged_in != NULL)
        fprintf(out, ", login by %s", v->dialogue.logged_in);
}

/* Nothing is known of a server that did not answer, and little of one that nobody asked for TLS. */
static void put_facts(FILE *out, const struct visit *v, const struct measure *m)
{
    struct examination e;
    enum server_level level = v->to->demand->level;
    fprintf(out, "level %s", server_level_word(level));
    if (examine(v, m, time(NULL), &e))
        put_tls(out, v, &e);
    else if (level == LEVEL_NONE)
        fputs(", TLS is not asked for", out);
    else if (v->result != VISIT_NO_ANSWER)
        fprintf(out, ", no TLS, highest level %s", server_level_word(LEVEL_MAY));
}

static void put_result(FILE *out, const struct visit *v, const struct measure *m)
{
    static const char *const words[] = {
        [VISIT_MET] = "met", [VISIT_NOT_MET] = "NOT MET", [VISIT_NO_ANSWER] = "NO ANSWER"};
    fprintf(out, "%s: ", words[v->result]);
    if (v->to != NULL) {
        put(out, visit_name(v));
        fprintf(out, " (%s): ", v->address->text);
        put_facts(out, v, m);
    }
    if (v->reason[0] != '\0') {
        fputs(v->to != NULL ? ": " : "", out);
        put(out, v->reason);
    }
}

void probe_report_result(FILE *out, const struct visit *v, const struct measure *m)
{
    put_result(out, v, m);
    putc('\n', out);
}

static void put_tally(FILE *out, const struct visit *v, const struct probe_tally *t)
{
    if (t->serves)
        fprintf(out, "; number %zu of %zu would serve, before it: ",
                (size_t)(v->address - v->backends->addresses) + 1, t->of);
    else
        fprintf(out, "; tried %zu of %zu, and none would serve: ", t->tried, t->of);
    if (t->not_met > 0)
        fprintf(out, "%zu not met%s", t->not_met, t->no_answer > 0 ? ", " : "");
    if (t->no_answer > 0)
        fprintf(out, "%zu no answer", t->no_answer);
}

void probe_report_end(FILE *out, const struct visit *v, const struct measure *m,
                      const struct probe_tally *t)
{
    put_result(out, v, m);
    if (t->of > 1 && t->not_met + t->no_answer > 0)
        put_tally(out, v, t);
    putc('\n', out);
}
