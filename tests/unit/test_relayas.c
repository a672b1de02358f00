/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "proxy/relayas.h"

#define LONG_64 "0123456789012345678901234567890123456789012345678901234567890123"

static const struct tls_certificates alice = {.peer_presented = true,
                                              .peer_sha256 = "aa11",
                                              .peer_spki_sha256 = "bb22",
                                              .peer_name = "alice.example.org",
                                              .peer_common_name = "alice",
                                              .peer_subject = "CN=alice,O=Example",
                                              .peer_issuer = "CN=Our CA"};

/* ---- reading ---- */

static const struct parse_case {
    const char *name, *text, *want; /* the name, NULL: it is no rule */
} parse_cases[] = {
    {"plain", "/a/ bob", "bob"},
    {"flags, tabs and blanks", "/a b/ix \t  bob", "bob"},
    {"blanks in the pattern", "/^subject:CN=A B$/ bob.b_c-d@e+f9", "bob.b_c-d@e+f9"},
    {"other delimiter", "!a/b! bob", "bob"},
    {"64 bytes", "/a/ " LONG_64, LONG_64},
    {"65 bytes", "/a/ x" LONG_64, NULL},
    {"no name", "/a/", NULL},
    {"no pattern", "bob", NULL},
    {"pattern without slashes", "a bob", NULL},
    {"bad pattern", "/(/ bob", NULL},
    {"bad flag", "/a/q bob", NULL},
    {"name that could end a command", "/a/ bob\r", NULL},
    {"name with '='", "/a/ a=b", NULL},
    {"blank behind the name", "/a/ bob ", NULL},
};

static void rule_is_read(void **state)
{
    const struct parse_case *c = *state;
    struct relay_list list = {0};
    char error[200] = "";
    assert_int_equal(relay_list_add(&list, c->text, error, sizeof error), c->want != NULL);
    assert_int_equal(list.count, c->want != NULL);
    if (c->want != NULL)
        assert_string_equal(list.items[0].name, c->want);
    else
        assert_true(error[0] != '\0');
    relay_list_finish(&list);
}

/* ---- finding ---- */

static const struct find_case {
    const char *name, *rules[3];
    const char *want; /* NULL: nobody */
} find_cases[] = {
    {"by certificate", {"/^sha256:aa11$/ x"}, "x"},
    {"by key", {"/^spki-sha256:bb22$/ x"}, "x"},
    {"key is not certificate", {"/^sha256:bb22$/ x"}, NULL},
    {"by subject", {"/^subject:CN=alice,O=Example$/ x"}, "x"},
    {"by issuer", {"/^issuer:CN=our ca$/ x"}, "x"},
    {"in the case that is written", {"/^issuer:CN=our ca$/i x"}, NULL},
    {"by name", {"/^name:alice\\.example\\.org$/ x"}, "x"},
    {"common name is none where there is another", {"/^name:alice$/ x"}, NULL},
    {"first match", {"/nobody/ x", "/alice/ y", "/alice/ z"}, "y"},
    {"no match", {"/bob/ x"}, NULL},
    {"no rules", {NULL}, NULL},
};

static const char *find(const char *const rules[3], const struct tls_certificates *c)
{
    static char found[RELAY_NAME_MAX + 1];
    struct relay_list list = {0};
    char error[200];
    for (size_t i = 0; i < 3 && rules[i] != NULL; i++)
        assert_true(relay_list_add(&list, rules[i], error, sizeof error));
    const char *name = relay_list_find(&list, c);
    if (name != NULL)
        snprintf(found, sizeof found, "%s", name);
    relay_list_finish(&list);
    return name != NULL ? found : NULL;
}

static void name_is_found(void **state)
{
    const struct find_case *c = *state;
    const char *name = find(c->rules, &alice);
    assert_int_equal(name != NULL, c->want != NULL);
    if (name != NULL)
        assert_string_equal(name, c->want);
}

/* What is not written in full could be somebody else's. */
static void text_that_is_not_whole_is_none(void **state)
{
    static const char *const any[3] = {"/^subject:/ x"};
    static const char *const cut[] = {"CN=J?rg", "CN=long...", "-", ""};
    struct tls_certificates c = alice;
    (void)state;
    assert_non_null(find(any, &c));
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        snprintf(c.peer_subject, sizeof c.peer_subject, "%s", cut[i]);
        assert_null(find(any, &c));
    }
}

static void nobody_without_a_certificate(void **state)
{
    static const char *const any[3] = {"/^/ x"};
    struct tls_certificates c = alice;
    (void)state;
    assert_non_null(find(any, &c));
    c.peer_presented = false;
    assert_null(find(any, &c));
}

/* A pattern that runs into its limit grants nothing. */
static void pattern_that_takes_too_long_grants_nothing(void **state)
{
    static const char *const slow[3] = {"/^subject:(a+)+$|^subject:(a|aa)+$/ x"};
    struct tls_certificates c = alice;
    (void)state;
    memset(c.peer_subject, 'a', 200);
    c.peer_subject[200] = 'b';
    c.peer_subject[201] = '\0';
    assert_null(find(slow, &c));
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, rule_is_read, parse_cases);
    UNIT_ADD_TABLE(&u, name_is_found, find_cases);
    unit_add(&u, "text that is not whole", text_that_is_not_whole_is_none, NULL);
    unit_add(&u, "no certificate", nobody_without_a_certificate, NULL);
    unit_add(&u, "slow pattern", pattern_that_takes_too_long_grants_nothing, NULL);
    return unit_run(&u, "relayas");
}
