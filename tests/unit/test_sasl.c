/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "protocols/sasl.h"

static struct sasl_login login_by(const char *mechanisms, bool is_token)
{
    char error[256];
    return (struct sasl_login){.username = "joe",
                               .secret = "secret",
                               .is_token = is_token,
                               .mechanisms = mechanisms,
                               .library = sasl_library_create(error, sizeof error)};
}

/* ---- choosing ---- */

static const struct choice_case {
    const char *name, *wanted, *offered;
    bool by_token;
    const char *want; /* NULL: none */
} choice_cases[] = {
    {"the most wanted, not the first offered", "PLAIN LOGIN", "LOGIN PLAIN", false, "PLAIN"},
    {"any case", "plain", "Plain", false, "PLAIN"},
    {"the next that is offered", "SCRAM-SHA-256 CRAM-MD5", "PLAIN CRAM-MD5", false, "CRAM-MD5"},
    {"nothing is offered", "PLAIN", "", false, NULL},
    {"blanks only", "PLAIN", " \t ", false, NULL},
    {"none that is wanted", "CRAM-MD5", "PLAIN LOGIN", false, NULL},
    {"longer name", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", false, NULL},
    {"shorter name", "SCRAM-SHA-256", "SCRAM-SHA-25", false, NULL},
    {"a token is no password", "XOAUTH2 PLAIN", "PLAIN XOAUTH2", true, "XOAUTH2"},
    {"a password is no token", "XOAUTH2 PLAIN", "XOAUTH2", false, NULL},
    {"more blanks", "  PLAIN  ", "  LOGIN\t PLAIN ", false, "PLAIN"},
};

static void mechanism_is_chosen(void **state)
{
    const struct choice_case *c = *state;
    const struct sasl_login login = {.mechanisms = c->wanted, .is_token = c->by_token};
    const char *got = sasl_choose(&login, c->offered, strlen(c->offered));
    if (c->want == NULL)
        assert_null(got);
    else
        assert_string_equal(got, c->want);
}

static void every_mechanism_of_the_lists_is_known(void **state)
{
    (void)state;
    for (int tokens = 0; tokens <= 1; tokens++) {
        const char *word = sasl_mechanisms(tokens);
        bool for_tokens;
        while (*word != '\0') {
            size_t len = strcspn(word, " ");
            assert_non_null(sasl_find(word, len, &for_tokens));
            assert_int_equal(for_tokens, tokens);
            word += len + strspn(word + len, " ");
        }
    }
}

/* ---- what is said ---- */

static const struct said_case {
    const char *name, *mechanism, *username, *secret;
    const char *want; /* in base64; NULL: nothing can be */
} said_cases[] = {
    /* RFC 4616 §4, the first example */
    {"PLAIN", "PLAIN", "tim", "tanstaaftanstaaf", "AHRpbQB0YW5zdGFhZnRhbnN0YWFm"},
    /* "n,a=user@example.com,^Aauth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==^A^A": RFC
     * 7628 §4.1, without host and port */
    {"OAUTHBEARER", "OAUTHBEARER", "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
     "bixhPXVzZXJAZXhhbXBsZS5jb20sAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZ"
     "Mjl0Q2c9PQEB"},
    /* "n,a==2C=3D,^Aauth=Bearer t^A^A" */
    {"what ends a name", "OAUTHBEARER", ",=", "t", "bixhPT0yQz0zRCwBYXV0aD1CZWFyZXIgdAEB"},
    /* "user=,=^Aauth=Bearer t^A^A" */
    {"what ends no name", "XOAUTH2", ",=", "t", "dXNlcj0sPQFhdXRoPUJlYXJlciB0AQE="},
    {"no UTF-8 for SCRAM", "SCRAM-SHA-256", "\xff", "secret", NULL},
};

static void first_response_is_as_in_the_rfc(void **state)
{
    const struct said_case *c = *state;
    struct sasl_login login = login_by(c->mechanism, strstr(c->mechanism, "OAUTH") != NULL);
    const char *why = NULL;
    login.username = c->username;
    login.secret = c->secret;
    struct sasl *s = sasl_begin(&login, c->mechanism);
    assert_true(sasl_client_begins(s));
    const char *got = sasl_first(s, &why);
    if (c->want == NULL) {
        assert_null(got);
        assert_non_null(why);
    } else {
        assert_string_equal(got, c->want);
        assert_true(sasl_is_complete(s));
    }
    sasl_end(s);
    sasl_library_destroy(login.library);
}

/* The longest name, which is written threefold, and the longest token. */
static void longest_token_fits_into_a_line(void **state)
{
    char name[SASL_USERNAME_MAX + 1] = {0}, token[SASL_TOKEN_MAX + 1] = {0};
    struct sasl_login login = login_by("", true);
    const char *why, *said;
    (void)state;
    memset(name, '=', SASL_USERNAME_MAX);
    memset(token, 't', SASL_TOKEN_MAX);
    login.username = name;
    login.secret = token;
    struct sasl *s = sasl_begin(&login, "OAUTHBEARER");
    assert_non_null(said = sasl_first(s, &why));
    assert_true(strlen(said) > 11900 && strlen(said) <= SASL_LINE_MAX - 2);
    assert_non_null(sasl_respond(s, "e30=", 4, &why)); /* and the excuse behind it */
    sasl_end(s);
    sasl_library_destroy(login.library);
}

/* ---- SCRAM ---- */

static char *base64(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(text), n = 0;
    char *out = malloc(4 * len + 5);
    for (size_t i = 0; i < len; i += 3) {
        unsigned long v = (unsigned long)(unsigned char)text[i] << 16;
        v |= i + 1 < len ? (unsigned long)(unsigned char)text[i + 1] << 8 : 0;
        v |= i + 2 < len ? (unsigned long)(unsigned char)text[i + 2] : 0;
        out[n++] = digits[v >> 18];
        out[n++] = digits[v >> 12 & 63];
        out[n++] = i + 1 < len ? digits[v >> 6 & 63] : '=';
        out[n++] = i + 2 < len ? digits[v & 63] : '=';
    }
    out[n] = '\0';
    return out;
}

/* The nonce of "n,,n=joe,r=NONCE" in base64: 12 bytes in front of it are 16 of base64. */
static void read_nonce(const char *first, char *out, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[200];
    size_t n = 0;
    for (; *first != '\0' && *first != '='; first += 4) {
        unsigned long v = 0;
        for (int i = 0; i < 4; i++) {
            const char *digit = first[i] != '=' ? strchr(digits, first[i]) : digits;
            v = v << 6 | (unsigned long)(digit - digits);
        }
        text[n++] = (char)(v >> 16);
        text[n++] = (char)(v >> 8 & 255);
        text[n++] = (char)(v & 255);
    }
    text[n] = '\0';
    assert_memory_equal(text, "n,,n=joe,r=", 11);
    snprintf(out, size, "%.99s", text + 11);
}

static const struct scram_case {
    const char *name, *rest; /* of the server's first message, behind its nonce */
    bool takes;
    const char *why;
} scram_cases[] = {
    {"a count", ",s=QUJD,i=4096", true, NULL},
    {"a million", ",s=QUJD,i=1000000", true, NULL},
    {"more than a million", ",s=QUJD,i=1000001", false, "more often than is sensible"},
    {"a count that overflows", ",s=QUJD,i=18446744073709551617", false, "more often"},
    {"another count in front", ",i=99999999,s=QUJD,i=1", false, "more often"},
    {"no count", ",s=QUJD", false, "that the mechanism does not have"},
    {"no salt", ",i=4096", false, "that the mechanism does not have"},
    {"count of none", ",s=QUJD,i=", false, "that the mechanism does not have"},
};

static void scram_challenge_is_judged(void **state)
{
    const struct scram_case *c = *state;
    const struct sasl_login login = login_by("SCRAM-SHA-256", false);
    char nonce[100], text[300];
    const char *why;
    struct sasl *s = sasl_begin(&login, "SCRAM-SHA-256");
    read_nonce(sasl_first(s, &why), nonce, sizeof nonce);
    snprintf(text, sizeof text, "r=%sserver%s", nonce, c->rest);
    char *challenge = base64(text);
    const char *response = sasl_respond(s, challenge, strlen(challenge), &why);
    assert_int_equal(response != NULL, c->takes);
    if (c->why != NULL)
        assert_non_null(strstr(why, c->why));
    assert_false(sasl_is_complete(s));
    free(challenge);
    sasl_end(s);
    sasl_library_destroy(login.library);
}

/* ---- what is repeated ---- */

static const struct repeated_case {
    const char *name, *secret, *text;
    bool want;
} repeated_cases[] = {
    {"nothing", "open sesame", "535 5.7.8 Authentication failed", false},
    {"the secret", "open sesame", "535 open sesame is wrong", true},
    {"six bytes of it", "open sesame", "535 x sesamx sesame", true},
    {"five bytes of it", "open sesame", "535 -sesam seed", false},
    {"a short secret", "abc", "535 xabcx", true},
    {"less than a short secret", "abc", "535 ab c", false},
    {"what was said, cut off", "open sesame", "501 AUTH PLAIN AGpvZQ", true},
    {"the end of it", "open sesame", "501 ...c2FtZQ==", true},
};

static void repetition_is_noticed(void **state)
{
    const struct repeated_case *c = *state;
    struct sasl_login login = login_by("PLAIN", false);
    const char *why;
    login.secret = c->secret;
    struct sasl *s = sasl_begin(&login, "PLAIN");
    assert_non_null(sasl_first(s, &why)); /* AGpvZQBvcGVuIHNlc2FtZQ== for the long one */
    assert_int_equal(sasl_is_repeated(s, c->text, strlen(c->text)), c->want);
    sasl_end(s);
    sasl_library_destroy(login.library);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, mechanism_is_chosen, choice_cases);
    unit_add(&u, "lists", every_mechanism_of_the_lists_is_known, NULL);
    UNIT_ADD_TABLE(&u, first_response_is_as_in_the_rfc, said_cases);
    unit_add(&u, "longest token", longest_token_fits_into_a_line, NULL);
    UNIT_ADD_TABLE(&u, scram_challenge_is_judged, scram_cases);
    UNIT_ADD_TABLE(&u, repetition_is_noticed, repeated_cases);
    return unit_run(&u, "sasl");
}
