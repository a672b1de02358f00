/* SPDX-License-Identifier: ISC */
#include "proxy/token.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "protocols/memory.h"
#include "protocols/sasl.h"
#include "protocols/wire.h"
#include "proxy/spawned.h"
#include "proxy/spawner.h"

static const char stopping[] = "was not waited for: ehlock is stopping";

struct listener {
    struct spawned program;
    bool mute; /* nothing more comes from it */
    char *text;
    size_t len, size; /* full, it is too long whatever follows */
    struct spawn_ending ending;
    char *error;
    size_t error_size;
};

static bool fail(struct listener *l, const char *why)
{
    snprintf(l->error, l->error_size, "%s", why);
    return false;
}

/* Takes what is there. */
static void listen_to_program(struct listener *l)
{
    while (!l->mute && l->len < l->size) {
        ssize_t n = recv(l->program.stream_fd, l->text + l->len, l->size - l->len, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            l->mute = true;
        else
            l->len += (size_t)n;
    }
}

static bool hear_ending(struct listener *l)
{
    ssize_t n = recv(l->program.line_fd, &l->ending, sizeof l->ending, MSG_DONTWAIT);
    return n == sizeof l->ending ||
           fail(l, "nobody knows how it ended: the process that had started it died");
}

static bool wait_for_either(struct listener *l, struct pollfd fds[3], const struct token_request *r)
{
    switch (wire_poll(fds, 2, r->cancel_fd, r->deadline)) {
    case WIRE_OK:
        return true;
    case WIRE_TIMEOUT:
        return fail(l, "did not end in time (TIMEOUTbusy, TIMEOUTpretls)");
    case WIRE_CANCELLED:
        return fail(l, stopping);
    default:
        return fail(l, strerror(errno));
    }
}

/* Its end comes by the line, when everything that it has printed is in the stream: so the stream is
 * looked at once more after it. The end of the stream would not do: who fails has an output, too,
 * and what a program leaves in the background may keep it open. */
static bool listen_to_the_end(struct listener *l, const struct token_request *r)
{
    for (;;) {
        struct pollfd fds[3] = {
            {.fd = l->program.line_fd, .events = POLLIN},
            {.fd = l->mute ? -1 : l->program.stream_fd, .events = POLLIN},
        };
        if (!wait_for_either(l, fds, r))
            return false;
        bool has_ended = fds[0].revents != 0;
        if (has_ended && !hear_ending(l))
            return false;
        listen_to_program(l);
        if (has_ended || l->len == l->size)
            return true;
    }
}

/* What is too long is judged without waiting for its end. */
static bool has_failed(struct listener *l)
{
    if (l->len == l->size || l->ending.status == 0)
        return false;
    if (l->ending.signal != 0)
        snprintf(l->error, l->error_size, "was ended by signal %d", (int)l->ending.signal);
    else
        snprintf(l->error, l->error_size, "ended with status %d", (int)l->ending.status);
    return true;
}

static struct secret *judge(struct listener *l)
{
    char wrong[128];
    if (has_failed(l))
        return NULL;
    struct secret *s =
        secret_from_line(l->text, l->len, SASL_TOKEN_MAX, SECRET_WORD, wrong, sizeof wrong);
    if (s == NULL)
        snprintf(l->error, l->error_size, "has an output that %s", wrong);
    return s;
}

static bool start(struct listener *l, const struct token_request *r)
{
    int failed = spawned_start(&l->program, r->request_fd, r->facts, r->deadline, r->cancel_fd);
    if (failed == ECANCELED)
        return fail(l, stopping);
    if (failed != 0)
        snprintf(l->error, l->error_size, "could not be started: %s", strerror(failed));
    return failed == 0;
}

struct secret *token_fetch(const struct token_request *r, char *error, size_t error_size)
{
    struct listener l = {
        .size = secret_line_size(SASL_TOKEN_MAX), .error = error, .error_size = error_size};
    struct secret *token = NULL;
    if (!start(&l, r))
        return NULL;
    l.text = memory_alloc(l.size);
    if (listen_to_the_end(&l, r))
        token = judge(&l);
    explicit_bzero(l.text, l.size);
    free(l.text);
    spawned_leave(&l.program);
    return token;
}
