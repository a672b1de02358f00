/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/config.h"
#include "proxy/via.h"

struct told {
    char text[8][1500];
    size_t count;
};

static void hear(void *ctx, bool is_error, const char *sentence)
{
    struct told *t = ctx;
    (void)is_error;
    assert_true(t->count < 8);
    snprintf(t->text[t->count++], sizeof t->text[0], "%s", sentence);
}

static bool load(struct config *c, struct told *t, const char *text)
{
    config_init(c);
    *t = (struct told){.count = 0};
    c->complain = hear;
    c->complain_ctx = t;
    return config_parse(c, text, strlen(text), "test.conf") && config_check(c);
}

/* What follows is line 4. */
#define HEAD  "[out]\naccept = 127.0.0.1:2525\nclient = yes\n"
#define GOOD  HEAD "connect = mx.example:25\n" /* 5 */
#define HTTP  GOOD "via = http://proxy.example:3128\n"
#define SOCKS GOOD "via = socks5://proxy.example:1080\n" /* what follows is line 6 */

static const struct config_case {
    const char *name, *text;
    const char *want; /* the first complaint; NULL: there is none */
} config_cases[] = {
    {"HTTP", HTTP, NULL},
    {"SOCKS", SOCKS, NULL},
    {"any case", GOOD "via = HTTP://Proxy.Example:3128\n", NULL},
    {"curl's word", GOOD "via = socks5h://proxy.example:1080\n", NULL},
    {"slash at the end", GOOD "via = http://proxy.example:3128/\n", NULL},
    {"IPv4", GOOD "via = socks5://192.0.2.1:1080\n", NULL},
    {"IPv6", GOOD "via = socks5://[2001:db8::1]:1080\n", NULL},
    {"name of a port", GOOD "via = socks5://proxy.example:socks\n", NULL},
    {"login", SOCKS "viaUsername = bob\nviaPasswordFile = /nonexistent\n", NULL},
    {"user with a colon", SOCKS "viaUsername = b:ob\nviaPasswordFile = /nonexistent\n", NULL},
    {"servers of all kinds",
     HTTP "connect = 192.0.2.1:25\nconnect = [2001:db8::1]:25\nconnect = 2001:db8::1:25\n"
          "connect = _a-b.example:smtp\ncheckHost = a\n",
     NULL},
    {"at a server",
     "[in]\naccept = 127.0.0.1:25\ncert = /nonexistent\nconnect = mx.example:25\n"
     "protocol = smtp\nvia = http://proxy.example:1\n",
     NULL},
    {"identity in a header",
     "[in]\naccept = 25\ncert = /nonexistent\nconnect = mx.example:25\n"
     "protocol = smtp\nvia = http://proxy.example:1\nidentity = proxy\n",
     NULL},

    {"no scheme", GOOD "via = proxy.example:3128\n",
     "test.conf:5: via: write http://HOST:PORT or socks5://HOST:PORT"},
    {"https", GOOD "via = https://proxy.example:3128\n", "test.conf:5: via: write http://"},
    {"socks4", GOOD "via = socks4://proxy.example:1080\n", "test.conf:5: via: write http://"},
    {"no port", GOOD "via = http://proxy.example\n", "behind the two slashes"},
    {"no host", GOOD "via = http://3128\n", "behind the two slashes"},
    {"no host, a colon", GOOD "via = http://:3128\n", "behind the two slashes"},
    {"nothing", GOOD "via = http://\n", "behind the two slashes"},
    {"port 0", GOOD "via = http://proxy.example:0\n", "behind the two slashes"},
    {"path", GOOD "via = http://proxy.example:3128/x\n", "write http://"},
    {"two slashes", GOOD "via = http://proxy.example:3128//\n", "write http://"},
    {"Unix socket", GOOD "via = socks5:///run/proxy\n", "write http://"},
    {"blank in the host", GOOD "via = http://proxy example:3128\n", "behind the two slashes"},
    {"login in the address", GOOD "via = http://bob:secret@proxy.example:3128\n",
     "belong into viaUsername and viaPasswordFile"},

    {"user alone", HTTP "viaUsername = bob\n", "test.conf:6: viaUsername and viaPasswordFile"},
    {"password alone", HTTP "viaPasswordFile = /p\n", "test.conf:6: viaUsername and viaPassword"},
    {"user without a proxy", GOOD "viaUsername = bob\n", "test.conf:5: viaUsername means nothing"},
    {"password without a proxy", GOOD "viaPasswordFile = /p\n",
     "test.conf:5: viaPasswordFile means nothing"},
    {"user with a colon, HTTP", HTTP "viaUsername = b:ob\nviaPasswordFile = /p\n",
     "test.conf:6: viaUsername: an HTTP proxy"},
    {"user with a control character", SOCKS "viaUsername = b\001ob\nviaPasswordFile = /p\n",
     "test.conf:6: viaUsername has at most 255 bytes"},

    {"server in a path", HEAD "connect = /run/mta\nvia = http://proxy.example:1\ncheckHost = a\n",
     "test.conf:4: connect: a Unix socket"},
    {"server without a host", HEAD "connect = 25\nvia = http://proxy.example:1\n",
     "test.conf:4: connect: through a proxy"},
    {"server with a blank", HEAD "connect = mx example:25\nvia = http://proxy.example:1\n",
     "test.conf:4: connect: through a proxy"},
    {"server with a scope", HEAD "connect = [fe80::1%eth0]:25\nvia = http://proxy.example:1\n",
     "test.conf:4: connect: through a proxy"},
    {"server with a slash", HEAD "connect = mx/example:25\nvia = http://proxy.example:1\n",
     "test.conf:4: connect: through a proxy"},

    {"program",
     "[in]\naccept = 127.0.0.1:25\ncert = /nonexistent\nexec = /bin/cat\n"
     "via = http://proxy.example:1\n",
     "test.conf:5: via: there is no connection with exec"},
    {"transparent",
     "[in]\naccept = 127.0.0.1:25\ncert = /nonexistent\nconnect = 192.0.2.1:25\n"
     "via = http://proxy.example:1\nidentity = transparent\n",
     "test.conf:5: via: the server sees the proxy's address"},
    {"open to the world",
     "[in]\naccept = 25\ncert = /nonexistent\nconnect = mx.example:25\n"
     "protocol = smtp\nlocal = 192.0.2.9\nvia = http://proxy.example:1\n",
     "sees every client as the proxy"},
    {"stunnel's protocol = connect", GOOD "protocol = connect\n",
     "a proxy is via = http://HOST:PORT"},
    {"stunnel's protocol = socks", GOOD "protocol = socks\n",
     "a proxy is via = socks5://HOST:PORT"},
};

