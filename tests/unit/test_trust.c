/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certs/trust.h"
#include "tests/unit/pki.h"

static const time_t NOW = 1800000000;

struct place {
    char dir[64], error[512];
    struct pki_cert a, b;
};

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "/tmp/ehlock-trust-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->a = pki_issue(&(struct pki_spec){.cn = "A", .ca = true}, NULL, NOW);
    p->b = pki_issue(&(struct pki_spec){.cn = "B", .ca = true}, NULL, NOW);
    *state = p;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    struct place *p = *state;
    nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    pki_free(&p->a);
    pki_free(&p->b);
    free(p);
    return 0;
}

static const char *in(const struct place *p, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", p->dir, name);
    return path;
}

static void write_text(const char *path, const void *text, size_t len)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static struct trust *load(struct place *p, const char *file, const char *dir, const char *crl)
{
    const struct trust_sources s = {.ca_files = &file,
                                    .n_ca_files = file != NULL,
                                    .ca_dirs = &dir,
                                    .n_ca_dirs = dir != NULL,
                                    .crl_files = &crl,
                                    .n_crl_files = crl != NULL};
    return trust_create(&s, p->error, sizeof p->error);
}

static void assert_error(const struct place *p, struct trust *t, const char *path, const char *why)
{
    assert_null(t);
    if (strstr(p->error, path) == NULL || strstr(p->error, why) == NULL)
        fail_msg("\"%s\" does not name \"%s\" and \"%s\"", p->error, path, why);
}

static void file_with_several_certificates_gives_all(void **state)
{
    struct place *p = *state;
    char path[128];
    const struct pki_cert *both[] = {&p->a, &p->b, NULL};
    pki_write_certs(in(p, "ca.pem", path), both, false);
    struct trust *t = load(p, path, NULL, NULL);
    assert_non_null(t);
    assert_int_equal(t->n_anchors, 2);
    trust_destroy(t);
}

static void file_in_der_gives_its_certificate(void **state)
{
    struct place *p = *state;
    char path[128];
    gnutls_datum_t der = pki_der(&p->a);
    write_text(in(p, "ca.der", path), der.data, der.size);
    gnutls_free(der.data);
    struct trust *t = load(p, path, NULL, NULL);
    assert_non_null(t);
    assert_int_equal(t->n_anchors, 1);
    trust_destroy(t);
}

static void nothing_gives_trust_in_nobody(void **state)
{
    struct trust *t = load(*state, NULL, NULL, NULL);
    assert_non_null(t);
    assert_int_equal(t->n_anchors, 0);
    trust_destroy(t);
    trust_destroy(NULL);
}

static void same_certificate_twice_is_one(void **state)
{
    struct place *p = *state;
    char path[128];
    const struct pki_cert *twice[] = {&p->a, &p->a, NULL};
    pki_write_certs(in(p, "ca.pem", path), twice, false);
    struct trust *t = load(p, path, p->dir, NULL);
    assert_non_null(t);
    assert_int_equal(t->n_anchors, 1);
    trust_destroy(t);
}

static void file_that_is_missing_is_named(void **state)
{
    struct place *p = *state;
    char path[128];
    assert_error(p, load(p, in(p, "none.pem", path), NULL, NULL), path, strerror(ENOENT));
}

static void file_without_a_certificate_is_named(void **state)
{
    struct place *p = *state;
    char path[128];
    write_text(in(p, "key.pem", path), "-----BEGIN NOTHING-----\n", 24);
    assert_error(p, load(p, path, NULL, NULL), path, "no certificate");
    write_text(path, "", 0);
    assert_error(p, load(p, path, NULL, NULL), path, "no certificate");
}

/* A damaged second certificate would otherwise be missed only by those whom it concerns. */
static void file_with_a_damaged_certificate_is_refused(void **state)
{
    struct place *p = *state;
    char path[128];
    const struct pki_cert *one[] = {&p->a, NULL};
    pki_write_certs(in(p, "ca.pem", path), one, false);
    FILE *f = fopen(path, "a");
    fputs("-----BEGIN CERTIFICATE-----\nMIIBAAAA\n-----END CERTIFICATE-----\n", f);
    fclose(f);
    assert_error(p, load(p, path, NULL, NULL), path, "damaged");
}

