/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "certs/keeper.h"

enum { CONTEXT = 64, HASH = 64 + 34, RANDOMS = 64 };

/* RFC 8446 §4.4.3, with a hash of `hash` bytes. Returns the length. */
static size_t certificate_verify(unsigned char *out, const char *who, size_t hash)
{
    memset(out, ' ', CONTEXT);
    size_t n =
        CONTEXT + (size_t)sprintf((char *)out + CONTEXT, "TLS 1.3, %s CertificateVerify", who);
    out[n++] = '\0';
    memset(out + n, 0xaa, hash);
    return n + hash;
}

/* RFC 8422 §5.4: both randoms, named curve, a point of `point` bytes. */
static size_t key_exchange(unsigned char *out, size_t point)
{
    memset(out, 0x5a, RANDOMS);
    out[RANDOMS] = 3;
    out[RANDOMS + 1] = 0;
    out[RANDOMS + 2] = 29; /* x25519 */
    out[RANDOMS + 3] = (unsigned char)point;
    memset(out + RANDOMS + 4, 0x77, point);
    return RANDOMS + 4 + point;
}

/* In a block of exactly that size, so that a sanitizer sees every byte read too many. */
static bool may_sign(const unsigned char *text, size_t len)
{
    unsigned char *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, text, len);
    bool may = keeper_may_sign(copy, len);
    free(copy);
    return may;
}

static void what_a_tls13_server_signs_is_signed(void **state)
{
    (void)state;
    unsigned char text[512];
    assert_true(may_sign(text, certificate_verify(text, "server", 32)));
    assert_true(may_sign(text, certificate_verify(text, "server", 48)));
}

static void no_other_length_of_hash_is_signed(void **state)
{
    (void)state;
    unsigned char text[512];
    for (size_t hash = 0; hash <= 128; hash++)
        assert_int_equal(may_sign(text, certificate_verify(text, "server", hash)),
                         hash == 32 || hash == 48);
}

static void what_a_client_signs_is_not(void **state)
{
    (void)state;
    unsigned char text[512];
    assert_false(may_sign(text, certificate_verify(text, "client", 32)));
}

static void key_of_a_client_signs_what_a_client_signs(void **state)
{
    (void)state;
    unsigned char text[512];
    for (size_t hash = 0; hash <= 128; hash++)
        assert_int_equal(keeper_may_sign_as_client(text, certificate_verify(text, "client", hash)),
                         hash == 32 || hash == 48);
    assert_false(keeper_may_sign_as_client(text, certificate_verify(text, "server", 32)));
    assert_false(keeper_may_sign_as_client(text, key_exchange(text, 32)));
}

/* Any one byte of the context or of the blanks changed: not a CertificateVerify. */
static void every_byte_before_the_hash_counts(void **state)
{
    (void)state;
    unsigned char text[512];
    size_t len = certificate_verify(text, "server", 32);
    for (size_t i = 0; i < HASH; i++) {
        text[i] ^= 0x40;
        assert_false(may_sign(text, len));
        text[i] ^= 0x40;
    }
    assert_true(may_sign(text, len));
    text[len - 1] ^= 0x40; /* the hash itself may be anything */
    assert_true(may_sign(text, len));
}

static void what_a_tls12_server_signs_is_signed(void **state)
{
    (void)state;
    unsigned char text[512];
    assert_true(may_sign(text, key_exchange(text, 32)));  /* x25519 */
    assert_true(may_sign(text, key_exchange(text, 65)));  /* P-256 */
    assert_true(may_sign(text, key_exchange(text, 133))); /* P-521 */
}

static void key_exchange_of_another_form_is_not(void **state)
{
    (void)state;
    unsigned char text[512];
    size_t len = key_exchange(text, 32);
    assert_false(may_sign(text, len - 1));
    assert_false(may_sign(text, len + 1));
    assert_false(may_sign(text, key_exchange(text, 0)));
    len = key_exchange(text, 32);
    for (unsigned curve_type = 0; curve_type < 256; curve_type++) {
        text[RANDOMS] = (unsigned char)curve_type;
        assert_int_equal(may_sign(text, len), curve_type == 3);
    }
}

static void short_texts_are_not_signed(void **state)
{
    (void)state;
    unsigned char text[512];
    size_t len = certificate_verify(text, "server", 32);
    for (size_t n = 0; n < len; n++)
        assert_false(may_sign(text, n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_tls13_server_signs_is_signed),
        cmocka_unit_test(no_other_length_of_hash_is_signed),
        cmocka_unit_test(what_a_client_signs_is_not),
        cmocka_unit_test(key_of_a_client_signs_what_a_client_signs),
        cmocka_unit_test(every_byte_before_the_hash_counts),
        cmocka_unit_test(what_a_tls12_server_signs_is_signed),
        cmocka_unit_test(key_exchange_of_another_form_is_not),
        cmocka_unit_test(short_texts_are_not_signed),
    };
    return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
