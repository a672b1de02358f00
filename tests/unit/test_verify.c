/* SPDX-License-Identifier: ISC
 *
 * One row: a certificate with one defect or none, what is demanded, and the verdict. The present
 * of these tests is a day in 2027, so that a look at the real clock would show.
 */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "certs/describe.h"
#include "certs/examine.h"
#include "certs/trust.h"
#include "certs/verify.h"
#include "tests/unit/pki.h"

enum { DAY = 24 * 3600 };
static const time_t NOW = 1800000000;

/* ---- authorities ---- */

enum ca {
    BY_INTER, /* the ordinary one */
    BY_ROOT,
    BY_ITSELF,
    BY_STRANGER,
    BY_STRANGER_INTER,
    BY_SHORT_INTER, /* signed by BY_INTER, whose path length is 0 */
    BY_NO_CA,
    BY_PERMITTED,
    BY_EXCLUDED,
    BY_EXPIRED,
    BY_EARLY,
    BY_CLIENTS_ONLY,
    BY_SHA1,
    BY_RSA1024,
    BY_RSA2048,
    BY_IMPOSTOR, /* has the name of BY_INTER */
    N_CAS
};

struct ca_row {
    enum ca issuer;
    struct pki_spec spec;
};

static const struct ca_row cas[N_CAS] = {
    [BY_ROOT] = {BY_ITSELF, {.cn = "Root", .ca = true}},
    [BY_INTER] = {BY_ROOT, {.cn = "Inter", .ca = true, .path_length = 1}},
    [BY_STRANGER] = {BY_ITSELF, {.cn = "Stranger", .ca = true}},
    [BY_STRANGER_INTER] = {BY_STRANGER, {.cn = "Strange Inter", .ca = true}},
    [BY_SHORT_INTER] = {BY_INTER, {.cn = "One too many", .ca = true}},
    [BY_NO_CA] = {BY_ROOT, {.cn = "mx.example.net", .dns = {"mx.example.net"}}},
    [BY_PERMITTED] = {BY_ROOT, {.cn = "Permitted", .ca = true, .permitted_dns = "example.org"}},
    [BY_EXCLUDED] = {BY_ROOT, {.cn = "Excluded", .ca = true, .excluded_dns = "example.org"}},
    [BY_EXPIRED] = {BY_ROOT, {.cn = "Old", .ca = true, .from_days = -20, .until_days = -1}},
    [BY_EARLY] = {BY_ROOT, {.cn = "Early", .ca = true, .from_days = 1, .until_days = 20}},
    [BY_CLIENTS_ONLY] = {BY_ROOT,
                         {.cn = "For clients", .ca = true, .purpose = {GNUTLS_KP_TLS_WWW_CLIENT}}},
    [BY_SHA1] = {BY_ROOT, {.cn = "Sha1", .ca = true, .digest = GNUTLS_DIG_SHA1}},
    [BY_RSA1024] = {BY_ROOT, {.cn = "Short key", .ca = true, .key = PKI_RSA1024}},
    [BY_RSA2048] = {BY_ROOT, {.cn = "RSA", .ca = true, .key = PKI_RSA2048}},
    [BY_IMPOSTOR] = {BY_ROOT, {.cn = "Inter", .ca = true}},
};

/* Made when a row asks for it, and kept for the next one. */
struct world {
    struct pki_cert cas[N_CAS];
};

static const struct pki_cert *authority(struct world *w, enum ca which)
{
    if (which == BY_ITSELF)
        return NULL;
    if (w->cas[which].crt == NULL)
        w->cas[which] = pki_issue(&cas[which].spec, authority(w, cas[which].issuer), NOW);
    return &w->cas[which];
}

/* ---- rows ---- */

enum chain { FULL, LEAF_ONLY, SHUFFLED, WITH_ROOT, ALTERED, ALTERED_INTER, NONSENSE, NOTHING };
enum anchors { TRUST_ROOT, TRUST_INTER, TRUST_LEAF, TRUST_NOBODY, TRUST_NULL };
enum crl { NO_CRL, FRESH, REVOKES, REVOKES_INTER, OLD, OLD_AND_FRESH, OLD_REVOKES, EARLY, FORGED };
enum staple { NONE, GOOD, REVOKED, STALE, COMING, RECENT, LONG_AGO, OTHERS, UNSIGNED, TEXT };
enum pins { NO_PIN, PIN_CERT, PIN_KEY, PIN_SECOND, PIN_OTHER, PIN_CERT_AS_KEY, PIN_ISSUER };

struct row {
    const char *name;
    struct pki_spec leaf;
    enum ca issuer;
    enum chain chain;
    enum anchors anchors;
    enum crl crl;
    enum staple staple;
    enum pins pins;
    enum verify_purpose purpose;
    bool no_ca;
    const char *hosts[3], *emails[2], *addresses[2];
    enum verdict_cause want;
    const char *want_word;    /* of RFC 8460; NULL: none */
    const char *want_text;    /* is in the sentence */
    const char *want_matched; /* NULL: nothing */
    int seconds;              /* from NOW */
};

#define TRUSTED_NOT "certificate-not-trusted"
#define MISMATCH    "certificate-host-mismatch"
#define FAILURE     "validation-failure"
#define MX                                                                                         \
    {                                                                                              \
        .cn = "mx.example.org", .dns = { "mx.example.org" }                                        \
    }

