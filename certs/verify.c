/* SPDX-License-Identifier: ISC */
#include "certs/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "certs/dane.h"
#include "certs/describe.h"
#include "certs/judgement.h"
#include "certs/names.h"
#include "certs/staple.h"
#include "certs/trust.h"

enum {
    /* Time is judged here, on all of the path and at the caller's `now`; so are CRLs, because
     * GnuTLS neither minds their age nor takes one of an intermediate. */
    FLAGS = GNUTLS_VERIFY_DISABLE_TIME_CHECKS | GNUTLS_VERIFY_DISABLE_CRL_CHECKS,
};

__attribute__((format(printf, 3, 4))) static bool
refuse(struct judgement *j, enum verdict_cause cause, const char *format, ...)
{
    va_list ap;
    j->verdict->cause = cause;
    va_start(ap, format);
    vsnprintf(j->verdict->sentence, sizeof j->verdict->sentence, format, ap);
    va_end(ap);
    return false;
}

/* "the certificate of mx.example.org", "the CA certificate of Example CA". */
static const char *which(const struct judgement *j, size_t i, char *out, size_t size)
{
    char name[DESCRIBE_MAX];
    describe_name(j->path[i], name, sizeof name);
    snprintf(out, size, "the %s of %s", i == 0 ? "certificate" : "CA certificate", name);
    return out;
}

/* ---- the path ---- */

bool judgement_begin(struct judgement *j, const struct verify_peer *peer)
{
    if (peer->n_chain == 0)
        return refuse(j, VERDICT_NO_CERTIFICATE, "no certificate was presented");
    for (size_t i = 0; i < peer->n_chain && i < CHAIN_MAX; i++) {
        gnutls_datum_t der = {.data = (unsigned char *)peer->chain[i].data,
                              .size = (unsigned)peer->chain[i].len};
        if (gnutls_x509_crt_init(&j->presented[i]) != 0)
            return refuse(j, VERDICT_UNUSABLE, "out of memory");
        j->n_presented++;
        int r = gnutls_x509_crt_import(j->presented[i], &der, GNUTLS_X509_FMT_DER);
        if (r != 0)
            return refuse(j, VERDICT_UNUSABLE, "certificate number %zu cannot be read: %s", i + 1,
                          gnutls_strerror(r));
    }
    j->path[0] = j->presented[0];
    j->n_path = 1;
    return true;
}

void judgement_end(struct judgement *j)
{
    for (size_t i = 0; i < j->n_presented; i++)
        gnutls_x509_crt_deinit(j->presented[i]);
}

static bool is_valid_at(gnutls_x509_crt_t crt, time_t now)
{
    return gnutls_x509_crt_get_activation_time(crt) <= now &&
           gnutls_x509_crt_get_expiration_time(crt) >= now;
}

static bool on_path(const struct judgement *j, gnutls_x509_crt_t crt)
{
    for (size_t i = 0; i < j->n_path; i++)
        if (gnutls_x509_crt_equals(j->path[i], crt))
            return true;
    return false;
}

/* Whoever of `from` may have signed `crt`, going by name and key identifier: rather one that is
 * valid today, for CAs renew their certificates. NULL: nobody. */
static gnutls_x509_crt_t issuer_among(const struct judgement *j, gnutls_x509_crt_t crt,
                                      gnutls_x509_crt_t *from, size_t n)
{
    gnutls_x509_crt_t found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!gnutls_x509_crt_check_issuer(crt, from[i]) || on_path(j, from[i]))
            continue;
        if (is_valid_at(from[i], j->now))
            return from[i];
        if (found == NULL)
            found = from[i];
    }
    return found;
}

static bool is_anchor(const struct judgement *j, gnutls_x509_crt_t crt)
{
    for (size_t i = 0; i < j->trust->n_anchors; i++)
        if (gnutls_x509_crt_equals(j->trust->anchors[i], crt))
            return true;
    return false;
}

/* Puts the presented certificates in order, as far as they belong to the first one. The
 * signatures are for later: GnuTLS then gets this path and no other certificate, so that the
 * certificates it judges are those whose dates and CRLs are looked at here. */
void judgement_build_path(struct judgement *j)
{
    while (j->trust != NULL) {
        gnutls_x509_crt_t last = j->path[j->n_path - 1];
        j->anchored = is_anchor(j, last);
        if (j->anchored || j->n_path > CHAIN_MAX)
            return;
        gnutls_x509_crt_t next = issuer_among(j, last, j->trust->anchors, j->trust->n_anchors);
        if (next == NULL)
            next = issuer_among(j, last, j->presented, j->n_presented);
        if (next == NULL)
            return;
        j->path[j->n_path++] = next;
    }
}

