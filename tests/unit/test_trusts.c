/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

#include "certs/trust.h"
#include "proxy/trusts.h"
#include "tests/unit/pki.h"

static const time_t NOW = 1800000000;

struct shop {
    char a[32], b[32], error[256]; /* files with an authority each */
    struct trusts *trusts;
};

static void write_authority(char path[32], const char *name)
{
    struct pki_cert c = pki_issue(&(struct pki_spec){.cn = name, .ca = true}, NULL, NOW);
    const struct pki_cert *alone[] = {&c, NULL};
    snprintf(path, 32, "/tmp/ehlock-trusts-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    pki_write_certs(path, alone, false);
    pki_free(&c);
}

static int set_up(void **state)
{
    struct shop *s = calloc(1, sizeof *s);
    write_authority(s->a, "A");
    write_authority(s->b, "B");
    s->trusts = trusts_create();
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct shop *s = *state;
    trusts_destroy(s->trusts);
    unlink(s->a);
    unlink(s->b);
    free(s);
    return 0;
}

static const struct trust *find(struct shop *s, const char *ca_file)
{
    return trusts_find(s->trusts, ca_file, NULL, NULL, false, s->error, sizeof s->error);
}

static void same_file_is_read_once(void **state)
{
    struct shop *s = *state;
    const struct trust *first = find(s, s->a);
    char again[32];
    snprintf(again, sizeof again, "%s", s->a);
    assert_non_null(first);
    assert_int_equal(unlink(s->a), 0);
    assert_ptr_equal(find(s, again), first);
}

static void others_are_others(void **state)
{
    struct shop *s = *state;
    const struct trust *a = find(s, s->a), *b = find(s, s->b), *nobody = find(s, NULL);
    const struct trust *dir =
        trusts_find(s->trusts, s->a, "/no/such/directory", NULL, false, s->error, sizeof s->error);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(nobody);
    assert_ptr_not_equal(a, b);
    assert_ptr_not_equal(a, nobody);
    assert_int_equal(nobody->n_anchors, 0);
    assert_null(dir);
    assert_non_null(strstr(s->error, "/no/such/directory"));
    assert_ptr_equal(find(s, s->b), b);
}

static void failure_is_not_remembered(void **state)
{
    struct shop *s = *state;
    char path[32];
    snprintf(path, sizeof path, "%s", s->a);
    assert_int_equal(unlink(path), 0);
    assert_null(find(s, path));
    assert_non_null(strstr(s->error, path));
    write_authority(s->a, "A");
    assert_int_equal(rename(s->a, path), 0);
    snprintf(s->a, sizeof s->a, "%s", path);
    const struct trust *t = find(s, path);
    assert_non_null(t);
    assert_int_equal(t->n_anchors, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(same_file_is_read_once),
        T(others_are_others),
        T(failure_is_not_remembered),
#undef T
    };
    return cmocka_run_group_tests_name("trusts", tests, NULL, NULL);
}