static const struct row rows[] = {
    /* chains that are in order */
    {.name = "chain-to-the-root", .leaf = MX},
    {.name = "chain-with-the-root-in-it", .leaf = MX, .chain = WITH_ROOT},
    {.name = "chain-out-of-order", .leaf = MX, .chain = SHUFFLED},
    {.name = "issued-by-the-root", .leaf = MX, .issuer = BY_ROOT},
    {.name = "intermediate-is-trusted", .leaf = MX, .chain = LEAF_ONLY, .anchors = TRUST_INTER},
    {.name = "certificate-itself-is-trusted",
     .leaf = MX,
     .chain = LEAF_ONLY,
     .anchors = TRUST_LEAF},
    {.name = "self-signed-and-trusted", .leaf = MX, .issuer = BY_ITSELF, .anchors = TRUST_LEAF},
    {.name = "rsa-2048", .leaf = {.dns = {"mx.example.org"}, .key = PKI_RSA2048}},
    {.name = "ed25519", .leaf = {.dns = {"mx.example.org"}, .key = PKI_ED25519}},
    {.name = "issued-by-rsa-2048", .leaf = MX, .issuer = BY_RSA2048},

    /* no certificate, or something else */
    {.name = "no-certificate",
     .leaf = MX,
     .chain = NOTHING,
     .want = VERDICT_NO_CERTIFICATE,
     .want_word = FAILURE,
     .want_text = "no certificate"},
    {.name = "no-certificate-and-nothing-demanded",
     .leaf = MX,
     .chain = NOTHING,
     .no_ca = true,
     .want = VERDICT_NO_CERTIFICATE,
     .want_word = FAILURE},
    {.name = "not-a-certificate",
     .leaf = MX,
     .chain = NONSENSE,
     .want = VERDICT_UNUSABLE,
     .want_word = FAILURE,
     .want_text = "certificate number 1 cannot be read"},

    /* issuers */
    {.name = "issuer-missing",
     .leaf = MX,
     .chain = LEAF_ONLY,
     .want = VERDICT_UNKNOWN_ISSUER,
     .want_word = TRUSTED_NOT,
     .want_text = "issued by CN=Inter, who is neither trusted nor"},
    {.name = "root-not-trusted",
     .leaf = MX,
     .issuer = BY_STRANGER_INTER,
     .want = VERDICT_UNKNOWN_ISSUER,
     .want_word = TRUSTED_NOT,
     .want_text = "issued by CN=Stranger"},
    {.name = "root-sent-and-not-trusted",
     .leaf = MX,
     .issuer = BY_STRANGER_INTER,
     .chain = WITH_ROOT,
     .want = VERDICT_UNKNOWN_ISSUER,
     .want_word = TRUSTED_NOT,
     .want_text = "ends at the CA certificate of Stranger"},
    {.name = "nobody-is-trusted",
     .leaf = MX,
     .anchors = TRUST_NOBODY,
     .want = VERDICT_UNKNOWN_ISSUER,
     .want_word = TRUSTED_NOT},
    {.name = "no-trust-at-all",
     .leaf = MX,
     .anchors = TRUST_NULL,
     .want = VERDICT_UNKNOWN_ISSUER,
     .want_word = TRUSTED_NOT},
    {.name = "self-signed",
     .leaf = MX,
     .issuer = BY_ITSELF,
     .want = VERDICT_SELF_SIGNED,
     .want_word = TRUSTED_NOT,
     .want_text = "of mx.example.org is self-signed"},

    /* signatures */
    {.name = "altered",
     .leaf = MX,
     .chain = ALTERED,
     .want = VERDICT_BROKEN_SIGNATURE,
     .want_word = TRUSTED_NOT,
     .want_text = "a signature in the chain of"},
    {.name = "altered-intermediate",
     .leaf = {.dns = {"mx.example.org"}, .no_key_ids = true},
     .chain = ALTERED_INTER,
     .want = VERDICT_UNKNOWN_ISSUER,
     .want_word = TRUSTED_NOT},
    {.name = "signed-by-somebody-of-the-same-name",
     .leaf = {.dns = {"mx.example.org"}, .no_key_ids = true},
     .issuer = BY_IMPOSTOR,
     .chain = LEAF_ONLY,
     .anchors = TRUST_INTER,
     .want = VERDICT_BROKEN_SIGNATURE,
     .want_word = TRUSTED_NOT},
    {.name = "signed-with-sha1",
     .leaf = {.dns = {"mx.example.org"}, .digest = GNUTLS_DIG_SHA1},
     .want = VERDICT_WEAK,
     .want_word = TRUSTED_NOT,
     .want_text = "signed with ECDSA-SHA1"},
    {.name = "signed-with-rsa-sha1",
     .leaf = {.dns = {"mx.example.org"}, .digest = GNUTLS_DIG_SHA1},
     .issuer = BY_RSA2048,
     .want = VERDICT_WEAK,
     .want_word = TRUSTED_NOT,
     .want_text = "signed with RSA-SHA1"},
    {.name = "signed-with-md5",
     .leaf = {.dns = {"mx.example.org"}, .digest = GNUTLS_DIG_MD5},
     .issuer = BY_RSA2048,
     .want = VERDICT_WEAK,
     .want_word = TRUSTED_NOT,
     .want_text = "signed with RSA-MD5"},
    {.name = "intermediate-signed-with-sha1",
     .leaf = MX,
     .issuer = BY_SHA1,
     .want = VERDICT_WEAK,
     .want_word = TRUSTED_NOT,
     .want_text = "CA certificate of Sha1 is signed with ECDSA-SHA1"},
    {.name = "rsa-1024",
     .leaf = {.dns = {"mx.example.org"}, .key = PKI_RSA1024},
     .want = VERDICT_WEAK,
     .want_word = TRUSTED_NOT,
     .want_text = "RSA with 1024 bits"},
    {.name = "rsa-1024-trusted-itself",
     .leaf = {.dns = {"mx.example.org"}, .key = PKI_RSA1024},
     .anchors = TRUST_LEAF,
     .want = VERDICT_WEAK,
     .want_word = TRUSTED_NOT},
    {.name = "intermediate-rsa-1024",
     .leaf = MX,
     .issuer = BY_RSA1024,
     .want = VERDICT_WEAK,
     .want_word = TRUSTED_NOT,
     .want_text = "CA certificate of Short key"},

    /* authorities that may not */
    {.name = "signed-by-no-ca",
     .leaf = MX,
     .issuer = BY_NO_CA,
     .want = VERDICT_NOT_A_CA,
     .want_word = TRUSTED_NOT,
     .want_text = "was signed by no CA"},
    {.name = "path-too-long",
     .leaf = MX,
     .issuer = BY_SHORT_INTER,
     .want = VERDICT_CONSTRAINTS,
     .want_word = TRUSTED_NOT,
     .want_text = "breaks the constraints"},
    {.name = "name-permitted", .leaf = MX, .issuer = BY_PERMITTED},
    {.name = "name-not-permitted",
     .leaf = {.dns = {"mx.example.net"}},
     .issuer = BY_PERMITTED,
     .want = VERDICT_CONSTRAINTS,
     .want_word = TRUSTED_NOT},
    {.name = "name-excluded",
     .leaf = MX,
     .issuer = BY_EXCLUDED,
     .want = VERDICT_CONSTRAINTS,
     .want_word = TRUSTED_NOT},
    {.name = "critical-extension-unknown",
     .leaf = {.dns = {"mx.example.org"}, .unknown_critical = true},
     .want = VERDICT_UNKNOWN_CRITICAL,
     .want_word = TRUSTED_NOT,
     .want_text = "critical extension in it that is not known"},

    /* purpose */
    {.name = "server-purpose-for-a-server",
     .leaf = {.dns = {"mx.example.org"}, .purpose = {GNUTLS_KP_TLS_WWW_SERVER}}},
    {.name = "client-purpose-for-a-client",
     .leaf = {.dns = {"mx.example.org"}, .purpose = {GNUTLS_KP_TLS_WWW_CLIENT}},
     .purpose = VERIFY_CLIENT},
    {.name = "both-purposes",
     .leaf = {.dns = {"mx.example.org"},
              .purpose = {GNUTLS_KP_TLS_WWW_SERVER, GNUTLS_KP_TLS_WWW_CLIENT}},
     .purpose = VERIFY_CLIENT},
    {.name = "any-purpose", .leaf = {.dns = {"mx.example.org"}, .purpose = {GNUTLS_KP_ANY}}},
    {.name = "no-purpose-named-for-a-client", .leaf = MX, .purpose = VERIFY_CLIENT},
    {.name = "client-purpose-for-a-server",
     .leaf = {.dns = {"mx.example.org"}, .purpose = {GNUTLS_KP_TLS_WWW_CLIENT}},
     .want = VERDICT_WRONG_PURPOSE,
     .want_word = TRUSTED_NOT},
    {.name = "server-purpose-for-a-client",
     .leaf = {.dns = {"mx.example.org"}, .purpose = {GNUTLS_KP_TLS_WWW_SERVER}},
     .purpose = VERIFY_CLIENT,
     .want = VERDICT_WRONG_PURPOSE,
     .want_word = TRUSTED_NOT},
    {.name = "email-purpose-for-a-client",
     .leaf = {.email = "a@example.org", .purpose = {GNUTLS_KP_EMAIL_PROTECTION}},
     .purpose = VERIFY_CLIENT,
     .want = VERDICT_WRONG_PURPOSE,
     .want_word = TRUSTED_NOT},
    {.name = "client-purpose-trusted-itself-for-a-server",
     .leaf = {.dns = {"mx.example.org"}, .purpose = {GNUTLS_KP_TLS_WWW_CLIENT}},
     .anchors = TRUST_LEAF,
     .want = VERDICT_WRONG_PURPOSE,
     .want_word = TRUSTED_NOT,
     .want_text = "not meant for a TLS server"},
    {.name = "intermediate-for-clients-only",
     .leaf = MX,
     .issuer = BY_CLIENTS_ONLY,
     .want = VERDICT_WRONG_PURPOSE,
     .want_word = TRUSTED_NOT},

    /* time */
    {.name = "not-yet-valid",
     .leaf = {.dns = {"mx.example.org"}, .from_days = 1, .until_days = 20},
     .want = VERDICT_NOT_YET_VALID,
     .want_word = TRUSTED_NOT,
     .want_text = "not valid before 2027-01-16 08:00:00 UTC"},
    {.name = "expired",
     .leaf = {.dns = {"mx.example.org"}, .from_days = -20, .until_days = -1},
     .want = VERDICT_EXPIRED,
     .want_word = "certificate-expired",
     .want_text = "certificate of mx.example.org expired on 2027-01-14 08:00:00 UTC"},
    {.name = "first-second",
     .leaf = {.dns = {"mx.example.org"}, .from_days = 1, .until_days = 20},
     .seconds = DAY},
    {.name = "second-before-the-first",
     .leaf = {.dns = {"mx.example.org"}, .from_days = 1, .until_days = 20},
     .seconds = DAY - 1,
     .want = VERDICT_NOT_YET_VALID,
     .want_word = TRUSTED_NOT},
    {.name = "last-second",
     .leaf = {.dns = {"mx.example.org"}, .from_days = -1, .until_days = 20},
     .seconds = 20 * DAY},
    {.name = "second-after-the-last",
     .leaf = {.dns = {"mx.example.org"}, .from_days = -1, .until_days = 20},
     .seconds = 20 * DAY + 1,
     .want = VERDICT_EXPIRED,
     .want_word = "certificate-expired"},
    {.name = "expired-and-trusted-itself",
     .leaf = {.dns = {"mx.example.org"}, .from_days = -20, .until_days = -1},
     .anchors = TRUST_LEAF,
     .want = VERDICT_EXPIRED,
     .want_word = "certificate-expired"},
    {.name = "intermediate-expired",
     .leaf = MX,
     .issuer = BY_EXPIRED,
     .want = VERDICT_EXPIRED,
     .want_word = "certificate-expired",
     .want_text = "the CA certificate of Old expired"},
    {.name = "intermediate-not-yet-valid",
     .leaf = MX,
     .issuer = BY_EARLY,
     .want = VERDICT_NOT_YET_VALID,
     .want_word = TRUSTED_NOT},
    {.name = "root-expired",
     .leaf = {.dns = {"mx.example.org"}, .until_days = 200},
     .seconds = 100 * DAY,
     .want = VERDICT_EXPIRED,
     .want_word = "certificate-expired"},

    /* revocation */
    {.name = "crl-without-it", .leaf = MX, .crl = FRESH},
    {.name = "crl-revokes-it",
     .leaf = MX,
     .crl = REVOKES,
     .want = VERDICT_REVOKED,
     .want_word = TRUSTED_NOT,
     .want_text = "certificate of mx.example.org has been revoked"},
    {.name = "crl-revokes-the-intermediate",
     .leaf = MX,
     .crl = REVOKES_INTER,
     .want = VERDICT_REVOKED,
     .want_word = TRUSTED_NOT,
     .want_text = "CA certificate of Inter has been revoked"},
    {.name = "crl-outdated",
     .leaf = MX,
     .crl = OLD,
     .want = VERDICT_CRL_UNUSABLE,
     .want_word = FAILURE,
     .want_text = "CN=Inter is outdated"},
    {.name = "crl-outdated-beside-a-fresh-one", .leaf = MX, .crl = OLD_AND_FRESH},
    {.name = "crl-outdated-that-revokes",
     .leaf = MX,
     .crl = OLD_REVOKES,
     .want = VERDICT_REVOKED,
     .want_word = TRUSTED_NOT},
    {.name = "crl-from-the-future",
     .leaf = MX,
     .crl = EARLY,
     .want = VERDICT_CRL_UNUSABLE,
     .want_word = FAILURE,
     .want_text = "is from the future"},
    {.name = "crl-not-signed-by-the-issuer",
     .leaf = MX,
     .crl = FORGED,
     .want = VERDICT_CRL_UNUSABLE,
     .want_word = FAILURE,
     .want_text = "was not signed by it"},
    {.name = "crl-of-another-issuer", .leaf = MX, .issuer = BY_RSA2048, .crl = OLD},

    /* stapling */
    {.name = "staple-missing",
     .leaf = {.dns = {"mx.example.org"}, .must_staple = true},
     .want = VERDICT_NO_STAPLE,
     .want_word = TRUSTED_NOT,
     .want_text = "none was sent"},
    {.name = "staple-good",
     .leaf = {.dns = {"mx.example.org"}, .must_staple = true},
     .staple = GOOD},
    {.name = "staple-revokes",
     .leaf = {.dns = {"mx.example.org"}, .must_staple = true},
     .staple = REVOKED,
     .want = VERDICT_REVOKED,
     .want_word = TRUSTED_NOT,
     .want_text = "stapled OCSP"},
    {.name = "staple-revokes-though-none-is-demanded",
     .leaf = MX,
     .staple = REVOKED,
     .want = VERDICT_REVOKED,
     .want_word = TRUSTED_NOT},
    {.name = "staple-stale",
     .leaf = {.dns = {"mx.example.org"}, .must_staple = true},
     .staple = STALE,
     .want = VERDICT_NO_STAPLE,
     .want_word = TRUSTED_NOT,
     .want_text = "too old"},
    {.name = "staple-from-the-future",
     .leaf = {.dns = {"mx.example.org"}, .must_staple = true},
     .staple = COMING,
     .want = VERDICT_NO_STAPLE,
     .want_word = TRUSTED_NOT,
     .want_text = "from the future"},
    {.name = "staple-without-next-update",
     .leaf = {.dns = {"mx.example.org"}, .must_staple = true},
     .staple = RECENT},
    {.name = "staple-without-next-update-long-ago",
     .leaf = {.dns = {"mx.example.org"}, .must_staple = true},
     .staple = LONG_AGO,
     .want = VERDICT_NO_STAPLE,
     .want_word = TRUSTED_NOT,
     .want_text = "too old"},
    {.name = "staple-of-another-certificate",
     .leaf = {.dns = {"mx.example.org"}, .must_staple = true},
     .staple = OTHERS,
     .want = VERDICT_NO_STAPLE,
     .want_word = TRUSTED_NOT,
     .want_text = "for another certificate"},
    {.name = "staple-not-signed-by-the-issuer",
     .leaf = {.dns = {"mx.example.org"}, .must_staple = true},
     .staple = UNSIGNED,
     .want = VERDICT_NO_STAPLE,
     .want_word = TRUSTED_NOT,
     .want_text = "not signed by the issuer"},
    {.name = "staple-is-nonsense",
     .leaf = {.dns = {"mx.example.org"}, .must_staple = true},
     .staple = TEXT,
     .want = VERDICT_NO_STAPLE,
     .want_word = TRUSTED_NOT,
     .want_text = "cannot be read"},
    {.name = "bad-staple-counts-like-none", .leaf = MX, .staple = UNSIGNED},
    {.name = "staple-is-not-demanded-of-a-client",
     .leaf = {.dns = {"mx.example.org"}, .must_staple = true},
     .purpose = VERIFY_CLIENT},

    /* host names */
    {.name = "name", .leaf = MX, .hosts = {"mx.example.org"}, .want_matched = "mx.example.org"},
    {.name = "name-of-other-case",
     .leaf = MX,
     .hosts = {"MX.Example.ORG"},
     .want_matched = "MX.Example.ORG"},
    {.name = "name-with-the-last-dot",
     .leaf = MX,
     .hosts = {"mx.example.org."},
     .want_matched = "mx.example.org."},
    {.name = "second-name-of-the-certificate",
     .leaf = {.dns = {"a.example.org", "mx.example.org"}},
     .hosts = {"mx.example.org"},
     .want_matched = "mx.example.org"},
    {.name = "second-name-that-is-wanted",
     .leaf = MX,
     .hosts = {"other.example.org", "mx.example.org"},
     .want_matched = "mx.example.org"},
    {.name = "wildcard",
     .leaf = {.dns = {"*.example.org"}},
     .hosts = {"mx.example.org"},
     .want_matched = "mx.example.org"},
    {.name = "international-name",
     .leaf = {.dns = {"mx.xn--bcher-kva.example"}},
     .hosts = {"mx.b\xc3\xbc"
               "cher.example"},
     .want_matched = "mx.b??cher.example"},
    {.name = "international-name-in-ascii",
     .leaf = {.dns = {"mx.xn--bcher-kva.example"}},
     .hosts = {"mx.xn--bcher-kva.example"},
     .want_matched = "mx.xn--bcher-kva.example"},
    {.name = "international-name-in-capitals",
     .leaf = {.dns = {"mx.xn--bcher-kva.example"}},
     .hosts = {"mx.B\xc3\x9c"
               "CHER.example"},
     .want_matched = "mx.B??CHER.example"},
    {.name = "name-mismatch",
     .leaf = {.dns = {"mx.example.org", "*.example.com"}},
     .hosts = {"mail.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH,
     .want_text = "is for mx.example.org, *.example.com and not for mail.example.org"},
    {.name = "name-mismatch-with-several",
     .leaf = MX,
     .hosts = {"a.example", "b.example"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH,
     .want_text = "not for a.example or one of 1 others"},
    {.name = "name-without-names",
     .leaf = {.purpose = {GNUTLS_KP_TLS_WWW_SERVER}},
     .hosts = {"mx.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH,
     .want_text = "is for no name and not for"},
    {.name = "subdomain-of-a-name",
     .leaf = MX,
     .hosts = {"a.mx.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "parent-of-a-name",
     .leaf = MX,
     .hosts = {"example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "wildcard-over-two-labels",
     .leaf = {.dns = {"*.example.org"}},
     .hosts = {"a.mx.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "wildcard-and-the-domain-itself",
     .leaf = {.dns = {"*.example.org"}},
     .hosts = {"example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "wildcard-inside-a-label",
     .leaf = {.dns = {"f*.example.org"}},
     .hosts = {"foo.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "wildcard-at-a-labels-end",
     .leaf = {.dns = {"*x.example.org"}},
     .hosts = {"mx.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "wildcard-in-the-middle",
     .leaf = {.dns = {"mx.*.org"}},
     .hosts = {"mx.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "two-wildcards",
     .leaf = {.dns = {"*.*.org"}},
     .hosts = {"mx.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "wildcard-of-a-top-domain",
     .leaf = {.dns = {"*.org"}},
     .hosts = {"example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "wildcard-alone",
     .leaf = {.dns = {"*"}},
     .hosts = {"localhost"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "wildcard-that-is-wanted",
     .leaf = {.dns = {"mx.example.org"}},
     .hosts = {"*.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "nul-in-a-name",
     .leaf = {.dns_with_nul = true},
     .hosts = {"a.b"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH,
     .want_text = "is for a.b?c"},
    {.name = "wanted-name-is-empty",
     .leaf = MX,
     .hosts = {""},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},

    /* the subject */
    {.name = "common-name-does-not-count",
     .leaf = {.cn = "mx.example.org"},
     .hosts = {"mx.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH,
     .want_text = "is for no name (its common name, mx.example.org, does not count) and not for"},
    {.name = "common-name-beside-a-dns-name",
     .leaf = {.cn = "mx.example.org", .dns = {"other.example.org"}},
     .hosts = {"mx.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "common-name-beside-an-address",
     .leaf = {.cn = "mx.example.org", .ip = {"::1"}},
     .hosts = {"mx.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "common-name-beside-a-uri",
     .leaf = {.cn = "mx.example.org", .uri = "https://example.org/"},
     .hosts = {"mx.example.org"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},

    /* addresses */
    {.name = "ipv4",
     .leaf = {.ip = {"192.0.2.1"}},
     .addresses = {"192.0.2.1"},
     .want_matched = "192.0.2.1"},
    {.name = "ipv6",
     .leaf = {.ip = {"192.0.2.1", "2001:db8::1"}},
     .addresses = {"2001:db8:0:0::1"},
     .want_matched = "2001:db8:0:0::1"},
    {.name = "ipv6-in-brackets",
     .leaf = {.ip = {"2001:db8::1"}},
     .addresses = {"[2001:db8::1]"},
     .want_matched = "[2001:db8::1]"},
    {.name = "address-among-the-hosts",
     .leaf = {.ip = {"192.0.2.1"}},
     .hosts = {"192.0.2.1"},
     .want_matched = "192.0.2.1"},
    {.name = "ip-mismatch",
     .leaf = {.ip = {"192.0.2.1", "2001:db8::1"}},
     .addresses = {"192.0.2.2"},
     .want = VERDICT_IP_MISMATCH,
     .want_word = MISMATCH,
     .want_text = "is for 192.0.2.1, 2001:db8::1 and not for 192.0.2.2"},
    {.name = "ip-that-is-a-dns-name",
     .leaf = {.dns = {"192.0.2.1"}},
     .addresses = {"192.0.2.1"},
     .want = VERDICT_IP_MISMATCH,
     .want_word = MISMATCH},
    {.name = "ip-among-the-hosts-that-is-a-dns-name",
     .leaf = {.dns = {"192.0.2.1"}},
     .hosts = {"192.0.2.1"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "ip-in-the-common-name",
     .leaf = {.cn = "192.0.2.1"},
     .hosts = {"192.0.2.1"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "wanted-address-is-none",
     .leaf = {.ip = {"192.0.2.1"}},
     .addresses = {"192.0.2"},
     .want = VERDICT_IP_MISMATCH,
     .want_word = MISMATCH},
    {.name = "ipv6-that-begins-like-an-ipv4",
     .leaf = {.ip = {"192.0.2.1"}},
     .addresses = {"c000:201::1"},
     .want = VERDICT_IP_MISMATCH,
     .want_word = MISMATCH},
    {.name = "ipv4-mapped-is-another-address",
     .leaf = {.ip = {"192.0.2.1"}},
     .addresses = {"::ffff:192.0.2.1"},
     .want = VERDICT_IP_MISMATCH,
     .want_word = MISMATCH},

    /* e-mail addresses */
    {.name = "email",
     .leaf = {.email = "Postmaster@example.org"},
     .purpose = VERIFY_CLIENT,
     .emails = {"Postmaster@EXAMPLE.org"},
     .want_matched = "Postmaster@EXAMPLE.org"},
    {.name = "email-international",
     .leaf = {.email = "a@xn--bcher-kva.example"},
     .emails = {"a@b\xc3\xbc"
                "cher.example"},
     .want_matched = "a@b??cher.example"},
    {.name = "email-local-part-of-other-case",
     .leaf = {.email = "postmaster@example.org"},
     .emails = {"Postmaster@example.org"},
     .want = VERDICT_EMAIL_MISMATCH,
     .want_word = MISMATCH,
     .want_text = "is for postmaster@example.org and not for Postmaster@example.org"},
    {.name = "email-mismatch",
     .leaf = {.email = "a@example.org"},
     .emails = {"b@example.org"},
     .want = VERDICT_EMAIL_MISMATCH,
     .want_word = MISMATCH},
    {.name = "email-is-only-a-host",
     .leaf = {.dns = {"example.org"}},
     .emails = {"a@example.org"},
     .want = VERDICT_EMAIL_MISMATCH,
     .want_word = MISMATCH},
    {.name = "email-without-at",
     .leaf = {.email = "a@example.org"},
     .emails = {"example.org"},
     .want = VERDICT_EMAIL_MISMATCH,
     .want_word = MISMATCH},
    {.name = "email-in-the-subject-does-not-count",
     .leaf = {.cn = "A", .subject_email = "a@example.org"},
     .emails = {"a@example.org"},
     .want = VERDICT_EMAIL_MISMATCH,
     .want_word = MISMATCH},
    {.name = "email-instead-of-a-host",
     .leaf = {.email = "a@example.org"},
     .hosts = {"mx.example.org"},
     .emails = {"a@example.org"},
     .want_matched = "a@example.org"},

    /* pins */
    {.name = "pin-of-the-certificate", .leaf = MX, .pins = PIN_CERT, .want_matched = "sha256"},
    {.name = "pin-of-the-key", .leaf = MX, .pins = PIN_KEY, .want_matched = "spki-sha256"},
    {.name = "second-pin", .leaf = MX, .pins = PIN_SECOND, .want_matched = "sha256"},
    {.name = "pin-and-name",
     .leaf = MX,
     .pins = PIN_KEY,
     .hosts = {"mx.example.org"},
     .want_matched = "mx.example.org"},
    {.name = "pin-of-another",
     .leaf = MX,
     .pins = PIN_OTHER,
     .want = VERDICT_PIN_MISMATCH,
     .want_word = TRUSTED_NOT,
     .want_text = "spki-sha256:"},
    {.name = "pin-of-the-certificate-taken-for-the-key",
     .leaf = MX,
     .pins = PIN_CERT_AS_KEY,
     .want = VERDICT_PIN_MISMATCH,
     .want_word = TRUSTED_NOT},
    {.name = "pin-of-the-issuer",
     .leaf = MX,
     .pins = PIN_ISSUER,
     .want = VERDICT_PIN_MISMATCH,
     .want_word = TRUSTED_NOT},
    {.name = "pin-and-a-wrong-name",
     .leaf = MX,
     .pins = PIN_CERT,
     .hosts = {"a.example"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},
    {.name = "pin-does-not-make-up-for-the-chain",
     .leaf = MX,
     .issuer = BY_ITSELF,
     .pins = PIN_CERT,
     .want = VERDICT_SELF_SIGNED,
     .want_word = TRUSTED_NOT},

    /* without the chain */
    {.name = "pin-alone-of-a-self-signed-one",
     .leaf = MX,
     .issuer = BY_ITSELF,
     .no_ca = true,
     .anchors = TRUST_NULL,
     .pins = PIN_CERT,
     .want_matched = "sha256"},
    {.name = "pin-alone-of-an-expired-one",
     .leaf = {.dns = {"mx.example.org"}, .from_days = -20, .until_days = -1},
     .no_ca = true,
     .pins = PIN_KEY,
     .want_matched = "spki-sha256"},
    {.name = "pin-alone-of-another",
     .leaf = MX,
     .issuer = BY_ITSELF,
     .no_ca = true,
     .pins = PIN_OTHER,
     .want = VERDICT_PIN_MISMATCH,
     .want_word = TRUSTED_NOT},
    {.name = "name-alone",
     .leaf = MX,
     .issuer = BY_STRANGER,
     .no_ca = true,
     .hosts = {"mx.example.org"},
     .want_matched = "mx.example.org"},
    {.name = "name-alone-mismatch",
     .leaf = MX,
     .issuer = BY_STRANGER,
     .no_ca = true,
     .hosts = {"a.example"},
     .want = VERDICT_NAME_MISMATCH,
     .want_word = MISMATCH},

    /* several defects: the worst is told */
    {.name = "self-signed-expired-and-of-another-name",
     .leaf = {.dns = {"a.example"}, .from_days = -20, .until_days = -1},
     .issuer = BY_ITSELF,
     .hosts = {"mx.example.org"},
     .want = VERDICT_SELF_SIGNED,
     .want_word = TRUSTED_NOT},
    {.name = "expired-and-of-another-name",
     .leaf = {.dns = {"a.example"}, .from_days = -20, .until_days = -1},
     .hosts = {"mx.example.org"},
     .want = VERDICT_EXPIRED,
     .want_word = "certificate-expired"},
    {.name = "revoked-and-expired",
     .leaf = {.dns = {"a.example"}, .from_days = -20, .until_days = -1},
     .crl = REVOKES,
     .want = VERDICT_REVOKED,
     .want_word = TRUSTED_NOT},
};

/* ---- one row ---- */

struct bench {
    struct world world;
    struct pki_cert leaf;
    struct trust trust;
    struct gnutls_x509_crt_int *anchors[1];
    struct gnutls_x509_crl_int *crls[2];
    gnutls_datum_t der[4], staple;
    struct pin pins[2];
};

static void lay_chain(struct bench *b, const struct row *r)
{
    const struct pki_cert *issuer = authority(&b->world, r->issuer);
    unsigned n = 0;
    if (r->chain == NOTHING)
        return;
    b->der[n++] = r->chain == ALTERED ? pki_der_altered(&b->leaf) : pki_der(&b->leaf);
    if (r->chain == NONSENSE)
        b->der[0].size /= 2;
    if (r->chain == LEAF_ONLY)
        return;
    for (enum ca i = r->issuer; issuer != NULL; i = cas[i].issuer) {
        bool root = cas[i].issuer == BY_ITSELF;
        issuer = authority(&b->world, cas[i].issuer);
        if (!root || r->chain == WITH_ROOT || r->chain == SHUFFLED)
            b->der[n++] = r->chain == ALTERED_INTER ? pki_der_altered(authority(&b->world, i))
                                                    : pki_der(authority(&b->world, i));
    }
    if (r->chain == SHUFFLED) {
        gnutls_datum_t inter = b->der[1];
        b->der[1] = b->der[2];
        b->der[2] = inter;
    }
}

static void lay_trust(struct bench *b, const struct row *r)
{
    gnutls_x509_trust_list_init(&b->trust.list, 0);
    b->trust.anchors = b->anchors;
    b->trust.crls = b->crls;
    switch (r->anchors) {
    case TRUST_ROOT:
        b->anchors[0] = authority(&b->world, BY_ROOT)->crt;
        break;
    case TRUST_INTER:
        b->anchors[0] = authority(&b->world, BY_INTER)->crt;
        break;
    case TRUST_LEAF:
        b->anchors[0] = b->leaf.crt;
        break;
    case TRUST_NOBODY:
    case TRUST_NULL:
        return;
    }
    b->trust.n_anchors = 1;
    assert_int_equal(gnutls_x509_trust_list_add_cas(b->trust.list, b->anchors, 1, 0), 1);
}

static void lay_crls(struct bench *b, const struct row *r)
{
    const struct pki_cert *inter = authority(&b->world, BY_INTER), *leaf = &b->leaf;
    const struct pki_cert *root = authority(&b->world, BY_ROOT);
    gnutls_x509_crl_t *crls = b->crls;
    switch (r->crl) {
    case NO_CRL:
        return;
    case FRESH:
        crls[0] = pki_crl(inter, root, NOW, NOW);
        break;
    case REVOKES:
        crls[0] = pki_crl(inter, leaf, NOW - DAY, NOW + DAY);
        break;
    case REVOKES_INTER:
        crls[0] = pki_crl(root, inter, NOW - DAY, NOW + DAY);
        break;
    case OLD:
        crls[0] = pki_crl(inter, NULL, NOW - DAY, NOW - 1);
        break;
    case OLD_AND_FRESH:
        crls[0] = pki_crl(inter, NULL, NOW - 1, NOW + DAY);
        crls[1] = pki_crl(inter, NULL, NOW - 2 * DAY, NOW - DAY);
        break;
    case OLD_REVOKES:
        crls[0] = pki_crl(inter, NULL, NOW - DAY, NOW + DAY);
        crls[1] = pki_crl(inter, leaf, NOW - 3 * DAY, NOW - 2 * DAY);
        break;
    case EARLY:
        crls[0] = pki_crl(inter, NULL, NOW + 1, NOW + DAY);
        break;
    case FORGED:
        /* the impostor's key identifier is another, so the name alone has to mislead */
        crls[0] = pki_crl(authority(&b->world, BY_IMPOSTOR), leaf, NOW - DAY, NOW + DAY);
        break;
    }
    b->trust.n_crls = crls[1] != NULL ? 2 : 1;
}

static void lay_staple(struct bench *b, const struct row *r)
{
    const struct pki_cert *leaf = &b->leaf, *inter = authority(&b->world, BY_INTER);
    const struct pki_cert *stranger = authority(&b->world, BY_STRANGER);
    const struct pki_cert *other = authority(&b->world, BY_NO_CA);
    switch (r->staple) {
    case NONE:
        break;
    case GOOD:
        b->staple = pki_ocsp(leaf, inter, inter, false, NOW, NOW);
        break;
    case REVOKED:
        b->staple = pki_ocsp(leaf, inter, inter, true, NOW - DAY, NOW + DAY);
        break;
    case STALE:
        b->staple = pki_ocsp(leaf, inter, inter, false, NOW - DAY, NOW - 1);
        break;
    case COMING:
        b->staple = pki_ocsp(leaf, inter, inter, false, NOW + 1, NOW + DAY);
        break;
    case RECENT:
        b->staple = pki_ocsp(leaf, inter, inter, false, NOW - 3 * DAY, 0);
        break;
    case LONG_AGO:
        b->staple = pki_ocsp(leaf, inter, inter, false, NOW - 3 * DAY - 1, 0);
        break;
    case OTHERS:
        b->staple = pki_ocsp(other, inter, inter, false, NOW - DAY, NOW + DAY);
        break;
    case UNSIGNED:
        b->staple = pki_ocsp(leaf, inter, stranger, false, NOW - DAY, NOW + DAY);
        break;
    case TEXT:
        b->staple.data = (unsigned char *)gnutls_strdup("good, honestly");
        b->staple.size = 14;
        break;
    }
}

/* Computed apart from the code that is tested. */
static void hash_of(const struct pki_cert *c, bool of_key, unsigned char out[32])
{
    gnutls_datum_t der = {0};
    gnutls_pubkey_t key;
    if (of_key) {
        gnutls_pubkey_init(&key);
        gnutls_pubkey_import_x509(key, c->crt, 0);
        gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der);
        gnutls_pubkey_deinit(key);
    } else {
        der = pki_der(c);
    }
    size_t size = 32;
    assert_int_equal(gnutls_fingerprint(GNUTLS_DIG_SHA256, &der, out, &size), 0);
    gnutls_free(der.data);
}

static size_t lay_pins(struct bench *b, const struct row *r)
{
    struct pin *p = b->pins;
    memset(p[0].sha256, 0x5a, 32);
    switch (r->pins) {
    case NO_PIN:
        return 0;
    case PIN_CERT:
        hash_of(&b->leaf, false, p[0].sha256);
        return 1;
    case PIN_KEY:
        p[0].of_key = true;
        hash_of(&b->leaf, true, p[0].sha256);
        return 1;
    case PIN_SECOND:
        hash_of(&b->leaf, false, p[1].sha256);
        return 2;
    case PIN_OTHER:
        return 1;
    case PIN_CERT_AS_KEY:
        p[0].of_key = true;
        hash_of(&b->leaf, false, p[0].sha256);
        return 1;
    case PIN_ISSUER:
        hash_of(authority(&b->world, BY_INTER), false, p[0].sha256);
        return 1;
    }
    return 0;
}

static size_t count(const char *const *list, size_t max)
{
    size_t n = 0;
    while (n < max && list[n] != NULL)
        n++;
    return n;
}

static struct verify_rules rules_of(const struct row *r, struct bench *b)
{
    return (struct verify_rules){.purpose = r->purpose,
                                 .need_ca = !r->no_ca,
                                 .hosts = r->hosts,
                                 .n_hosts = count(r->hosts, 3),
                                 .emails = r->emails,
                                 .n_emails = count(r->emails, 2),
                                 .addresses = r->addresses,
                                 .n_addresses = count(r->addresses, 2),
                                 .pins = b->pins,
                                 .n_pins = lay_pins(b, r)};
}

static void clear(struct bench *b)
{
    for (size_t i = 0; i < N_CAS; i++)
        pki_free(&b->world.cas[i]);
    pki_free(&b->leaf);
    if (b->trust.list != NULL)
        gnutls_x509_trust_list_deinit(b->trust.list, 0);
    for (size_t i = 0; i < b->trust.n_crls; i++)
        gnutls_x509_crl_deinit(b->crls[i]);
    for (size_t i = 0; i < 4; i++)
        gnutls_free(b->der[i].data);
    gnutls_free(b->staple.data);
}

static void compare(const struct row *r, const struct verdict *v, bool ok)
{
    if (v->cause != r->want || (r->want_text != NULL && strstr(v->sentence, r->want_text) == NULL))
        fail_msg("got %s: \"%s\"\nwant %s: \"%s\"", verdict_word(v->cause), v->sentence,
                 verdict_word(r->want), r->want_text != NULL ? r->want_text : "");
    assert_int_equal(ok, r->want == VERDICT_OK);
    assert_int_equal(v->sentence[0] == '\0', ok);
    assert_string_equal(verdict_result_word(v->cause), r->want_word != NULL ? r->want_word : "");
    if (ok)
        assert_string_equal(v->matched, r->want_matched != NULL ? r->want_matched : "");
}

/* Where a verdict's cause is found when everything is looked at; N_EXAMINED: everywhere. */
static enum examined place_of(enum verdict_cause cause, bool by_list)
{
    switch (cause) {
    case VERDICT_OK:
    case VERDICT_NO_CERTIFICATE:
    case VERDICT_TLSA_MISMATCH: /* no record is looked at there, */
    case VERDICT_KEY_MISMATCH:  /* and no memory */
    case VERDICT_KEY_UNKNOWN:
        break;
    case VERDICT_UNUSABLE:
    case VERDICT_WEAK:
    case VERDICT_SELF_SIGNED:
    case VERDICT_UNKNOWN_ISSUER:
    case VERDICT_BROKEN_SIGNATURE:
    case VERDICT_NOT_A_CA:
    case VERDICT_CONSTRAINTS:
    case VERDICT_UNKNOWN_CRITICAL:
        return EXAMINED_CHAIN;
    case VERDICT_WRONG_PURPOSE:
        return EXAMINED_PURPOSE;
    case VERDICT_REVOKED:
        return by_list ? EXAMINED_REVOCATION : EXAMINED_STAPLE;
    case VERDICT_NOT_YET_VALID:
    case VERDICT_EXPIRED:
        return EXAMINED_VALIDITY;
    case VERDICT_CRL_UNUSABLE:
        return EXAMINED_REVOCATION;
    case VERDICT_NO_STAPLE:
        return EXAMINED_STAPLE;
    case VERDICT_NAME_MISMATCH:
    case VERDICT_EMAIL_MISMATCH:
    case VERDICT_IP_MISMATCH:
        return EXAMINED_NAMES;
    case VERDICT_PIN_MISMATCH:
        return EXAMINED_PINS;
    }
    return N_EXAMINED;
}

static bool fails_anywhere(const struct examination *e, bool need_ca)
{
    for (enum examined i = 0; i < N_EXAMINED; i++)
        if (e->state[i] == EXAMINED_FAILS && (need_ca || i == EXAMINED_NAMES || i == EXAMINED_PINS))
            return true;
    return false;
}

/* The same that verify_chain says, fault for fault. */
static void compare_examination(const struct row *r, const struct verdict *v,
                                const struct examination *e)
{
    enum examined place = place_of(r->want, r->crl != NO_CRL);
    assert_int_equal(fails_anywhere(e, !r->no_ca), r->want != VERDICT_OK);
    for (enum examined i = 0; i < N_EXAMINED; i++)
        assert_true(e->why[i][0] != '\0');
    if (place == N_EXAMINED)
        return;
    if (e->state[place] != EXAMINED_FAILS || strcmp(e->why[place], v->sentence) != 0)
        fail_msg("%s is \"%s\"\nwant \"%s\"", examined_word(place), e->why[place], v->sentence);
}

static void row_gets_its_verdict(void **state)
{
    const struct row *r = *state;
    struct bench b = {0};
    struct verify_bytes chain[4];
    struct verdict verdict;

    b.leaf = pki_issue(&r->leaf, authority(&b.world, r->issuer), NOW);
    lay_chain(&b, r);
    lay_trust(&b, r);
    lay_crls(&b, r);
    lay_staple(&b, r);
    struct verify_peer peer = {.chain = chain,
                               .staple = {.data = b.staple.data, .len = b.staple.size}};
    for (; peer.n_chain < 4 && b.der[peer.n_chain].data != NULL; peer.n_chain++)
        chain[peer.n_chain] = (struct verify_bytes){.data = b.der[peer.n_chain].data,
                                                    .len = b.der[peer.n_chain].size};
    struct verify_rules rules = rules_of(r, &b);
    bool ok = verify_chain(r->anchors == TRUST_NULL ? NULL : &b.trust, &rules, &peer,
                           NOW + r->seconds, &verdict);
    struct examination e = {0};
    examine_chain(r->anchors == TRUST_NULL ? NULL : &b.trust, &rules, &peer, NOW + r->seconds, &e);
    clear(&b);
    compare(r, &verdict, ok);
    compare_examination(r, &verdict, &e);
}

/* ---- more than a row can say ---- */

/* Thirty copies of the same intermediate, and a chain that leads round in a circle, end. */
static void endless_chains_end(void **state)
{
    (void)state;
    struct world w = {0};
    struct verdict verdict;
    struct verify_rules rules = {.need_ca = true};
    struct pki_cert leaf = pki_issue(&(struct pki_spec)MX, authority(&w, BY_STRANGER_INTER), NOW);
    gnutls_datum_t own = pki_der(&leaf), inter = pki_der(authority(&w, BY_STRANGER_INTER));
    struct verify_bytes chain[31] = {{.data = own.data, .len = own.size}};
    for (size_t i = 1; i < 31; i++)
        chain[i] = (struct verify_bytes){.data = inter.data, .len = inter.size};
    struct trust trust = {0};
    gnutls_x509_trust_list_init(&trust.list, 0);
    struct verify_peer peer = {.chain = chain, .n_chain = 31};
    assert_false(verify_chain(&trust, &rules, &peer, NOW, &verdict));
    assert_int_equal(verdict.cause, VERDICT_UNKNOWN_ISSUER);
    gnutls_x509_trust_list_deinit(trust.list, 0);
    gnutls_free(own.data);
    gnutls_free(inter.data);
    pki_free(&leaf);
    for (size_t i = 0; i < N_CAS; i++)
        pki_free(&w.cas[i]);
}

/* CAs renew their certificates and keep name and key; the old one may still be about, in the trust
 * or sent along, in any order. */
static void renewed_authority_is_found_beside_the_expired_one(void **state)
{
    (void)state;
    const struct pki_spec spec = {.cn = "CA", .ca = true};
    const struct pki_spec old_spec = {.cn = "CA", .ca = true, .from_days = -20, .until_days = -1};
    struct pki_cert ca = pki_issue(&spec, NULL, NOW), old = pki_renew(&old_spec, &ca, NULL, NOW);
    struct pki_cert leaf = pki_issue(&(struct pki_spec)MX, &ca, NOW);
    gnutls_datum_t der = pki_der(&leaf);
    const struct verify_bytes chain = {.data = der.data, .len = der.size};
    const struct verify_peer peer = {.chain = &chain, .n_chain = 1};
    const struct verify_rules rules = {.need_ca = true};
    for (int old_first = 0; old_first < 2; old_first++) {
        struct verdict verdict;
        gnutls_x509_crt_t anchors[2] = {old_first ? old.crt : ca.crt, old_first ? ca.crt : old.crt};
        struct trust trust = {.anchors = anchors, .n_anchors = 2};
        gnutls_x509_trust_list_init(&trust.list, 0);
        gnutls_x509_trust_list_add_cas(trust.list, anchors, 2, 0);
        verify_chain(&trust, &rules, &peer, NOW, &verdict);
        assert_string_equal(verdict.sentence, "");
        assert_int_equal(verdict.cause, VERDICT_OK);
        gnutls_x509_trust_list_deinit(trust.list, 0);
    }
    gnutls_free(der.data);
    pki_free(&leaf);
    pki_free(&ca);
    pki_free(&old);
}

static void every_cause_has_a_word(void **state)
{
    (void)state;
    for (int i = VERDICT_OK; i <= VERDICT_KEY_UNKNOWN; i++) {
        assert_non_null(verdict_word((enum verdict_cause)i));
        assert_int_equal(verdict_result_word((enum verdict_cause)i)[0] == '\0', i == VERDICT_OK);
        for (int j = VERDICT_OK; j < i; j++)
            assert_string_not_equal(verdict_word((enum verdict_cause)i),
                                    verdict_word((enum verdict_cause)j));
    }
}

/* Of the table above; what is said of TLSA records and of known keys is in test_dane and
 * test_firstuse. */
static void every_cause_has_a_sentence_of_its_own(void **state)
{
    (void)state;
    const struct row *telling[VERDICT_KEY_UNKNOWN + 1] = {NULL};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].want_text != NULL)
            telling[rows[i].want] = &rows[i];
    for (int i = VERDICT_OK + 1; i < VERDICT_TLSA_MISMATCH; i++) {
        if (telling[i] == NULL)
            fail_msg("no row has the sentence of %s", verdict_word((enum verdict_cause)i));
        for (int j = VERDICT_OK + 1; j < i; j++)
            assert_string_not_equal(telling[i]->want_text, telling[j]->want_text);
    }
}

static void what_a_certificate_says_is_made_printable(void **state)
{
    (void)state;
    char out[16];
    describe_text(out, sizeof out, "a\0b\"\\\n\x7f\xc3z", 9);
    assert_string_equal(out, "a?b?????z");
    describe_text(out, sizeof out, "123456789012345", 15);
    assert_string_equal(out, "123456789012345");
    describe_text(out, sizeof out, "1234567890123456", 16);
    assert_string_equal(out, "123456789012...");
}

static void names_that_do_not_fit_are_counted_out(void **state)
{
    (void)state;
    struct pki_cert c = pki_issue(
        &(struct pki_spec){.dns = {"mx1.example.org", "mx2.example.org", "mx3.example.org"}}, NULL,
        NOW);
    char out[40], enough[64];
    describe_alt_names(c.crt, out, sizeof out);
    assert_string_equal(out, "mx1.example.org, mx2.example.org, ...");
    describe_alt_names(c.crt, enough, sizeof enough);
    assert_string_equal(enough, "mx1.example.org, mx2.example.org, mx3.example.org");
    pki_free(&c);
}

int main(void)
{
    static struct unit u;
    UNIT_ADD_TABLE(&u, row_gets_its_verdict, rows);
    unit_add(&u, "endless_chains_end", endless_chains_end, NULL);
    unit_add(&u, "renewed_authority_is_found_beside_the_expired_one",
             renewed_authority_is_found_beside_the_expired_one, NULL);
    unit_add(&u, "every_cause_has_a_word", every_cause_has_a_word, NULL);
    unit_add(&u, "every_cause_has_a_sentence_of_its_own", every_cause_has_a_sentence_of_its_own,
             NULL);
    unit_add(&u, "what_a_certificate_says_is_made_printable",
             what_a_certificate_says_is_made_printable, NULL);
    unit_add(&u, "names_that_do_not_fit_are_counted_out", names_that_do_not_fit_are_counted_out,
             NULL);
    return unit_run(&u, "verify");
}