/* ---- what is wrong with the path ---- */

static bool is_self_signed(gnutls_x509_crt_t crt)
{
    return gnutls_x509_crt_check_issuer(crt, crt) != 0;
}

static bool check_key_strength(struct judgement *j, size_t i)
{
    char who[DESCRIBE_MAX + 32];
    unsigned bits = 0;
    int pk = gnutls_x509_crt_get_pk_algorithm(j->path[i], &bits);
    if (pk < 0)
        return refuse(j, VERDICT_UNUSABLE, "%s has a key of an unknown kind",
                      which(j, i, who, sizeof who));
    if (gnutls_pk_bits_to_sec_param((gnutls_pk_algorithm_t)pk, bits) >= GNUTLS_SEC_PARAM_MEDIUM)
        return true;
    return refuse(j, VERDICT_WEAK, "%s has a key that is too short: %s with %u bits",
                  which(j, i, who, sizeof who), gnutls_pk_get_name((gnutls_pk_algorithm_t)pk),
                  bits);
}

static bool check_signature_strength(struct judgement *j, size_t i)
{
    char who[DESCRIBE_MAX + 32];
    int algorithm = gnutls_x509_crt_get_signature_algorithm(j->path[i]);
    const char *name =
        algorithm > 0 ? gnutls_sign_get_name((gnutls_sign_algorithm_t)algorithm) : NULL;
    if (algorithm > 0 && gnutls_sign_is_secure2((gnutls_sign_algorithm_t)algorithm,
                                                GNUTLS_SIGN_FLAG_SECURE_FOR_CERTS))
        return true;
    return refuse(j, VERDICT_WEAK, "%s is signed with %s, which is not safe",
                  which(j, i, who, sizeof who), name != NULL ? name : "an unknown algorithm");
}

/* A signature that nobody relies on, an anchor's own, may be of any kind. */
static bool check_strength(struct judgement *j)
{
    for (size_t i = 0; i < j->n_path; i++) {
        bool last = i + 1 == j->n_path;
        if (!check_key_strength(j, i))
            return false;
        if (!(last && (j->anchored || is_self_signed(j->path[i]))) &&
            !check_signature_strength(j, i))
            return false;
    }
    return true;
}

static bool check_anchored(struct judgement *j)
{
    char who[DESCRIBE_MAX + 32], issuer[DESCRIBE_MAX];
    size_t last = j->n_path - 1;
    which(j, last, who, sizeof who);
    if (j->anchored)
        return true;
    if (is_self_signed(j->path[last]) && last == 0)
        return refuse(j, VERDICT_SELF_SIGNED, "%s is self-signed and not one of those trusted",
                      who);
    if (is_self_signed(j->path[last]))
        return refuse(j, VERDICT_UNKNOWN_ISSUER, "the chain ends at %s, which is not trusted", who);
    describe_issuer(j->path[last], issuer, sizeof issuer);
    return refuse(j, VERDICT_UNKNOWN_ISSUER,
                  "%s was issued by %s, who is neither trusted nor among the certificates sent",
                  who, issuer);
}

static const char *purpose_oid(const struct judgement *j)
{
    return j->rules->purpose == VERIFY_SERVER ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
}

bool judgement_check_purpose(struct judgement *j)
{
    char who[DESCRIBE_MAX + 32];
    if (gnutls_x509_crt_check_key_purpose(j->path[0], purpose_oid(j), 0))
        return true;
    return refuse(
        j, VERDICT_WRONG_PURPOSE, "%s is not meant for a TLS %s, says its extended key usage",
        which(j, 0, who, sizeof who), j->rules->purpose == VERIFY_SERVER ? "server" : "client");
}

