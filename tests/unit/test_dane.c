/* SPDX-License-Identifier: ISC
 *
 * One row: TLSA records for one chain, as a zone might have them, and the verdict. The chain is
 * leaf, intermediate, root, all of them sent unless the row says less.
 */
#include "tests/unit/unit.h"

#include <gnutls/crypto.h>

#include "certs/dane.h"
#include "certs/verify.h"
#include "tests/unit/pki.h"

static const time_t NOW = 1800000000;

enum of { NOBODY, LEAF, INTER, ROOT, STRANGER, N_OF };
enum damage { WHOLE, WRONG, SHORT, LONG, EMPTY };

struct tlsa {
    unsigned usage, selector, matching;
    enum of of; /* whose certificate or key it is about; NOBODY: there is no such record */
    enum damage damage;
};

struct row {
    const char *name;
    struct tlsa records[4];
    bool leaf_only, expired, stranger, leaf_twice;
    const char *hosts[2];
    size_t want_usable;
    enum verdict_cause want;
    const char *want_matched; /* NULL: nothing */
    const char *want_word;    /* of RFC 8460; NULL: none */
};

#define MX "mx.example.org"

static const struct row rows[] = {
    /* DANE-EE: the certificate and nothing else */
    {.name = "3-1-1",
     .records = {{3, 1, 1, LEAF, WHOLE}},
     .want_usable = 1,
     .want_matched = "tlsa 3 1 1"},
    {.name = "3-1-2",
     .records = {{3, 1, 2, LEAF, WHOLE}},
     .want_usable = 1,
     .want_matched = "tlsa 3 1 2"},
    {.name = "3-1-0",
     .records = {{3, 1, 0, LEAF, WHOLE}},
     .want_usable = 1,
     .want_matched = "tlsa 3 1 0"},
    {.name = "3-0-1",
     .records = {{3, 0, 1, LEAF, WHOLE}},
     .want_usable = 1,
     .want_matched = "tlsa 3 0 1"},
    {.name = "3-0-2",
     .records = {{3, 0, 2, LEAF, WHOLE}},
     .want_usable = 1,
     .want_matched = "tlsa 3 0 2"},
    {.name = "3-0-0",
     .records = {{3, 0, 0, LEAF, WHOLE}},
     .want_usable = 1,
     .want_matched = "tlsa 3 0 0"},
    {.name = "ee-ignores-names",
     .records = {{3, 1, 1, LEAF, WHOLE}},
     .hosts = {"other.example.net"},
     .want_usable = 1,
     .want_matched = "tlsa 3 1 1"},
    {.name = "ee-ignores-dates",
     .records = {{3, 1, 1, LEAF, WHOLE}},
     .expired = true,
     .want_usable = 1,
     .want_matched = "tlsa 3 1 1"},
    {.name = "ee-needs-no-chain",
     .records = {{3, 0, 1, LEAF, WHOLE}},
     .leaf_only = true,
     .want_usable = 1,
     .want_matched = "tlsa 3 0 1"},
    {.name = "ee-of-another",
     .records = {{3, 1, 1, STRANGER, WHOLE}},
     .want_usable = 1,
     .want = VERDICT_TLSA_MISMATCH,
     .want_word = "tlsa-invalid"},
    {.name = "ee-of-an-issuer",
     .records = {{3, 1, 1, ROOT, WHOLE}},
     .want_usable = 1,
     .want = VERDICT_TLSA_MISMATCH,
     .want_word = "tlsa-invalid"},
    {.name = "key-where-the-certificate-is-meant",
     .records = {{3, 0, 1, LEAF, WRONG}},
     .want_usable = 1,
     .want = VERDICT_TLSA_MISMATCH,
     .want_word = "tlsa-invalid"},
    {.name = "second-record-fits",
     .records = {{3, 1, 1, STRANGER, WHOLE}, {3, 1, 1, LEAF, WHOLE}},
     .want_usable = 2,
     .want_matched = "tlsa 3 1 1"},

    /* DANE-TA: a chain to a certificate that was sent, and a name */
    {.name = "2-1-1-root",
     .records = {{2, 1, 1, ROOT, WHOLE}},
     .hosts = {MX},
     .want_usable = 1,
     .want_matched = MX},
    {.name = "2-0-1-root",
     .records = {{2, 0, 1, ROOT, WHOLE}},
     .hosts = {MX},
     .want_usable = 1,
     .want_matched = MX},
    {.name = "2-0-2-intermediate",
     .records = {{2, 0, 2, INTER, WHOLE}},
     .hosts = {MX},
     .want_usable = 1,
     .want_matched = MX},
    {.name = "2-0-0-root",
     .records = {{2, 0, 0, ROOT, WHOLE}},
     .hosts = {MX},
     .want_usable = 1,
     .want_matched = MX},
    {.name = "2-1-0-intermediate",
     .records = {{2, 1, 0, INTER, WHOLE}},
     .hosts = {MX},
     .want_usable = 1,
     .want_matched = MX},
    {.name = "ta-with-the-second-name",
     .records = {{2, 1, 1, ROOT, WHOLE}},
     .hosts = {"example.org", MX},
     .want_usable = 1,
     .want_matched = MX},
    {.name = "ta-heeds-names",
     .records = {{2, 1, 1, ROOT, WHOLE}},
     .hosts = {"other.example.net"},
     .want_usable = 1,
     .want = VERDICT_NAME_MISMATCH,
     .want_word = "certificate-host-mismatch"},
    {.name = "ta-heeds-dates",
     .records = {{2, 1, 1, ROOT, WHOLE}},
     .hosts = {MX},
     .expired = true,
     .want_usable = 1,
     .want = VERDICT_EXPIRED,
     .want_word = "certificate-expired"},
    {.name = "ta-that-was-not-sent",
     .records = {{2, 1, 1, ROOT, WHOLE}},
     .hosts = {MX},
     .leaf_only = true,
     .want_usable = 1,
     .want = VERDICT_TLSA_MISMATCH,
     .want_word = "tlsa-invalid"},
    {.name = "ta-sent-by-somebody-else",
     .records = {{2, 1, 1, ROOT, WHOLE}},
     .hosts = {MX},
     .stranger = true,
     .want_usable = 1,
     .want = VERDICT_SELF_SIGNED,
     .want_word = "certificate-not-trusted"},
    {.name = "ta-record-of-the-leaf",
     .records = {{2, 0, 1, LEAF, WHOLE}},
     .hosts = {MX},
     .want_usable = 1,
     .want = VERDICT_TLSA_MISMATCH,
     .want_word = "tlsa-invalid"},
    {.name = "ta-record-of-a-leaf-that-was-sent-twice",
     .records = {{2, 0, 1, LEAF, WHOLE}},
     .hosts = {MX},
     .leaf_twice = true,
     .want_usable = 1,
     .want = VERDICT_TLSA_MISMATCH,
     .want_word = "tlsa-invalid"},
    {.name = "ee-before-ta",
     .records = {{2, 1, 1, ROOT, WHOLE}, {3, 1, 1, LEAF, WHOLE}},
     .hosts = {"other.example.net"},
     .want_usable = 2,
     .want_matched = "tlsa 3 1 1"},

    /* records that are of no use */
    {.name = "pkix-is-unusable", .records = {{0, 0, 1, ROOT, WHOLE}, {1, 1, 1, LEAF, WHOLE}}},
    {.name = "unknown-numbers",
     .records = {{4, 1, 1, LEAF, WHOLE}, {3, 2, 1, LEAF, WHOLE}, {3, 1, 3, LEAF, WHOLE}}},
    {.name = "digest-of-31-bytes", .records = {{3, 1, 1, LEAF, SHORT}}},
    {.name = "digest-of-33-bytes", .records = {{3, 1, 1, LEAF, LONG}}},
    {.name = "sha512-of-63-bytes", .records = {{3, 1, 2, LEAF, SHORT}}},
    {.name = "no-data", .records = {{3, 1, 0, LEAF, EMPTY}}},
    {.name = "certificate-that-is-none", .records = {{3, 0, 0, LEAF, SHORT}}},
    {.name = "key-that-is-none", .records = {{3, 1, 0, LEAF, SHORT}}},
    {.name = "unusable-beside-usable",
     .records = {{1, 1, 1, LEAF, WHOLE}, {3, 1, 1, LEAF, WHOLE}},
     .want_usable = 1,
     .want_matched = "tlsa 3 1 1"},

    /* RFC 7671 §9 */
    {.name = "weaker-digest-does-not-count",
     .records = {{3, 1, 1, LEAF, WHOLE}, {3, 1, 2, STRANGER, WHOLE}},
     .want_usable = 2,
     .want = VERDICT_TLSA_MISMATCH,
     .want_word = "tlsa-invalid"},
    {.name = "stronger-digest-counts",
     .records = {{3, 1, 1, STRANGER, WHOLE}, {3, 1, 2, LEAF, WHOLE}},
     .want_usable = 2,
     .want_matched = "tlsa 3 1 2"},
    {.name = "stronger-digest-of-another-selector",
     .records = {{3, 1, 1, LEAF, WHOLE}, {3, 0, 2, STRANGER, WHOLE}},
     .want_usable = 2,
     .want_matched = "tlsa 3 1 1"},
    {.name = "stronger-digest-that-is-unusable",
     .records = {{3, 1, 1, LEAF, WHOLE}, {3, 1, 2, STRANGER, SHORT}},
     .want_usable = 1,
     .want_matched = "tlsa 3 1 1"},
    {.name = "in-full-beside-digests",
     .records = {{3, 1, 0, LEAF, WHOLE}, {3, 1, 2, STRANGER, WHOLE}},
     .want_usable = 2,
     .want_matched = "tlsa 3 1 0"},
};

