/* SPDX-License-Identifier: ISC */
#include "served.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    HANDSHAKE_SECONDS = 60,
    STACK_SIZE =
        512 * 1024, /* sanitizers look after every page of it, and there are many threads */
};

static void mask(char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (char)((unsigned char)data[i] ^ TLS_MASK);
}

/* ---- transports ---- */

static ssize_t result_of(ssize_t n, int again)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? again : TRANSPORT_ERROR;
}

static size_t at_most(size_t len, size_t limit)
{
    return len < limit ? len : limit;
}

static ssize_t client_read(void *ctx, void *buf, size_t len)
{
    struct served *s = ctx;
    ssize_t n = result_of(recv(s->client_fd, buf, at_most(len, s->chunk), 0), TRANSPORT_WANT_READ);
    if (s->tls_active && n > 0)
        mask(buf, (size_t)n);
    if (s->tls_active && n == 0 && !atomic_load(&s->close_notify))
        return TRANSPORT_TRUNCATED;
    return n;
}

static ssize_t client_write(void *ctx, const void *buf, size_t len)
{
    struct served *s = ctx;
    char block[4096];
    len = at_most(at_most(len, sizeof block), s->chunk);
    memcpy(block, buf, len);
    if (s->tls_active)
        mask(block, len);
    return result_of(send(s->client_fd, block, len, MSG_NOSIGNAL), TRANSPORT_WANT_WRITE);
}

static ssize_t backend_read(void *ctx, void *buf, size_t len)
{
    struct served *s = ctx;
    return result_of(recv(s->backend_fd, buf, at_most(len, s->chunk), 0), TRANSPORT_WANT_READ);
}

static ssize_t backend_write(void *ctx, const void *buf, size_t len)
{
    struct served *s = ctx;
    return result_of(send(s->backend_fd, buf, at_most(len, s->chunk), MSG_NOSIGNAL),
                     TRANSPORT_WANT_WRITE);
}

static int nothing_to_flush(void *ctx)
{
    (void)ctx;
    return 0;
}

static bool nothing_pending(void *ctx)
{
    (void)ctx;
    return false;
}

static void init_wires(struct served *s)
{
    struct transport client = {.ctx = s,
                               .fd = s->client_fd,
                               .read = client_read,
                               .write = client_write,
                               .flush = nothing_to_flush,
                               .pending = nothing_pending};
    struct transport backend = client;
    backend.fd = s->backend_fd;
    backend.read = backend_read;
    backend.write = backend_write;
    wire_init(&s->client, &client, s->cancel_fd);
    wire_init(&s->backend, &backend, s->cancel_fd);
}

/* ---- the stand-in for TLS ---- */

/* The next byte of the handshake: what the wire still held comes first. */
static bool handshake_byte(struct served *s, char *c)
{
    struct pollfd fd = {.fd = s->client_fd, .events = POLLIN};
    const char *early;
    if (wire_buffered(&s->client, &early) > 0) {
        *c = *early;
        wire_consume(&s->client, 1);
        return true;
    }
    return poll(&fd, 1, HANDSHAKE_SECONDS * 1000) == 1 && recv(s->client_fd, c, 1, 0) == 1;
}

static bool handshake_fails(struct dialogue *d, const char *why)
{
    snprintf(d->reason, sizeof d->reason, "TLS handshake failed: %s", why);
    return false;
}

static bool tls_ready(struct dialogue *d)
{
    const struct served *s = d->session;
    return s->transcript->keys_ready;
}

static bool start_tls(struct dialogue *d)
{
    struct served *s = d->session;
    size_t len = strlen(CLIENT_HELLO);
    if (s->client.out_len > 0)
        return handshake_fails(d, "the go-ahead was not flushed");
    for (size_t i = 0; i < len; i++) {
        char c;
        if (!handshake_byte(s, &c))
            return handshake_fails(d, "client closed the connection");
        if (c != CLIENT_HELLO[i])
            return handshake_fails(d, "what came is no ClientHello");
    }
    if (wire_buffered(&s->client, NULL) > 0)
        return handshake_fails(d, "bytes follow the ClientHello");
    if (send(s->client_fd, SERVER_HELLO, strlen(SERVER_HELLO), MSG_NOSIGNAL) < 0)
        return handshake_fails(d, "client closed the connection");
    s->tls_active = true;
    d->tls_active = true;
    return true;
}

/* ---- the session ---- */

static void *run(void *ctx)
{
    struct served *s = ctx;
    struct dialogue d = {
        .client = &s->client,
        .backend = &s->backend,
        .policy = &s->transcript->policy,
        .step = "beginning",
        .tls_active = s->tls_active,
        .pretls_deadline = wire_now() + s->transcript->pretls_ms,
        .tls_ready = tls_ready,
        .start_tls = start_tls,
        .session = s,
    };
    s->end = s->protocol->serve(&d);
    (void)shutdown(s->backend_fd, SHUT_RDWR);
    if (s->client.out_len > 0)
        (void)wire_flush(&s->client, wire_deadline(5));
    (void)shutdown(s->client_fd, SHUT_WR);
    s->tally = d.tally;
    s->step = d.step;
    memcpy(s->reason, d.reason, sizeof s->reason);
    return NULL;
}

static bool start_thread(struct served *s)
{
    pthread_attr_t small;
    if (pthread_attr_init(&small) != 0)
        return false;
    bool started = pthread_attr_setstacksize(&small, STACK_SIZE) == 0 &&
                   pthread_create(&s->thread, &small, run, s) == 0;
    pthread_attr_destroy(&small);
    return started;
}

bool served_start(struct served *s)
{
    s->tls_active = s->transcript->starts_with_tls;
    init_wires(s);
    if (start_thread(s))
        return true;
    wire_finish(&s->client);
    wire_finish(&s->backend);
    return false;
}

bool served_finish(struct served *s, int64_t deadline)
{
    struct timespec until;
    int64_t left = deadline - wire_now();
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += left > 0 ? left / 1000 + 1 : 1;
    if (pthread_timedjoin_np(s->thread, NULL, &until) != 0)
        return false;
    wire_finish(&s->client);
    wire_finish(&s->backend);
    close(s->client_fd);
    close(s->backend_fd);
    return true;
}