static bool check_status(struct judgement *j, unsigned status)
{
    char who[DESCRIBE_MAX + 32];
    gnutls_datum_t text = {0};
    which(j, 0, who, sizeof who);
    if (status == 0)
        return true;
    if (status & GNUTLS_CERT_INSECURE_ALGORITHM)
        return refuse(j, VERDICT_WEAK, "the chain of %s has an unsafe algorithm in it", who);
    if (status & GNUTLS_CERT_SIGNATURE_FAILURE)
        return refuse(j, VERDICT_BROKEN_SIGNATURE, "a signature in the chain of %s is wrong", who);
    if (status & GNUTLS_CERT_SIGNER_NOT_CA)
        return refuse(j, VERDICT_NOT_A_CA,
                      "the chain of %s has a certificate in it that was signed by no CA", who);
    if (status & GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE)
        return refuse(j, VERDICT_CONSTRAINTS,
                      "%s breaks the constraints (names or path length) of one of its CAs", who);
    if (status & GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS)
        return refuse(j, VERDICT_UNKNOWN_CRITICAL,
                      "the chain of %s has a critical extension in it that is not known", who);
    if (status & GNUTLS_CERT_PURPOSE_MISMATCH)
        return judgement_check_purpose(j) &&
               refuse(j, VERDICT_WRONG_PURPOSE,
                      "a CA in the chain of %s may not issue certificates for this purpose", who);
    if (status & GNUTLS_CERT_SIGNER_NOT_FOUND)
        return refuse(j, VERDICT_BROKEN_SIGNATURE,
                      "%s, or a CA of it, was not signed by the issuer it names", who);
    int r = gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
    refuse(j, VERDICT_UNUSABLE, "%s: %s", who, r == 0 ? (char *)text.data : "invalid");
    gnutls_free(text.data);
    return false;
}

bool judgement_check_signatures(struct judgement *j)
{
    gnutls_x509_crt_t list[CHAIN_MAX + 1];
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)purpose_oid(j)};
    unsigned status = 0;
    memcpy(list, j->path, sizeof list); /* GnuTLS sorts it */
    int r = gnutls_x509_trust_list_verify_crt2(
        j->trust->list, list, (unsigned)j->n_path, &purpose, j->any_purpose ? 0 : 1,
        FLAGS | GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM), &status, NULL);
    if (r != 0)
        return refuse(j, VERDICT_UNUSABLE, "the certificate cannot be judged: %s",
                      gnutls_strerror(r));
    return check_status(j, status);
}

/* ---- time ---- */

