/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "proxy/config.h"
#include "proxy/login.h"

struct told {
    char text[8][1500];
    size_t count;
};

static void hear(void *ctx, bool is_error, const char *sentence)
{
    struct told *t = ctx;
    if (is_error && t->count < 8)
        snprintf(t->text[t->count++], sizeof t->text[0], "%s", sentence);
}

static bool load(struct config *c, struct told *t, const char *text)
{
    config_init(c);
    *t = (struct told){.count = 0};
    c->complain = hear;
    c->complain_ctx = t;
    return config_parse(c, text, strlen(text), "c.conf") && config_check(c);
}

/* What follows is line 7. */
#define BARE                                                                                       \
    "[out]\nclient = yes\naccept = 127.0.0.1:1\nconnect = mail.example.org:587\nprotocol = smtp\n"
#define NAMED      BARE "protocolUsername = joe\n"
#define FILE_GIVEN NAMED "protocolPasswordFile = /f\n"

static const struct login_case {
    const char *name, *text, *want, *want_part; /* want NULL: it is good */
} login_cases[] = {
    {"password in a file", FILE_GIVEN, NULL, NULL},
    {"token", NAMED "protocolTokenFile = /f\nprotocolAuthentication = xoauth2, OAuthBearer\n", NULL,
     NULL},
    {"token of a program", NAMED "protocolTokenProgram = /p 'a b'\nexecUser = joe\n", NULL, NULL},
    {"program in quotes", NAMED "protocolTokenProgram = '/my programs/p' x\n", NULL, NULL},
    {"program without its path", NAMED "protocolTokenProgram = oama access joe\n",
     "c.conf:7: ", "protocolTokenProgram: write the program with its whole path"},
    {"program without a name", NAMED "protocolTokenProgram = '' /p\n", "c.conf:7: ", "whole path"},
    {"program with a variable", NAMED "protocolTokenProgram = /p ${TCPREMOTEIP}\n",
     "c.conf:7: ", "there is no ${TCPREMOTEIP}"},
    {"program with an open quote", NAMED "protocolTokenProgram = /p 'a\n",
     "c.conf:7: ", "without its partner"},
    {"program beside a file", NAMED "protocolTokenFile = /f\nprotocolTokenProgram = /p\n",
     "c.conf:8: ", "there is protocolTokenFile already"},
    {"program beside a password", FILE_GIVEN "protocolTokenProgram = /p\n",
     "c.conf:8: ", "there is protocolPasswordFile already"},
    {"program without protocolUsername", BARE "protocolTokenProgram = /p\n",
     "c.conf:6: ", "protocolTokenProgram means nothing without protocolUsername"},
    {"program and a mechanism for a password",
     NAMED "protocolTokenProgram = /p\nprotocolAuthentication = PLAIN\n",
     "c.conf:8: ", "PLAIN is for a password: write some of OAUTHBEARER"},
    {"program and a level that does not verify",
     NAMED "protocolTokenProgram = /p\ntlsLevel = encrypt\n",
     "c.conf:8: ", "tlsLevel = encrypt does not always"},
    {"user without a program", FILE_GIVEN "execUser = joe\n",
     "c.conf:8: ", "without exec = PROGRAM or protocolTokenProgram"},
    {"arguments of no backend", NAMED "protocolTokenProgram = /p\nexecArgs = p x\n",
     "c.conf:8: ", "execArgs means nothing without exec"},
    {"backend that is a program", NAMED "protocolTokenProgram = /p\nexec = /p\n",
     "c.conf:8: ", "client = yes needs a server"},
    {"service that offers TLS, and a program",
     "[in]\naccept = 127.0.0.1:1\nconnect = 2\nprotocol = smtp\n"
     "tlsLevel = none\nprotocolTokenProgram = /p\n",
     "c.conf:6: ", "protocolTokenProgram is for client = yes: leave it out of [in]"},
    {"password", NAMED "protocolPassword = two words\n", NULL, NULL},
    {"pin",
     FILE_GIVEN "verifyPeer = sha256:"
                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
     NULL, NULL},
    {"level encrypt", FILE_GIVEN "tlsLevel = encrypt\n",
     "c.conf:8: ", "write tlsLevel = secure, verify or fingerprint for mail.example.org:587"},
    {"level may", FILE_GIVEN "tlsLevel = may\n", "c.conf:8: ", "tlsLevel = may does not always"},
    {"level none", FILE_GIVEN "tlsLevel = none\n", "c.conf:8: ", "tlsLevel = none does not"},
    {"stunnel's level", FILE_GIVEN "verify = 0\n", "c.conf:1: ", "tlsLevel = encrypt does not"},
    {"level of a rule", FILE_GIVEN "tlsPolicy = /mail/ encrypt\n",
     "c.conf:8: ", "tlsLevel = encrypt does not always"},
    {"one of two destinations",
     FILE_GIVEN "connect = other.example.org:25\ntlsPolicy = /:25$/ may\n",
     "c.conf:9: ", "for other.example.org:25"},
    {"no protocol",
     "[o]\nclient = yes\naccept = 127.0.0.1:1\nconnect = a.example.org:1\n"
     "protocolUsername = joe\nprotocolPasswordFile = /f\n",
     "c.conf:5: ", "needs protocol = smtp or lmtp"},
    {"no secret", NAMED, "c.conf:6: ", "needs protocolPasswordFile = FILE, or protocolTokenFile"},
    {"no name", BARE "protocolPasswordFile = /f\n", "c.conf:6: ", "without protocolUsername"},
    {"mechanism without a name", BARE "protocolAuthentication = PLAIN\n",
     "c.conf:6: ", "protocolAuthentication means nothing without protocolUsername"},
    {"two secrets", FILE_GIVEN "protocolTokenFile = /g\n",
     "c.conf:8: ", "there is protocolPasswordFile already"},
    {"two passwords", FILE_GIVEN "protocolPassword = x\n", "c.conf:8: ", "one secret is enough"},
    {"placeholder", NAMED "protocolPassword = (hidden)\n",
     "c.conf:7: ", "what --show-config prints"},
    {"unknown mechanism", FILE_GIVEN "protocolAuthentication = PLAIN ntlm\n",
     "c.conf:8: ", "\"ntlm\" is not known here: write some of SCRAM-SHA-256"},
    {"basic, of HTTP", FILE_GIVEN "protocolAuthentication = basic\n",
     "c.conf:8: ", "not known here"},
    {"mechanism for a token", FILE_GIVEN "protocolAuthentication = XOAUTH2\n",
     "c.conf:8: ", "XOAUTH2 is for a token"},
    {"mechanism for a password", NAMED "protocolTokenFile = /f\nprotocolAuthentication = PLAIN\n",
     "c.conf:8: ", "PLAIN is for a password: write some of OAUTHBEARER"},
    {"AUTH in clear", FILE_GIVEN "authBeforeTls = yes\n",
     "c.conf:8: ", "authBeforeTls means nothing with protocolUsername"},
    {"control character", BARE "protocolUsername = a\tb\nprotocolPasswordFile = /f\n",
     "c.conf:6: ", "protocolUsername has control characters"},
    {"service that offers TLS",
     "[in]\naccept = 127.0.0.1:1\nconnect = 2\nprotocol = smtp\n"
     "tlsLevel = none\nprotocolUsername = joe\n",
     "c.conf:6: ", "protocolUsername is for client = yes: leave it out of [in]"},
    {"section of certificates",
     "[in]\naccept = 127.0.0.1:1\nconnect = 2\nprotocol = smtp\ntlsLevel = none\n"
     "[more]\nsni = in:*.example.org\ncert = /c\nprotocolPassword = x\n",
     "c.conf:9: ", "protocolPassword is for client = yes: leave it out of [more]"},
    {"before the sections",
     "protocolPassword = x\n[in]\naccept = 127.0.0.1:1\nconnect = 2\n"
     "protocol = smtp\ntlsLevel = none\n",
     "c.conf:1: ", "protocolPassword is for client = yes"},
};

