/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/activation.h"

#define NAME_255                                                                                   \
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"        \
    "5678901234567890123456789012345678901234567890123456789012345678901234567890123456789"        \
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"

enum { SELF = 4711 };

static const struct parse_case {
    const char *name, *pid, *fds, *names;
    bool want;
    size_t want_count;
    const char *want_names[3];
    const char *want_error; /* a part of it */
} parse_cases[] = {
    {"nothing is set", NULL, NULL, NULL, true, 0, {NULL}, NULL},
    {"names alone mean nothing", NULL, NULL, "smtp", true, 0, {NULL}, NULL},
    {"one socket without a name", "4711", "1", NULL, true, 1, {""}, NULL},
    {"one socket with a name", "4711", "1", "smtp", true, 1, {"smtp"}, NULL},
    {"three sockets", "4711", "3", "a:b.socket:c", true, 3, {"a", "b.socket", "c"}, NULL},
    {"a name twice", "4711", "2", "smtp:smtp", true, 2, {"smtp", "smtp"}, NULL},
    {"empty names", "4711", "2", ":", true, 2, {"", ""}, NULL},
    {"name of 255 bytes", "4711", "1", NAME_255, true, 1, {NAME_255}, NULL},
    {"for another process", "4712", "1", "smtp", true, 0, {NULL}, NULL},
    {"nonsense for another process", "4712", "x", "a:b", true, 0, {NULL}, NULL},
    {"most sockets", "4711", "256", NULL, true, 256, {"", "", ""}, NULL},

    {"process number missing", NULL, "1", NULL, false, 0, {NULL}, "LISTEN_PID"},
    {"process number empty", "", "1", NULL, false, 0, {NULL}, "LISTEN_PID"},
    {"process number 0", "0", "1", NULL, false, 0, {NULL}, "LISTEN_PID"},
    {"process number negative", "-4711", "1", NULL, false, 0, {NULL}, "LISTEN_PID"},
    {"process number with a blank", " 4711", "1", NULL, false, 0, {NULL}, "LISTEN_PID"},
    {"process number with letters", "4711x", "1", NULL, false, 0, {NULL}, "LISTEN_PID"},
    {"process number too large", "2147483648", "1", NULL, false, 0, {NULL}, "LISTEN_PID"},
    {"process number 2^64 too large",
     "18446744073709556327",
     "1",
     NULL,
     false,
     0,
     {NULL},
     "LISTEN_PID"},
    {"number of sockets missing", "4711", NULL, NULL, false, 0, {NULL}, "LISTEN_FDS"},
    {"no sockets", "4711", "0", NULL, false, 0, {NULL}, "LISTEN_FDS"},
    {"number of sockets negative", "4711", "-1", NULL, false, 0, {NULL}, "LISTEN_FDS"},
    {"number of sockets with a sign", "4711", "+1", NULL, false, 0, {NULL}, "LISTEN_FDS"},
    {"number of sockets with more behind", "4711", "1 ", NULL, false, 0, {NULL}, "LISTEN_FDS"},
    {"one socket too many", "4711", "257", NULL, false, 0, {NULL}, "LISTEN_FDS"},
    {"one name too few", "4711", "2", "smtp", false, 0, {NULL}, "LISTEN_FDNAMES"},
    {"one name too many", "4711", "1", "smtp:", false, 0, {NULL}, "LISTEN_FDNAMES"},
    {"name of 256 bytes", "4711", "1", NAME_255 "6", false, 0, {NULL}, "LISTEN_FDNAMES"},
    {"blank in a name", "4711", "1", "sm tp", false, 0, {NULL}, "LISTEN_FDNAMES"},
    {"control character in a name", "4711", "1", "smtp\n", false, 0, {NULL}, "LISTEN_FDNAMES"},
    {"eighth bit in a name", "4711", "1", "sm\xc3\xbcp", false, 0, {NULL}, "LISTEN_FDNAMES"},
};

/* The descriptors of the table are not there: nothing may be closed. */
static void forget_descriptors(struct activation *a)
{
    for (size_t i = 0; i < a->count; i++)
        a->sockets[i].fd = -1;
    activation_finish(a);
}

static void variables_are_parsed(void **state)
{
    const struct parse_case *c = *state;
    struct activation a;
    char error[256] = "";
    bool got = activation_parse(&a, c->pid, c->fds, c->names, SELF, error, sizeof error);
    assert_int_equal(got, c->want);
    assert_int_equal(a.count, c->want_count);
    for (size_t i = 0; i < a.count; i++) {
        assert_int_equal(a.sockets[i].fd, 3 + (int)i);
        if (i < 3)
            assert_string_equal(a.sockets[i].name, c->want_names[i]);
    }
    if (c->want)
        assert_string_equal(error, "");
    else
        assert_non_null(strstr(error, c->want_error));
    forget_descriptors(&a);
}

static void set(const char *name, long value)
{
    char text[32];
    snprintf(text, sizeof text, "%ld", value);
    assert_int_equal(setenv(name, text, 1), 0);
}

static void assert_variables_are_gone(void)
{
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
}

static void taken_descriptors_are_closed_on_exec_and_the_variables_removed(void **state)
{
    struct activation a;
    char error[256] = "";
    int old = fcntl(ACTIVATION_FIRST_FD, F_DUPFD, 64), null = open("/dev/null", O_RDWR);
    (void)state;
    assert_int_equal(dup2(null, ACTIVATION_FIRST_FD), ACTIVATION_FIRST_FD);
    set("LISTEN_PID", getpid());
    set("LISTEN_FDS", 1);
    setenv("LISTEN_FDNAMES", "smtp", 1);
    assert_true(activation_take(&a, error, sizeof error));
    assert_variables_are_gone();
    assert_int_equal(a.count, 1);
    assert_int_equal(fcntl(ACTIVATION_FIRST_FD, F_GETFD), FD_CLOEXEC);
    activation_finish(&a);
    assert_int_equal(fcntl(ACTIVATION_FIRST_FD, F_GETFD), -1);
    if (old >= 0) {
        dup2(old, ACTIVATION_FIRST_FD);
        close(old);
    }
    if (null != ACTIVATION_FIRST_FD)
        close(null);
}

static void descriptor_that_is_not_open_is_an_error(void **state)
{
    struct activation a;
    char error[256] = "";
    (void)state;
    set("LISTEN_PID", getpid());
    set("LISTEN_FDS", ACTIVATION_MAX);
    assert_false(activation_take(&a, error, sizeof error));
    assert_variables_are_gone();
    assert_non_null(strstr(error, "is not open"));
    assert_int_equal(a.count, 0);
}

int main(void)
{
    static struct unit u;
    UNIT_ADD_TABLE(&u, variables_are_parsed, parse_cases);
    unit_add(&u, "taken descriptors are closed on exec and the variables removed",
             taken_descriptors_are_closed_on_exec_and_the_variables_removed, NULL);
    unit_add(&u, "descriptor that is not open is an error", descriptor_that_is_not_open_is_an_error,
             NULL);
    return unit_run(&u, "activation");
}