struct chain {
    struct pki_cert of[N_OF];
    gnutls_datum_t der[N_OF];
};

static void make_chain(struct chain *c, const struct row *row)
{
    struct pki_spec leaf = {.cn = MX, .dns = {MX}};
    if (row->expired) {
        leaf.from_days = -20;
        leaf.until_days = -1;
    }
    c->of[ROOT] = pki_issue(&(struct pki_spec){.cn = "Root", .ca = true}, NULL, NOW);
    c->of[INTER] = pki_issue(&(struct pki_spec){.cn = "Inter", .ca = true}, &c->of[ROOT], NOW);
    c->of[STRANGER] = pki_issue(&leaf, NULL, NOW);
    c->of[LEAF] = pki_issue(&leaf, &c->of[INTER], NOW);
    for (int i = LEAF; i < N_OF; i++)
        c->der[i] = pki_der(&c->of[i]);
}

static void free_chain(struct chain *c)
{
    for (int i = LEAF; i < N_OF; i++) {
        gnutls_free(c->der[i].data);
        pki_free(&c->of[i]);
    }
}

/* As a zone would have it, made without the code under test. Returns the bytes of RDATA. */
static size_t make_rdata(const struct chain *c, const struct tlsa *t, unsigned char *out)
{
    gnutls_datum_t part = {0};
    gnutls_pubkey_t key;
    size_t len = 3;
    out[0] = (unsigned char)t->usage;
    out[1] = (unsigned char)t->selector;
    out[2] = (unsigned char)t->matching;
    assert_int_equal(gnutls_pubkey_init(&key), 0);
    assert_int_equal(gnutls_pubkey_import_x509(key, c->of[t->of].crt, 0), 0);
    if (t->selector == 0)
        part = pki_der(&c->of[t->of]);
    else
        assert_int_equal(gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &part), 0);
    gnutls_pubkey_deinit(key);
    if (t->matching == 0) {
        memcpy(out + len, part.data, part.size);
        len += part.size;
    } else {
        bool is_256 = t->matching != 2;
        gnutls_hash_fast(is_256 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA512, part.data, part.size,
                         out + len);
        len += is_256 ? 32 : 64;
    }
    gnutls_free(part.data);
    switch (t->damage) {
    case WHOLE:
        return len;
    case WRONG:
        out[3] ^= 1;
        return len;
    case SHORT:
        return len - 1;
    case LONG:
        out[len] = 0;
        return len + 1;
    case EMPTY:
        break;
    }
    return 3;
}