static bool is_told(const struct told *t, const struct login_case *want)
{
    for (size_t i = 0; i < t->count; i++)
        if (strncmp(t->text[i], want->want, strlen(want->want)) == 0 &&
            strstr(t->text[i], want->want_part) != NULL)
            return true;
    return false;
}

static void options_are_checked(void **state)
{
    const struct login_case *want = *state;
    struct config c;
    struct told t;
    bool good = load(&c, &t, want->text);
    assert_int_equal(good, want->want == NULL);
    if (want->want != NULL && !is_told(&t, want))
        fail_msg("%s", t.text[0]);
    config_finish(&c);
}

/* Exactly the limits, and one more. */
static void name_and_password_have_their_limits(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        char text[2000], name[SASL_USERNAME_MAX + 2] = {0}, password[SASL_PASSWORD_MAX + 2] = {0};
        struct config c;
        struct told t;
        memset(name, 'n', SASL_USERNAME_MAX + (size_t)over);
        memset(password, 'p', SASL_PASSWORD_MAX + (size_t)over);
        snprintf(text, sizeof text, BARE "protocolUsername = %s\nprotocolPassword = %s\n", name,
                 password);
        assert_int_equal(load(&c, &t, text), !over);
        assert_int_equal(t.count, over ? 2 : 0);
        config_finish(&c);
    }
}

static void password_does_not_stay_in_the_configuration(void **state)
{
    static const char text[] = "protocolPassword = sesame\nprotocolUsername = joe\n" BARE
                               "[other]\nclient = yes\naccept = 127.0.0.1:2\n"
                               "connect = a.example.org:1\nprotocol = smtp\n";
    struct config c;
    struct told t;
    struct login *login;
    char error[200];
    (void)state;
    assert_true(load(&c, &t, text));
    assert_string_equal(c.defaults.login_password, "");
    for (size_t i = 0; i < c.n_services; i++) {
        assert_string_equal(c.services[i].login_password, "");
        assert_true(login_read(&c, &c.services[i], &login, error, sizeof error));
        assert_string_equal(login->words.secret, "sesame");
        login_destroy(login);
    }
    config_finish(&c);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, options_are_checked, login_cases);
    unit_add(&u, "limits", name_and_password_have_their_limits, NULL);
    unit_add(&u, "password is moved", password_does_not_stay_in_the_configuration, NULL);
    return unit_run(&u, "login");
}
