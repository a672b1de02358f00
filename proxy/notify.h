/* SPDX-License-Identifier: ISC
 *
 * Telling a service manager how we are: the messages of sd_notify(3) and the watchdog of
 * sd_watchdog_enabled(3), without libsystemd. Nothing here blocks or fails: who is not listened
 * to says nothing.
 */
#ifndef PROXY_NOTIFY_H
#define PROXY_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

enum { NOTIFY_STATUS_MS = 5000 }; /* a new STATUS= at most this often */

/* Times: milliseconds, CLOCK_MONOTONIC. */
struct notify {
    int fd; /* -1: nobody wants to know */
    struct sockaddr_un address;
    socklen_t address_len;
    int64_t watchdog_ms;  /* between two signs of life; 0: nobody waits for them */
    int64_t watchdog_due; /* when the next one is */
    int64_t status_due;   /* not before then */
    unsigned sessions;    /* as told last */
};

/* Reads NOTIFY_SOCKET (a path, or @name in the abstract name space), WATCHDOG_USEC and
 * WATCHDOG_PID, and removes them from the environment. What cannot be used is as if not set. */
void notify_open(struct notify *n);
void notify_close(struct notify *n);

/* READY=1: at the end of the start, and of each reload. */
void notify_ready(struct notify *n);
/* RELOADING=1: what follows is a reload; notify_ready ends it, whatever came of it. */
void notify_reloading(struct notify *n);
/* STOPPING=1, with a request to be given `seconds` for it. */
void notify_stopping(struct notify *n, unsigned seconds);

/* To be called whenever something was done, at least every notify_wait milliseconds: gives the sign
 * of life when it is due (twice in the time that the manager allows), and tells the number of
 * sessions when it has changed, not more often than NOTIFY_STATUS_MS. */
void notify_tick(struct notify *n, unsigned sessions);

/* `ms`, or less if a sign of life is due earlier. */
int notify_wait(const struct notify *n, int ms);

/* Milliseconds between two signs of life, half of what WATCHDOG_USEC allows; 0: none is wanted from
 * the process `self`. NULL: the variable is not set. Pure. */
int64_t notify_watchdog_ms(const char *usec, const char *pid, pid_t self);

/* The address that NOTIFY_SOCKET means; 0, or its length. Pure. */
socklen_t notify_address(const char *text, struct sockaddr_un *out);

#endif
