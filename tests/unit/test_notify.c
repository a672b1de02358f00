/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

#include "proxy/notify.h"

enum { SELF = 4711 };

#define PATH_107                                                                                   \
    "/2345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012" \
    "345678901234567"

static const struct address_case {
    const char *name, *text;
    socklen_t want; /* 0: not usable */
    const char *want_path;
    size_t want_len;
} address_cases[] = {
    {"path", "/run/x", sizeof(struct sockaddr_un), "/run/x", 7},
    {"longest path", PATH_107, sizeof(struct sockaddr_un), PATH_107, 108},
    {"path of one byte more", PATH_107 "8", 0, NULL, 0},
    {"abstract name", "@abc", 2 + 4, "\0abc", 4},
    {"empty", "", 0, NULL, 0},
    {"only a slash", "/", 0, NULL, 0},
    {"only an at sign", "@", 0, NULL, 0},
    {"relative path", "run/x", 0, NULL, 0},
    {"another family", "vsock:2:1", 0, NULL, 0},
};

static void socket_is_found(void **state)
{
    const struct address_case *c = *state;
    struct sockaddr_un got;
    assert_int_equal(notify_address(c->text, &got), c->want);
    if (c->want > 0) {
        assert_int_equal(got.sun_family, AF_UNIX);
        assert_memory_equal(got.sun_path, c->want_path, c->want_len);
    }
}

static const struct watchdog_case {
    const char *name, *usec, *pid;
    int64_t want;
} watchdog_cases[] = {
    {"not set", NULL, NULL, 0},
    {"without a process number", "30000000", NULL, 15000},
    {"for this process", "30000000", "4711", 15000},
    {"for another process", "30000000", "4712", 0},
    {"process number is nonsense", "30000000", "4711x", 0},
    {"process number is empty", "30000000", "", 0},
    {"shorter than two milliseconds", "1", NULL, 1},
    {"two milliseconds", "2000", NULL, 1},
    {"zero", "0", NULL, 0},
    {"negative", "-2000000", NULL, 0},
    {"letters behind", "2000000us", NULL, 0},
    {"too large", "99999999999999999999", NULL, 0},
};

static void watchdog_is_understood(void **state)
{
    const struct watchdog_case *c = *state;
    assert_int_equal(notify_watchdog_ms(c->usec, c->pid, SELF), c->want);
}

/* ---- what is sent ---- */

static int listen_as(const char *name)
{
    struct sockaddr_un address;
    socklen_t len = notify_address(name, &address);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

static const char *hear(int fd)
{
    static char text[512];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    if (n < 0)
        return "";
    text[n] = '\0';
    return text;
}

static void manager_hears_each_step(void **state)
{
    struct notify n;
    char name[64];
    (void)state;
    snprintf(name, sizeof name, "@ehlock-test-%d", (int)getpid());
    int fd = listen_as(name);
    setenv("WATCHDOG_USEC", "60000000", 1);
    notify_open(&n);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    notify_ready(&n);
    assert_string_equal(hear(fd), "READY=1\nSTATUS=0 sessions");
    assert_int_equal(notify_wait(&n, 1000), 0);
    notify_tick(&n, 1);
    assert_string_equal(hear(fd), "WATCHDOG=1");
    assert_string_equal(hear(fd), "STATUS=1 session");
    notify_tick(&n, 2); /* too soon for either */
    assert_string_equal(hear(fd), "");
    assert_int_equal(notify_wait(&n, 1000), 1000);
    assert_in_range(notify_wait(&n, 60000), 1, 30000);
    notify_reloading(&n);
    assert_memory_equal(hear(fd), "RELOADING=1\nMONOTONIC_USEC=", 27);
    notify_stopping(&n, 40);
    assert_string_equal(hear(fd),
                        "STOPPING=1\nSTATUS=stopping, 1 session\nEXTEND_TIMEOUT_USEC=40000000");
    notify_close(&n);
    close(fd);
}

static void manager_that_does_not_listen_holds_nobody_up(void **state)
{
    struct notify n;
    char name[64];
    (void)state;
    snprintf(name, sizeof name, "@ehlock-test-%d", (int)getpid());
    int fd = listen_as(name);
    notify_open(&n);
    for (int i = 0; i < 2000; i++) /* more than a queue holds */
        notify_ready(&n);
    close(fd);
    notify_ready(&n); /* nobody is there any more */
    notify_close(&n);
}

static void without_a_manager_nothing_happens(void **state)
{
    struct notify n;
    (void)state;
    setenv("WATCHDOG_USEC", "1", 1);
    notify_open(&n);
    assert_int_equal(n.fd, -1);
    notify_ready(&n);
    notify_tick(&n, 7);
    assert_int_equal(notify_wait(&n, 1000), 1000);
    notify_close(&n);
}

int main(void)
{
    static struct unit u;
    UNIT_ADD_TABLE(&u, socket_is_found, address_cases);
    UNIT_ADD_TABLE(&u, watchdog_is_understood, watchdog_cases);
    unit_add(&u, "manager hears each step", manager_hears_each_step, NULL);
    unit_add(&u, "manager that does not listen holds nobody up",
             manager_that_does_not_listen_holds_nobody_up, NULL);
    unit_add(&u, "without a manager nothing happens", without_a_manager_nothing_happens, NULL);
    return unit_run(&u, "notify");
}
