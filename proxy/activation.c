/* SPDX-License-Identifier: ISC */
#include "proxy/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocols/memory.h"

/* Digits and nothing else, from 1 to `max`. */
static bool parse_number(const char *text, long max, long *out)
{
    char *end;
    errno = 0;
    *out = strtol(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *out >= 1 &&
           *out <= max;
}

static bool is_printable(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return false;
    return true;
}

/* The n-th of the names between colons. False: there are fewer. */
static bool nth_name(const char *names, size_t n, const char **name, size_t *len)
{
    for (; n > 0; n--) {
        names = strchr(names, ':');
        if (names == NULL)
            return false;
        names++;
    }
    *name = names;
    *len = strcspn(names, ":");
    return true;
}

static bool set_names(struct activation *a, const char *names, char *error, size_t size)
{
    const char *name;
    size_t len;
    for (size_t i = 0; i < a->count; i++) {
        if (!nth_name(names, i, &name, &len) || len > ACTIVATION_NAME_MAX ||
            !is_printable(name, len)) {
            snprintf(error, size, "LISTEN_FDNAMES: name %zu of %zu is missing or not usable", i + 1,
                     a->count);
            return false;
        }
        char *copy = memory_alloc(len + 1);
        memcpy(copy, name, len);
        copy[len] = '\0';
        free(a->sockets[i].name);
        a->sockets[i].name = copy;
    }
    if (nth_name(names, a->count, &name, &len)) {
        snprintf(error, size, "LISTEN_FDNAMES has more names than the %zu of LISTEN_FDS", a->count);
        return false;
    }
    return true;
}

bool activation_parse(struct activation *out, const char *pid, const char *fds, const char *names,
                      pid_t self, char *error, size_t size)
{
    long number;
    *out = (struct activation){0};
    if (pid == NULL && fds == NULL)
        return true;
    if (pid == NULL || !parse_number(pid, INT_MAX, &number)) {
        snprintf(error, size, "LISTEN_PID is %s", pid == NULL ? "not set" : "not a process number");
        return false;
    }
    if (number != self)
        return true; /* they were meant for one of our ancestors */
    if (fds == NULL || !parse_number(fds, ACTIVATION_MAX, &number)) {
        snprintf(error, size, "LISTEN_FDS is not a number from 1 to %d", ACTIVATION_MAX);
        return false;
    }
    out->count = (size_t)number;
    out->sockets = memory_alloc(out->count * sizeof *out->sockets);
    for (size_t i = 0; i < out->count; i++)
        out->sockets[i] =
            (struct inherited){.fd = ACTIVATION_FIRST_FD + (int)i, .name = memory_strdup("")};
    if (names == NULL || set_names(out, names, error, size))
        return true;
    for (size_t i = 0; i < out->count; i++)
        out->sockets[i].fd = -1; /* not ours to close yet */
    activation_finish(out);
    return false;
}

bool activation_take(struct activation *out, char *error, size_t size)
{
    bool ok = activation_parse(out, getenv("LISTEN_PID"), getenv("LISTEN_FDS"),
                               getenv("LISTEN_FDNAMES"), getpid(), error, size);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    for (size_t i = 0; ok && i < out->count; i++) {
        ok = fcntl(out->sockets[i].fd, F_SETFD, FD_CLOEXEC) == 0;
        if (!ok)
            snprintf(error, size, "LISTEN_FDS is %zu, but descriptor %d is not open", out->count,
                     out->sockets[i].fd);
    }
    if (!ok)
        activation_finish(out);
    return ok;
}

void activation_finish(struct activation *a)
{
    for (size_t i = 0; i < a->count; i++) {
        if (a->sockets[i].fd >= 0)
            close(a->sockets[i].fd);
        free(a->sockets[i].name);
    }
    free(a->sockets);
    *a = (struct activation){0};
}
