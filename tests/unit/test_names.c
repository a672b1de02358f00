/* SPDX-License-Identifier: ISC
 *
 * Names as bytes, also such as no library would put into a certificate. Whole certificates are in
 * test_verify.c.
 */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "certs/names.h"

struct row {
    const char *name;
    struct bytes pattern;
    const char *host;
    bool want;
};

static const struct row rows[] = {
    {"same", B("mx.example.org"), "mx.example.org", true},
    {"other-case", B("MX.Example.org"), "mx.eXample.ORG", true},
    {"one-label", B("localhost"), "localhost", true},
    {"wildcard", B("*.example.org"), "mx.example.org", true},
    {"wildcard-and-an-international-label", B("*.example.org"), "xn--bcher-kva.example.org", true},
    {"wildcard-of-three-labels", B("*.mx.example.org"), "a.mx.example.org", true},

    {"empty-pattern", B(""), "mx.example.org", false},
    {"empty-pattern-and-host", B(""), "", false},
    {"shorter", B("mx.example.or"), "mx.example.org", false},
    {"longer", B("mx.example.orgs"), "mx.example.org", false},
    {"dot-behind", B("mx.example.org."), "mx.example.org", false},
    {"nul-behind", B("mx.example.org\0"), "mx.example.org", false},
    {"nul-and-more-behind", B("mx.example.org\0.evil.example"), "mx.example.org", false},
    {"nul-in-a-wildcard", B("*.example.org\0"), "mx.example.org", false},
    {"star", B("*"), "mx", false},
    {"star-and-dot", B("*."), "mx.", false},
    {"wildcard-of-a-top-domain", B("*.org"), "example.org", false},
    {"wildcard-of-a-top-domain-with-a-dot", B("*.org."), "example.org.", false},
    {"wildcard-before-an-empty-label", B("*..org"), "example..org", false},
    {"wildcard-for-no-label", B("*.example.org"), ".example.org", false},
    {"wildcard-for-two-labels", B("*.example.org"), "a.mx.example.org", false},
    {"wildcard-for-the-domain", B("*.example.org"), "example.org", false},
    {"wildcard-for-one-label", B("*.example.org"), "example", false},
    {"part-of-a-label-in-front", B("f*.example.org"), "foo.example.org", false},
    {"part-of-a-label-behind", B("*o.example.org"), "foo.example.org", false},
    {"star-that-stands-for-itself", B("f*.example.org"), "f*.example.org", false},
    {"second-label", B("mx.*.org"), "mx.example.org", false},
    {"two-stars", B("*.*.org"), "mx.example.org", false},
    {"two-stars-that-stand-for-themselves", B("*.*.org"), "mx.*.org", false},
};

static void pattern_fits(void **state)
{
    const struct row *r = *state;
    /* in a block of exactly that size, so that a sanitizer sees a byte read too many */
    char *copy = malloc(r->pattern.len > 0 ? r->pattern.len : 1);
    memcpy(copy, r->pattern.data, r->pattern.len);
    bool fits = names_pattern_fits(copy, r->pattern.len, r->host);
    free(copy);
    assert_int_equal(fits, r->want);
}

static void pattern_of_255_bytes_is_the_longest(void **state)
{
    (void)state;
    char name[257];
    memset(name, 'a', sizeof name);
    name[255] = '\0';
    assert_true(names_pattern_fits(name, 255, name));
    name[255] = 'a';
    name[256] = '\0';
    assert_false(names_pattern_fits(name, 256, name));
}

static void addresses_are_told_from_names(void **state)
{
    (void)state;
    static const char *const are[] = {
        "192.0.2.1",        "::",         "2001:db8::1",  "[2001:db8::1]", "[192.0.2.1]",
        "::ffff:192.0.2.1", "192.0.2.1.", "fe80::1%eth0", "[::1",          "::1]",
        "mx.example.org:25"};
    static const char *const are_not[] = {"",
                                          ".",
                                          "[",
                                          "[]",
                                          "mx.example.org",
                                          "192.0.2",
                                          "192.0.2.256",
                                          "1.2.3.4.example.org",
                                          "192.0.2.1.."};
    for (size_t i = 0; i < sizeof are / sizeof *are; i++)
        assert_true(names_is_address(are[i]));
    for (size_t i = 0; i < sizeof are_not / sizeof *are_not; i++)
        assert_false(names_is_address(are_not[i]));
}

int main(void)
{
    static struct unit u;
    UNIT_ADD_TABLE(&u, pattern_fits, rows);
    unit_add(&u, "pattern_of_255_bytes_is_the_longest", pattern_of_255_bytes_is_the_longest, NULL);
    unit_add(&u, "addresses_are_told_from_names", addresses_are_told_from_names, NULL);
    return unit_run(&u, "names");
}