static void configuration_is_checked(void **state)
{
    const struct config_case *k = *state;
    struct config c;
    struct told t;
    (void)load(&c, &t, k->text);
    if (k->want == NULL && t.count > 0)
        fail_msg("%s", t.text[0]);
    if (k->want != NULL) {
        assert_true(t.count > 0);
        if (strstr(t.text[0], k->want) == NULL)
            fail_msg("%s", t.text[0]);
        assert_null(strstr(t.text[0], "secret"));
    }
    config_finish(&c);
}

/* ---- before the fork ---- */

#define LONG_50  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONG_255 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50 "xxxxx"

static const struct password_case {
    const char *name;
    struct bytes file;
    const char *want; /* NULL: it is not taken */
    const char *want_part;
} password_cases[] = {
    {"a line", B("s3cret\n"), "s3cret", NULL},
    {"without its end", B("s3cret"), "s3cret", NULL},
    {"with CRLF", B("s3cret\r\n"), "s3cret", NULL},
    {"blanks count", B(" s3 cret \n"), " s3 cret ", NULL},
    {"bytes above ASCII", B("s\xc3\xa9\xff\n"), "s\xc3\xa9\xff", NULL},
    {"255 bytes", B(LONG_255 "\n"), LONG_255, NULL},
    {"255 bytes with CRLF", B(LONG_255 "\r\n"), LONG_255, NULL},
    {"256 bytes", B(LONG_255 "x\n"), NULL, "more than 255 bytes"},
    {"far too long", B(LONG_255 LONG_255), NULL, "more than 255 bytes"},
    {"empty", B(""), NULL, "holds nothing"},
    {"an empty line", B("\n"), NULL, "holds nothing"},
    {"two lines", B("a\nb\n"), NULL, "more than one line"},
    {"an empty line behind it", B("a\n\n"), NULL, "more than one line"},
    {"NUL", B("a\0b\n"), NULL, "control characters"},
    {"NUL at the end", B("a\0\n"), NULL, "control characters"},
    {"tab", B("a\tb\n"), NULL, "control characters"},
};

