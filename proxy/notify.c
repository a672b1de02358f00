/* SPDX-License-Identifier: ISC */
#include "proxy/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocols/wire.h"

socklen_t notify_address(const char *text, struct sockaddr_un *out)
{
    size_t len = strlen(text);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof out->sun_path)
        return 0;
    memcpy(out->sun_path, text, len);
    if (text[0] == '/')
        return (socklen_t)sizeof *out;
    out->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* Digits and nothing else; 0 for everything that is no number above 0. */
static int64_t parse_number(const char *text)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 ? n : 0;
}

int64_t notify_watchdog_ms(const char *usec, const char *pid, pid_t self)
{
    if (usec == NULL || (pid != NULL && parse_number(pid) != self))
        return 0;
    int64_t us = parse_number(usec);
    return us > 0 && us < 2000 ? 1 : us / 2000;
}

void notify_open(struct notify *n)
{
    const char *text = getenv("NOTIFY_SOCKET");
    *n = (struct notify){.fd = -1};
    if (text != NULL)
        n->address_len = notify_address(text, &n->address);
    if (n->address_len > 0)
        n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (n->fd >= 0)
        n->watchdog_ms =
            notify_watchdog_ms(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"), getpid());
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

__attribute__((format(printf, 2, 3))) static void tell(const struct notify *n, const char *format,
                                                       ...)
{
    char text[256];
    va_list ap;
    if (n->fd < 0)
        return;
    va_start(ap, format);
    int len = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (len <= 0 || (size_t)len >= sizeof text)
        return;
    /* A manager that is too busy hears the next message, or misses this one. */
    (void)sendto(n->fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL,
                 (const struct sockaddr *)&n->address, n->address_len);
}

static const char *plural(unsigned n)
{
    return n == 1 ? "" : "s";
}

void notify_ready(struct notify *n)
{
    tell(n, "READY=1\nSTATUS=%u session%s", n->sessions, plural(n->sessions));
}

void notify_reloading(struct notify *n)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    tell(n, "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reloading",
         (long long)ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
}

void notify_stopping(struct notify *n, unsigned seconds)
{
    tell(n, "STOPPING=1\nSTATUS=stopping, %u session%s\nEXTEND_TIMEOUT_USEC=%llu", n->sessions,
         plural(n->sessions), (unsigned long long)seconds * 1000000);
}

void notify_tick(struct notify *n, unsigned sessions)
{
    if (n->fd < 0)
        return;
    int64_t now = wire_now();
    if (n->watchdog_ms > 0 && now >= n->watchdog_due) {
        n->watchdog_due = now + n->watchdog_ms;
        tell(n, "WATCHDOG=1");
    }
    if (sessions != n->sessions && now >= n->status_due) {
        n->status_due = now + NOTIFY_STATUS_MS;
        n->sessions = sessions;
        tell(n, "STATUS=%u session%s", sessions, plural(sessions));
    }
}

int notify_wait(const struct notify *n, int ms)
{
    if (n->watchdog_ms == 0)
        return ms;
    int64_t left = n->watchdog_due - wire_now();
    return left < 0 ? 0 : left < ms ? (int)left : ms;
}
