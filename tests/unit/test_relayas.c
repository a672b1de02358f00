/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "proxy/relayas.h"

#define LONG_64 "0123456789012345678901234567890123456789012345678901234567890123"

/* A certificate of three names, the common name being a fourth. */
static const struct tls_certificates alice = {
    .peer_presented = true,
    .peer_sha256 = "aa11",
    .peer_spki_sha256 = "bb22",
    .peer_names = {"alice.example.org", "alice@example.org", "192.0.2.7", "https://a.example/"},
    .n_peer_names = 4,
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
    {"by DNS name", {"/^name:alice\\.example\\.org$/ x"}, "x"},
    {"by e-mail address", {"/^name:alice@example\\.org$/ x"}, "x"},
    {"by IP address", {"/^name:192\\.0\\.2\\.7$/ x"}, "x"},
    {"by URI", {"!^name:https://a\\.example/$! x"}, "x"},
    {"first rule, not first name", {"/^name:https/ x", "/^name:alice\\./ y"}, "x"},
    {"first rule, not first kind", {"/^name:192/ x", "/^sha256:aa11$/ y"}, "x"},
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
    struct cert_keys keys;
    cert_keys_set(&keys, c);
    const struct relay_rule *rule = relay_list_find(&list, &keys);
    const char *name = rule != NULL ? rule->name : NULL;
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

/* What cannot be written does not keep the others from being looked at. */
static void one_name_that_is_not_whole_is_passed_over(void **state)
{
    static const char *const any[3] = {"/^name:/ x"}, *const last[3] = {"!^name:https://! x"};
    struct tls_certificates c = alice;
    (void)state;
    for (size_t i = 0; i < 3; i++)
        snprintf(c.peer_names[i], sizeof c.peer_names[i], "%s", i == 0 ? "?" : "b?d");
    assert_string_equal(find(last, &c), "x");
    c.n_peer_names = 3;
    assert_null(find(any, &c));
}

static void as_many_names_as_there_is_room_for(void **state)
{
    static const char *const last[3] = {"/^name:n63$/ x"};
    struct tls_certificates c = alice;
    (void)state;
    for (size_t i = 0; i < TLS_PEER_NAMES_MAX; i++)
        snprintf(c.peer_names[i], sizeof c.peer_names[i], "n%zu", i);
    c.n_peer_names = TLS_PEER_NAMES_MAX;
    assert_string_equal(find(last, &c), "x");
}

/* 255 bytes are all of it, and their key has room. */
static void longest_text_is_whole(void **state)
{
    static const char *const any[3] = {"/^subject:a+b$/ x"};
    struct tls_certificates c = alice;
    (void)state;
    memset(c.peer_subject, 'a', 254);
    c.peer_subject[254] = 'b';
    c.peer_subject[255] = '\0';
    assert_string_equal(find(any, &c), "x");
}

/* ---- keys in a text ---- */

static void key_is_read(void **state)
{
    struct cert_keys keys;
    (void)state;
    cert_keys_set_text(&keys, "name:alice");
    assert_int_equal(keys.count, 1);
    assert_string_equal(keys.items[0].text, "name:alice");
    assert_true(keys.items[0].whole);
    cert_keys_set_text(&keys, "subject:CN=J?rg");
    assert_false(keys.items[0].whole);
}

static void what_is_no_key_is_none(void **state)
{
    static const char *const texts[] = {"", "name", "NAME:x", "helo:x", " name:x", "sha1:00"};
    struct cert_keys keys;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_false(cert_key_is_one(texts[i]));
        cert_keys_set_text(&keys, texts[i]);
        assert_int_equal(keys.count, 0);
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
    unit_add(&u, "one name that is not whole", one_name_that_is_not_whole_is_passed_over, NULL);
    unit_add(&u, "all names", as_many_names_as_there_is_room_for, NULL);
    unit_add(&u, "longest text", longest_text_is_whole, NULL);
    unit_add(&u, "key", key_is_read, NULL);
    unit_add(&u, "no key", what_is_no_key_is_none, NULL);
    unit_add(&u, "no certificate", nobody_without_a_certificate, NULL);
    unit_add(&u, "slow pattern", pattern_that_takes_too_long_grants_nothing, NULL);
    return unit_run(&u, "relayas");
}