static void directory_gives_every_pem_file(void **state)
{
    struct place *p = *state;
    char path[128], other[128];
    const struct pki_cert *a[] = {&p->a, NULL}, *b[] = {&p->b, NULL};
    pki_write_certs(in(p, "a.pem", path), a, false);
    pki_write_certs(in(p, "b.crt", other), b, false);
    write_text(in(p, "README", other), "hello\n", 6);
    assert_int_equal(mkdir(in(p, "directory", other), 0700), 0);
    assert_int_equal(symlink(path, in(p, "1234abcd.0", other)), 0);
    struct trust *t = load(p, NULL, p->dir, NULL);
    assert_non_null(t);
    assert_int_equal(t->n_anchors, 2);
    trust_destroy(t);
}

static void directory_without_certificates_is_an_error(void **state)
{
    struct place *p = *state;
    char path[128];
    assert_error(p, load(p, NULL, p->dir, NULL), p->dir, "no certificate");
    assert_error(p, load(p, NULL, in(p, "none", path), NULL), path, strerror(ENOENT));
}

static void dangling_link_in_a_directory_is_named(void **state)
{
    struct place *p = *state;
    char path[128];
    assert_int_equal(symlink("nowhere", in(p, "a.pem", path)), 0);
    assert_error(p, load(p, NULL, p->dir, NULL), path, strerror(ENOENT));
}

static void damaged_file_in_a_directory_is_named(void **state)
{
    struct place *p = *state;
    char path[128];
    static const char text[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    write_text(in(p, "a.pem", path), text, sizeof text - 1);
    assert_error(p, load(p, NULL, p->dir, NULL), path, "damaged");
}

static void revocation_lists_are_read(void **state)
{
    struct place *p = *state;
    char path[128];
    gnutls_datum_t der = {0};
    gnutls_x509_crl_t crl = pki_crl(&p->a, &p->b, NOW, NOW + 1);
    pki_write_crl(in(p, "crl.pem", path), crl);
    struct trust *t = load(p, NULL, NULL, path);
    assert_non_null(t);
    assert_int_equal(t->n_crls, 1);
    trust_destroy(t);

    gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_DER, &der);
    gnutls_x509_crl_deinit(crl);
    write_text(path, der.data, der.size);
    gnutls_free(der.data);
    t = load(p, NULL, NULL, path);
    assert_non_null(t);
    assert_int_equal(t->n_crls, 1);
    trust_destroy(t);
}

static void certificate_is_no_revocation_list(void **state)
{
    struct place *p = *state;
    char path[128];
    const struct pki_cert *a[] = {&p->a, NULL};
    pki_write_certs(in(p, "ca.pem", path), a, false);
    assert_error(p, load(p, path, NULL, path), path, "no revocation list");
    assert_error(p, load(p, path, NULL, in(p, "none.crl", path)), path, strerror(ENOENT));
}

/* Of this machine; where it has none, that must be said. */
static void system_store_is_read_or_missed(void **state)
{
    struct place *p = *state;
    const struct trust_sources s = {.system = true};
    struct trust *t = trust_create(&s, p->error, sizeof p->error);
    if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) != 0) {
        trust_destroy(t);
        skip();
    }
    assert_non_null(t);
    assert_true(t->n_anchors > 10);
    trust_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(file_with_several_certificates_gives_all),
        T(file_in_der_gives_its_certificate),
        T(nothing_gives_trust_in_nobody),
        T(same_certificate_twice_is_one),
        T(file_that_is_missing_is_named),
        T(file_without_a_certificate_is_named),
        T(file_with_a_damaged_certificate_is_refused),
        T(directory_gives_every_pem_file),
        T(directory_without_certificates_is_an_error),
        T(dangling_link_in_a_directory_is_named),
        T(damaged_file_in_a_directory_is_named),
        T(revocation_lists_are_read),
        T(certificate_is_no_revocation_list),
        T(system_store_is_read_or_missed),
#undef T
    };
    return cmocka_run_group_tests_name("trust", tests, NULL, NULL);
}
