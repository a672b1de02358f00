/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "proxy/oneshot.h"

#define REST "connect = 1\ntlsLevel = none\nprotocol = smtp\n"
#define ONE  "[smtp]\naccept = 25\n" REST
#define TWO  ONE "[submission]\naccept = 127.0.0.1:587\naccept = /run/submission\n" REST
#define SNI  ONE "[other]\nsni = smtp:*.example.org\ncert = /c\n"
#define BARE "[a]\n" REST "[b]\n" REST

static const struct choice_case {
    const char *name;
    struct bytes text;
    const char *service;
    const char *local, *port; /* where the client came to; NULL: at /run/submission */
    const char *want;         /* NULL: none */
    const char *want_error;
} choice_cases[] = {
    {"only service", B(ONE), NULL, "127.0.0.1", "9999", "smtp", NULL},
    {"only service beside certificates", B(SNI), NULL, "127.0.0.1", "9999", "smtp", NULL},
    {"service with the port", B(TWO), NULL, "127.0.0.1", "587", "submission", NULL},
    {"service with the port on IPv6", B(TWO), NULL, "::1", "25", "smtp", NULL},
    {"service with the path", B(TWO), NULL, NULL, NULL, "submission", NULL},
    {"named service", B(TWO), "submission", "127.0.0.1", "25", "submission", NULL},
    {"name in upper case", B(TWO), "SMTP", "127.0.0.1", "587", "smtp", NULL},
    {"several, none with the port", B(TWO), NULL, "127.0.0.1", "26", NULL, "no service"},
    {"several with the port", B(ONE "[x]\naccept = 192.0.2.1:25\n" REST), NULL, "192.0.2.1", "25",
     NULL, "more than one"},
    {"several without accept", B(BARE), NULL, "127.0.0.1", "25", NULL, "no service"},
    {"name that is not there", B(TWO), "smt", "127.0.0.1", "25", NULL, "[smt]"},
    {"name of certificates", B(SNI), "other", "127.0.0.1", "25", NULL, "[other]"},
};

static void swallow(void *ctx, bool is_error, const char *sentence)
{
    (void)ctx;
    (void)is_error;
    (void)sentence;
}

static void service_is_chosen(void **state)
{
    const struct choice_case *c = *state;
    struct config config;
    struct address local;
    char error[256] = "";
    if (c->local != NULL)
        assert_true(oneshot_ucspi_address(c->local, c->port, &local));
    else
        assert_int_equal(address_resolve("/run/submission", true, &local, 1, error, sizeof error),
                         1);
    config_init(&config);
    config.complain = swallow;
    assert_true(config_parse(&config, c->text.data, c->text.len, "test"));
    const struct service *got = oneshot_choose(&config, c->service, &local, error, sizeof error);
    if (c->want == NULL) {
        assert_null(got);
        assert_non_null(strstr(error, c->want_error));
    } else {
        assert_non_null(got);
        assert_string_equal(got->name, c->want);
    }
    config_finish(&config);
}

static const struct ucspi_case {
    const char *name, *ip, *port, *want; /* NULL: not usable */
} ucspi_cases[] = {
    {"IPv4", "192.0.2.1", "4711", "192.0.2.1:4711"},
    {"IPv6", "2001:db8::1", "4711", "[2001:db8::1]:4711"},
    {"largest port", "192.0.2.1", "65535", "192.0.2.1:65535"},
    {"no port", "192.0.2.1", NULL, "192.0.2.1:0"},
    {"no address", NULL, "4711", NULL},
    {"nothing", NULL, NULL, NULL},
    {"empty address", "", "4711", NULL},
    {"host name", "mail.example.org", "4711", NULL},
    {"port too large", "192.0.2.1", "65536", NULL},
    {"port far too large", "192.0.2.1", "18446744073709551617", NULL},
    {"negative port", "192.0.2.1", "-1", NULL},
    {"empty port", "192.0.2.1", "", NULL},
    {"letters behind the port", "192.0.2.1", "25x", NULL},
};

static void ucspi_environment_is_understood(void **state)
{
    const struct ucspi_case *c = *state;
    struct address got;
    assert_int_equal(oneshot_ucspi_address(c->ip, c->port, &got), c->want != NULL);
    if (c->want != NULL)
        assert_string_equal(got.text, c->want);
}

int main(void)
{
    static struct unit u;
    UNIT_ADD_TABLE(&u, service_is_chosen, choice_cases);
    UNIT_ADD_TABLE(&u, ucspi_environment_is_understood, ucspi_cases);
    return unit_run(&u, "oneshot");
}