static void write_file(const char *path, const struct bytes *content)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(content->data, 1, content->len, f), content->len);
    assert_int_equal(fclose(f), 0);
}

static struct via *make(struct config *c, const char *path, char *error, size_t size)
{
    char text[500];
    struct told t;
    snprintf(text, sizeof text,
             HEAD "connect = mx.example:25\nconnect = [2001:db8::1]:587\ncheckHost = a\n"
                  "via = socks5://127.0.0.1:1080/\nviaUsername = bob\nviaPasswordFile = %s\n",
             path);
    if (!load(c, &t, text))
        fail_msg("%s", t.text[0]);
    return via_create(c, &c->services[0], error, size);
}

static void password_is_read(void **state)
{
    const struct password_case *k = *state;
    char path[] = "/tmp/test-via-XXXXXX", error[400] = "";
    struct config c;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_file(path, &k->file);
    struct via *v = make(&c, path, error, sizeof error);
    unlink(path);
    if (k->want != NULL) {
        assert_non_null(v);
        assert_string_equal(secret_text(v->password), k->want);
    } else {
        assert_null(v);
        assert_non_null(strstr(error, "test.conf:9: viaPasswordFile: "));
        assert_non_null(strstr(error, k->want_part));
    }
    via_destroy(v);
    config_finish(&c);
}

static void missing_password_is_told(void **state)
{
    char error[400];
    struct config c;
    (void)state;
    assert_null(make(&c, "/nonexistent/p", error, sizeof error));
    assert_string_equal(error, "test.conf:9: viaPasswordFile: cannot read /nonexistent/p: No such "
                               "file or directory");
    config_finish(&c);
}

static void password_others_can_read_is_warned_of(void **state)
{
    char path[] = "/tmp/test-via-XXXXXX", text[400];
    struct config c;
    struct told t;
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    close(fd);
    snprintf(text, sizeof text, HTTP "viaUsername = bob\nviaPasswordFile = %s\n", path);
    assert_true(load(&c, &t, text));
    assert_int_equal(t.count, 0);
    config_finish(&c);
    assert_int_equal(chmod(path, 0604), 0);
    assert_true(load(&c, &t, text));
    assert_int_equal(t.count, 1);
    assert_non_null(strstr(t.text[0], "test.conf:7: everybody on this machine can read"));
    config_finish(&c);
    unlink(path);
}

static void everything_is_ready(void **state)
{
    char path[] = "/tmp/test-via-XXXXXX", error[400];
    const struct bytes content = B("s3cret\n");
    struct config c;
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    close(fd);
    write_file(path, &content);
    struct via *v = make(&c, path, error, sizeof error);
    unlink(path);
    assert_non_null(v);
    assert_int_equal(v->kind, VIA_SOCKS);
    assert_int_equal(v->count, 1);
    assert_string_equal(v->addresses[0].text, "127.0.0.1:1080");
    assert_string_equal(v->user, "bob");
    assert_string_equal(v->targets[0].host, "mx.example");
    assert_int_equal(v->targets[0].port, 25);
    assert_string_equal(v->targets[1].host, "2001:db8::1");
    assert_int_equal(v->targets[1].port, 587);
    via_destroy(v);
    via_destroy(NULL);
    via_share(NULL, true);
    config_finish(&c);
}

static void unknown_proxy_is_told(void **state)
{
    char error[400];
    struct config c;
    struct told t;
    (void)state;
    assert_true(load(&c, &t, GOOD "via = http://nowhere.invalid:3128\n"));
    assert_null(via_create(&c, &c.services[0], error, sizeof error));
    assert_non_null(strstr(error, "test.conf:5: via: the host \"nowhere.invalid\""));
    config_finish(&c);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, configuration_is_checked, config_cases);
    UNIT_ADD_TABLE(&u, password_is_read, password_cases);
    unit_add(&u, "no file", missing_password_is_told, NULL);
    unit_add(&u, "readable by others", password_others_can_read_is_warned_of, NULL);
    unit_add(&u, "everything", everything_is_ready, NULL);
    unit_add(&u, "unknown proxy", unknown_proxy_is_told, NULL);
    return unit_run(&u, "via");
}