static void judge(const struct row *row, const struct chain *c, const struct verify_rules *rules)
{
    struct verify_bytes sent[4];
    struct verify_peer peer = {.chain = sent};
    const enum of order[] = {row->stranger ? STRANGER : LEAF, row->leaf_twice ? LEAF : INTER, INTER,
                             ROOT};
    struct verdict v;
    for (size_t i = 0; i < (row->leaf_only ? 1 : 4); i++)
        sent[peer.n_chain++] =
            (struct verify_bytes){.data = c->der[order[i]].data, .len = c->der[order[i]].size};
    bool ok = verify_chain(NULL, rules, &peer, NOW, &v);
    if (v.cause != row->want)
        fail_msg("%s (%s), and not %s", verdict_word(v.cause), v.sentence, verdict_word(row->want));
    assert_int_equal(ok, row->want == VERDICT_OK);
    assert_int_equal(v.sentence[0] == '\0', ok);
    assert_string_equal(v.matched, row->want_matched != NULL ? row->want_matched : "");
    assert_string_equal(verdict_result_word(v.cause), row->want_word != NULL ? row->want_word : "");
}

static void test_row(void **state)
{
    const struct row *row = *state;
    struct chain c;
    unsigned char rdata[4][2048];
    struct dane_record records[4];
    size_t n = 0;
    make_chain(&c, row);
    for (size_t i = 0; i < 4 && row->records[i].of != NOBODY; i++) {
        size_t len = make_rdata(&c, &row->records[i], rdata[n]);
        if (dane_record_parse(rdata[n], len, &records[n]))
            n++;
        else
            assert_int_equal(row->records[i].damage, EMPTY);
    }
    assert_int_equal(dane_count_usable(records, n), row->want_usable);
    const struct verify_rules rules = {.hosts = row->hosts,
                                       .n_hosts = row->hosts[0] == NULL   ? 0
                                                  : row->hosts[1] == NULL ? 1
                                                                          : 2,
                                       .records = records,
                                       .n_records = n};
    if (row->want_usable > 0)
        judge(row, &c, &rules);
    free_chain(&c);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, test_row, rows);
    return unit_run(&u, "dane");
}
