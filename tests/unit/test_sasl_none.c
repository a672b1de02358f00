/* SPDX-License-Identifier: ISC
 *
 * The program without GNU SASL: protocols/sasl-none.c is linked in its place.
 */
#include "tests/unit/unit.h"

#include "protocols/sasl.h"
#include "proxy/config.h"

static void hear(void *ctx, bool is_error, const char *sentence)
{
    char *told = ctx;
    if (is_error && told[0] == '\0')
        snprintf(told, 500, "%s", sentence);
}

static void login_is_an_error_that_says_so(void **state)
{
    static const char text[] =
        "[out]\nclient = yes\naccept = 127.0.0.1:1\nconnect = a.example.org:1\n"
        "protocol = smtp\nprotocolUsername = joe\nprotocolPassword = x\n";
    char told[500] = "";
    struct config c;
    (void)state;
    config_init(&c);
    c.complain = hear;
    c.complain_ctx = told;
    assert_false(sasl_is_built());
    assert_false(config_parse(&c, text, strlen(text), "c.conf") && config_check(&c));
    assert_string_equal(told, "c.conf:7: protocolPassword: this ehlock was built without GNU SASL "
                              "(meson: -Dsasl=enabled): leave it out");
    config_finish(&c);
}

int main(void)
{
    struct unit u = {0};
    unit_add(&u, "no login", login_is_an_error_that_says_so, NULL);
    return unit_run(&u, "sasl_none");
}
