/* SPDX-License-Identifier: ISC */
#include "certs/examine.h"

#include <stdarg.h>
#include <stdio.h>

#include <gnutls/x509.h>

#include "certs/describe.h"
#include "certs/judgement.h"
#include "certs/staple.h"

__attribute__((format(printf, 4, 5))) static void
note(struct examination *e, enum examined what, enum examined_state state, const char *format, ...)
{
    va_list ap;
    e->state[what] = state;
    va_start(ap, format);
    vsnprintf(e->why[what], sizeof e->why[what], format, ap);
    va_end(ap);
}

/* `good` is said when it passes. True: it does. */
static bool look(struct judgement *j, struct examination *e, enum examined what,
                 bool (*check)(struct judgement *), const char *good)
{
    j->verdict->cause = VERDICT_OK;
    bool ok = check(j);
    note(e, what, ok ? EXAMINED_PASSES : EXAMINED_FAILS, "%s", ok ? good : j->verdict->sentence);
    return ok;
}

/* What is wrong with a good chain as soon as it has to serve a purpose is the purpose, of the
 * certificate or of one of its CAs. */
static void examine_origin(struct judgement *j, struct examination *e)
{
    char anchor[DESCRIBE_MAX], good[DESCRIBE_MAX + 32];
    describe_subject(j->path[j->n_path - 1], anchor, sizeof anchor);
    snprintf(good, sizeof good, "leads to %s, who is trusted", anchor);
    j->any_purpose = true;
    bool ok = look(j, e, EXAMINED_CHAIN, judgement_check_origin, good);
    j->any_purpose = false;
    look(j, e, EXAMINED_PURPOSE, ok ? judgement_check_signatures : judgement_check_purpose,
         "its extended key usage allows this");
}

static void examine_time(struct judgement *j, struct examination *e)
{
    char when[32], good[96];
    time_t end = gnutls_x509_crt_get_expiration_time(j->path[0]);
    for (size_t i = 1; i < j->n_path; i++)
        if (gnutls_x509_crt_get_expiration_time(j->path[i]) < end)
            end = gnutls_x509_crt_get_expiration_time(j->path[i]);
    snprintf(good, sizeof good, "until %s, %ld days from now", judgement_date(end, when),
             (long)((end - j->now) / 86400));
    look(j, e, EXAMINED_VALIDITY, judgement_check_time, good);
}

static void examine_lists(struct judgement *j, struct examination *e)
{
    if (judgement_has_list(j))
        look(j, e, EXAMINED_REVOCATION, judgement_check_lists,
             "is not revoked by the list of its issuer");
    else
        note(e, EXAMINED_REVOCATION, EXAMINED_NOT, "there is no revocation list of its issuer");
}

static void examine_staple(struct judgement *j, struct examination *e,
                           const struct verify_bytes *staple)
{
    char why[128];
    if (j->n_path < 2)
        note(e, EXAMINED_STAPLE, EXAMINED_NOT, "the issuer's certificate is not at hand");
    else if (!judgement_check_staple(j, staple))
        note(e, EXAMINED_STAPLE, EXAMINED_FAILS, "%s", j->verdict->sentence);
    else if (staple->len == 0)
        note(e, EXAMINED_STAPLE, EXAMINED_NOT, "none came, and none is demanded");
    else if (staple_judge(staple->data, staple->len, j->path[0], j->path[1], j->now, why,
                          sizeof why) == STAPLE_GOOD)
        note(e, EXAMINED_STAPLE, EXAMINED_PASSES, "the OCSP response says good");
    else
        note(e, EXAMINED_STAPLE, EXAMINED_NOT, "the OCSP response counts like none: %s", why);
}

static void examine_names_and_pins(struct judgement *j, struct examination *e)
{
    const struct verify_rules *r = j->rules;
    j->verdict->matched[0] = '\0';
    if (r->n_hosts + r->n_emails + r->n_addresses == 0)
        note(e, EXAMINED_NAMES, EXAMINED_NOT, "there is no name to look for");
    else if (look(j, e, EXAMINED_NAMES, judgement_check_names, ""))
        note(e, EXAMINED_NAMES, EXAMINED_PASSES, "is for %s", j->verdict->matched);
    j->verdict->matched[0] = '\0';
    if (r->n_pins == 0)
        note(e, EXAMINED_PINS, EXAMINED_NOT, "there is no pin to compare with");
    else if (look(j, e, EXAMINED_PINS, judgement_check_pins, ""))
        note(e, EXAMINED_PINS, EXAMINED_PASSES, "one of them fits (%s)", j->verdict->matched);
}

bool examine_chain(const struct trust *trust, const struct verify_rules *rules,
                   const struct verify_peer *peer, time_t now, struct examination *out)
{
    struct verdict verdict = {.cause = VERDICT_OK};
    struct judgement j = {.trust = trust, .rules = rules, .now = now, .verdict = &verdict};
    bool ok = judgement_begin(&j, peer);
    for (enum examined i = 0; !ok && i < N_EXAMINED; i++)
        note(out, i, EXAMINED_FAILS, "%s", verdict.sentence);
    if (ok) {
        judgement_build_path(&j);
        examine_origin(&j, out);
        examine_time(&j, out);
        examine_names_and_pins(&j, out);
        examine_lists(&j, out);
        examine_staple(&j, out, &peer->staple);
    }
    judgement_end(&j);
    return ok;
}

const char *examined_word(enum examined what)
{
    static const char *const words[] = {
        [EXAMINED_CHAIN] = "chain",
        [EXAMINED_PURPOSE] = "purpose",
        [EXAMINED_VALIDITY] = "validity",
        [EXAMINED_NAMES] = "names",
        [EXAMINED_REVOCATION] = "revocation",
        [EXAMINED_STAPLE] = "staple",
        [EXAMINED_PINS] = "pins",
    };
    return words[what];
}