const char *judgement_date(time_t t, char out[32])
{
    struct tm tm;
    if (gmtime_r(&t, &tm) == NULL || strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        snprintf(out, 32, "?");
    return out;
}

bool judgement_check_time(struct judgement *j)
{
    char who[DESCRIBE_MAX + 32], when[32];
    for (size_t i = 0; i < j->n_path; i++) {
        time_t from = gnutls_x509_crt_get_activation_time(j->path[i]);
        time_t until = gnutls_x509_crt_get_expiration_time(j->path[i]);
        if (from == (time_t)-1 || until == (time_t)-1)
            return refuse(j, VERDICT_UNUSABLE, "%s has no dates", which(j, i, who, sizeof who));
        if (j->now < from)
            return refuse(j, VERDICT_NOT_YET_VALID, "%s is not valid before %s",
                          which(j, i, who, sizeof who), judgement_date(from, when));
        if (j->now > until)
            return refuse(j, VERDICT_EXPIRED, "%s expired on %s", which(j, i, who, sizeof who),
                          judgement_date(until, when));
    }
    return true;
}

/* ---- revocation ---- */

enum crl_state { CRL_NONE, CRL_FRESH, CRL_REVOKES, CRL_OUTDATED, CRL_EARLY, CRL_FORGED };

/* Whatever its flags, GnuTLS compares the dates of a CRL with the clock. */
static bool is_only_about_time(unsigned status)
{
    const unsigned time_bits =
        GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED | GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE;
    return (status & ~(time_bits | GNUTLS_CERT_INVALID)) == 0 && status != GNUTLS_CERT_INVALID;
}

static enum crl_state ask_crl(const struct judgement *j, gnutls_x509_crl_t crl, size_t i)
{
    gnutls_x509_crt_t issuer = j->path[i + 1];
    unsigned status = 0;
    if (!gnutls_x509_crl_check_issuer(crl, issuer))
        return CRL_NONE;
    if (gnutls_x509_crl_verify(crl, &issuer, 1, FLAGS, &status) != 0 || !is_only_about_time(status))
        return CRL_FORGED;
    if (gnutls_x509_crt_check_revocation(j->path[i], &crl, 1) != 0)
        return CRL_REVOKES;
    time_t next = gnutls_x509_crl_get_next_update(crl);
    if (gnutls_x509_crl_get_this_update(crl) > j->now)
        return CRL_EARLY;
    return next != (time_t)-1 && next < j->now ? CRL_OUTDATED : CRL_FRESH;
}

/* All lists of the issuer of path[i]. One that revokes counts whatever its age; one that is fresh
 * makes up for others that are not. */
static enum crl_state ask_crls(const struct judgement *j, size_t i)
{
    enum crl_state all = CRL_NONE;
    for (size_t n = 0; n < j->trust->n_crls; n++) {
        enum crl_state one = ask_crl(j, j->trust->crls[n], i);
        if (one == CRL_REVOKES)
            return one;
        if (one == CRL_FRESH || (one != CRL_NONE && all != CRL_FRESH))
            all = one;
    }
    return all;
}

static bool check_revoked(struct judgement *j)
{
    char who[DESCRIBE_MAX + 32];
    for (size_t i = 0; i + 1 < j->n_path; i++)
        if (ask_crls(j, i) == CRL_REVOKES)
            return refuse(j, VERDICT_REVOKED, "%s has been revoked (CRL)",
                          which(j, i, who, sizeof who));
    return true;
}

static bool check_crl_age(struct judgement *j)
{
    char issuer[DESCRIBE_MAX];
    for (size_t i = 0; i + 1 < j->n_path; i++) {
        const char *why = NULL;
        switch (ask_crls(j, i)) {
        case CRL_NONE:
        case CRL_FRESH:
        case CRL_REVOKES:
            continue;
        case CRL_OUTDATED:
            why = "is outdated";
            break;
        case CRL_EARLY:
            why = "is from the future";
            break;
        case CRL_FORGED:
            why = "was not signed by it";
            break;
        }
        describe_issuer(j->path[i], issuer, sizeof issuer);
        return refuse(j, VERDICT_CRL_UNUSABLE, "the revocation list (CRL) of %s %s", issuer, why);
    }
    return true;
}

/* A response that is of no use counts like none: whoever can send a bad one can leave it out. */
bool judgement_check_staple(struct judgement *j, const struct verify_bytes *staple)
{
    char who[DESCRIBE_MAX + 32], why[128];
    if (j->n_path < 2)
        return true;
    which(j, 0, who, sizeof who);
    switch (
        staple_judge(staple->data, staple->len, j->path[0], j->path[1], j->now, why, sizeof why)) {
    case STAPLE_GOOD:
        return true;
    case STAPLE_REVOKED:
        return refuse(j, VERDICT_REVOKED, "%s has been revoked (stapled OCSP response)", who);
    case STAPLE_USELESS:
        break;
    }
    if (j->rules->purpose == VERIFY_SERVER && staple_is_must(j->path[0]))
        return refuse(j, VERDICT_NO_STAPLE, "%s demands a stapled OCSP response, but %s", who, why);
    return true;
}

bool judgement_check_lists(struct judgement *j)
{
    return check_revoked(j) && check_crl_age(j);
}

bool judgement_has_list(const struct judgement *j)
{
    for (size_t i = 0; j->trust != NULL && i + 1 < j->n_path; i++)
        if (ask_crls(j, i) != CRL_NONE)
            return true;
    return false;
}

bool judgement_check_origin(struct judgement *j)
{
    return check_strength(j) && check_anchored(j) && judgement_check_signatures(j);
}

static bool check_chain(struct judgement *j, const struct verify_bytes *staple)
{
    judgement_build_path(j);
    return judgement_check_origin(j) && check_revoked(j) && judgement_check_time(j) &&
           check_crl_age(j) && judgement_check_staple(j, staple);
}

/* ---- names and pins ---- */

static bool remember(struct judgement *j, const char *what)
{
    describe_text(j->verdict->matched, sizeof j->verdict->matched, what, strlen(what));
    return true;
}

static bool has_wanted_name(struct judgement *j)
{
    const struct verify_rules *r = j->rules;
    for (size_t i = 0; i < r->n_hosts; i++)
        if (names_have_host(j->path[0], r->hosts[i]))
            return remember(j, r->hosts[i]);
    for (size_t i = 0; i < r->n_emails; i++)
        if (names_have_email(j->path[0], r->emails[i]))
            return remember(j, r->emails[i]);
    for (size_t i = 0; i < r->n_addresses; i++)
        if (names_have_address(j->path[0], r->addresses[i]))
            return remember(j, r->addresses[i]);
    return false;
}

/* A certificate with a common name and nothing else would seem to have the very name that it lacks.
 */
static void describe_what_it_is_for(struct gnutls_x509_crt_int *crt, char *out, size_t size)
{
    char name[DESCRIBE_MAX];
    describe_alt_names(crt, out, size);
    if (describe_alt_name(crt, 0, name, sizeof name))
        return;
    describe_common_name(crt, name, sizeof name);
    if (strcmp(name, "-") != 0)
        snprintf(out, size, "no name (its common name, %.200s, does not count)", name);
}

bool judgement_check_names(struct judgement *j)
{
    const struct verify_rules *r = j->rules;
    char has[DESCRIBE_MAX], wanted[DESCRIBE_MAX];
    const char *first = r->n_hosts > 0       ? r->hosts[0]
                        : r->n_emails > 0    ? r->emails[0]
                        : r->n_addresses > 0 ? r->addresses[0]
                                             : NULL;
    size_t n = r->n_hosts + r->n_emails + r->n_addresses;
    if (first == NULL || has_wanted_name(j))
        return true;
    describe_what_it_is_for(j->path[0], has, sizeof has);
    describe_text(wanted, sizeof wanted, first, strlen(first));
    enum verdict_cause cause = r->n_hosts > 0    ? VERDICT_NAME_MISMATCH
                               : r->n_emails > 0 ? VERDICT_EMAIL_MISMATCH
                                                 : VERDICT_IP_MISMATCH;
    if (n == 1)
        return refuse(j, cause, "the certificate is for %s and not for %s", has, wanted);
    return refuse(j, cause, "the certificate is for %s and not for %s or one of %zu others", has,
                  wanted, n - 1);
}

bool judgement_check_pins(struct judgement *j)
{
    unsigned char hash[32];
    char of_cert[DESCRIBE_HEX], of_key[DESCRIBE_HEX];
    for (size_t i = 0; i < j->rules->n_pins; i++) {
        const struct pin *p = &j->rules->pins[i];
        if (!describe_hash(j->path[0], p->of_key, hash) || memcmp(hash, p->sha256, 32) != 0)
            continue;
        return j->verdict->matched[0] != '\0' || remember(j, p->of_key ? "spki-sha256" : "sha256");
    }
    if (j->rules->n_pins == 0)
        return true;
    describe_hash_text(j->path[0], false, of_cert);
    describe_hash_text(j->path[0], true, of_key);
    return refuse(j, VERDICT_PIN_MISMATCH,
                  "the certificate is none of those pinned: it is sha256:%s, its key is "
                  "spki-sha256:%s",
                  of_cert, of_key);
}

/* ---- DANE ---- */

static bool refuse_tlsa(struct judgement *j)
{
    char of_cert[DESCRIBE_HEX], of_key[DESCRIBE_HEX];
    describe_hash_text(j->path[0], false, of_cert);
    describe_hash_text(j->path[0], true, of_key);
    return refuse(j, VERDICT_TLSA_MISMATCH,
                  "none of the %zu TLSA records fits: the certificate would need 3 0 1 %s or 3 1 1 "
                  "%s",
                  j->rules->n_records, of_cert, of_key);
}

/* The server's own certificate is no anchor, even if it was sent twice. Returns how many. */
static size_t find_dane_anchors(const struct judgement *j, gnutls_x509_crt_t out[CHAIN_MAX])
{
    size_t n = 0;
    for (size_t i = 1; i < j->n_presented; i++)
        if (!gnutls_x509_crt_equals(j->presented[i], j->presented[0]) &&
            dane_find(j->rules->records, j->rules->n_records, DANE_TA, j->presented[i]) != NULL)
            out[n++] = j->presented[i];
    return n;
}

/* The records take the place of the authorities that are trusted otherwise. */
static bool check_dane_chain(struct judgement *j, const struct verify_bytes *staple)
{
    gnutls_x509_crt_t anchors[CHAIN_MAX];
    struct trust by_dns = {.anchors = anchors, .n_anchors = find_dane_anchors(j, anchors)};
    if (by_dns.n_anchors == 0)
        return refuse_tlsa(j);
    if (gnutls_x509_trust_list_init(&by_dns.list, 0) != 0)
        return refuse(j, VERDICT_UNUSABLE, "out of memory");
    (void)gnutls_x509_trust_list_add_cas(by_dns.list, anchors, (unsigned)by_dns.n_anchors, 0);
    j->trust = &by_dns;
    bool ok = check_chain(j, staple) && judgement_check_names(j);
    j->trust = NULL;
    gnutls_x509_trust_list_deinit(by_dns.list, 0);
    return ok;
}

static bool check_dane(struct judgement *j, const struct verify_bytes *staple)
{
    const struct dane_record *r =
        dane_find(j->rules->records, j->rules->n_records, DANE_EE, j->path[0]);
    if (r == NULL)
        return check_dane_chain(j, staple);
    snprintf(j->verdict->matched, sizeof j->verdict->matched, "tlsa %u %u %u", (unsigned)r->usage,
             (unsigned)r->selector, (unsigned)r->matching);
    return true;
}

/* ---- all ---- */

static bool check_all(struct judgement *j, const struct verify_bytes *staple)
{
    if (j->rules->n_records > 0)
        return check_dane(j, staple);
    return (!j->rules->need_ca || check_chain(j, staple)) && judgement_check_names(j) &&
           judgement_check_pins(j);
}

bool verify_chain(const struct trust *trust, const struct verify_rules *rules,
                  const struct verify_peer *peer, time_t now, struct verdict *verdict)
{
    struct judgement j = {.trust = trust, .rules = rules, .now = now, .verdict = verdict};
    *verdict = (struct verdict){.cause = VERDICT_OK};
    bool ok = judgement_begin(&j, peer) && check_all(&j, &peer->staple);
    judgement_end(&j);
    return ok;
}

/* ---- words ---- */

const char *verdict_result_word(enum verdict_cause cause)
{
    switch (cause) {
    case VERDICT_OK:
        return "";
    case VERDICT_NAME_MISMATCH:
    case VERDICT_EMAIL_MISMATCH:
    case VERDICT_IP_MISMATCH:
        return "certificate-host-mismatch";
    case VERDICT_EXPIRED:
        return "certificate-expired";
    case VERDICT_WEAK:
    case VERDICT_SELF_SIGNED:
    case VERDICT_UNKNOWN_ISSUER:
    case VERDICT_BROKEN_SIGNATURE:
    case VERDICT_NOT_A_CA:
    case VERDICT_CONSTRAINTS:
    case VERDICT_UNKNOWN_CRITICAL:
    case VERDICT_WRONG_PURPOSE:
    case VERDICT_REVOKED:
    case VERDICT_NOT_YET_VALID:
    case VERDICT_NO_STAPLE:
    case VERDICT_PIN_MISMATCH:
    case VERDICT_KEY_MISMATCH:
    case VERDICT_KEY_UNKNOWN:
        return "certificate-not-trusted";
    case VERDICT_TLSA_MISMATCH:
        return "tlsa-invalid";
    case VERDICT_NO_CERTIFICATE:
    case VERDICT_UNUSABLE:
    case VERDICT_CRL_UNUSABLE:
        break;
    }
    return "validation-failure";
}

const char *verdict_word(enum verdict_cause cause)
{
    static const char *const words[] = {
        [VERDICT_OK] = "ok",
        [VERDICT_NO_CERTIFICATE] = "no-certificate",
        [VERDICT_UNUSABLE] = "unusable",
        [VERDICT_WEAK] = "weak",
        [VERDICT_SELF_SIGNED] = "self-signed",
        [VERDICT_UNKNOWN_ISSUER] = "unknown-issuer",
        [VERDICT_BROKEN_SIGNATURE] = "broken-signature",
        [VERDICT_NOT_A_CA] = "not-a-ca",
        [VERDICT_CONSTRAINTS] = "constraints",
        [VERDICT_UNKNOWN_CRITICAL] = "unknown-critical-extension",
        [VERDICT_WRONG_PURPOSE] = "wrong-purpose",
        [VERDICT_REVOKED] = "revoked",
        [VERDICT_NOT_YET_VALID] = "not-yet-valid",
        [VERDICT_EXPIRED] = "expired",
        [VERDICT_CRL_UNUSABLE] = "crl-unusable",
        [VERDICT_NO_STAPLE] = "no-staple",
        [VERDICT_NAME_MISMATCH] = "name-mismatch",
        [VERDICT_EMAIL_MISMATCH] = "email-mismatch",
        [VERDICT_IP_MISMATCH] = "ip-mismatch",
        [VERDICT_PIN_MISMATCH] = "pin-mismatch",
        [VERDICT_TLSA_MISMATCH] = "tlsa-mismatch",
        [VERDICT_KEY_MISMATCH] = "key-mismatch",
        [VERDICT_KEY_UNKNOWN] = "key-unknown",
    };
    return words[cause];
}
