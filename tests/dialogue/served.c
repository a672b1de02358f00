/* SPDX-License-Identifier: ISC */
#include "served.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "protocols/dialogue.h"

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
    ssize_t n = result_of(recv(s->backend_fd, buf, at_most(len, s->chunk), 0), TRANSPORT_WANT_READ);
    if (s->server_tls_active && n > 0)
        mask(buf, (size_t)n);
    return s->server_tls_active && n == 0 ? TRANSPORT_TRUNCATED : n;
}

static ssize_t backend_write(void *ctx, const void *buf, size_t len)
{
    struct served *s = ctx;
    char block[4096];
    len = at_most(at_most(len, sizeof block), s->chunk);
    memcpy(block, buf, len);
    if (s->server_tls_active)
        mask(block, len);
    return result_of(send(s->backend_fd, block, len, MSG_NOSIGNAL), TRANSPORT_WANT_WRITE);
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

static void init_client(struct served *s)
{
    struct transport t = {.ctx = s,
                          .fd = s->client_fd,
                          .read = client_read,
                          .write = client_write,
                          .flush = nothing_to_flush,
                          .pending = nothing_pending};
    wire_init(&s->client, &t, s->cancel_fd);
}

static void init_backend(struct served *s)
{
    struct transport t = {.ctx = s,
                          .fd = s->backend_fd,
                          .read = backend_read,
                          .write = backend_write,
                          .flush = nothing_to_flush,
                          .pending = nothing_pending};
    wire_init(&s->backend, &t, s->cancel_fd);
}

/* ---- what stands in a trace header ---- */

static time_t stopped_clock(time_t *out)
{
    const time_t now = 784111777; /* Sun, 06 Nov 1994 08:49:37 UTC */
    if (out != NULL)
        *out = now;
    return now;
}

static void note_tls(struct dialogue *d)
{
    const struct served *s = d->session;
    d->xclient.login = s->transcript->login;
    d->unwelcome = s->transcript->unwelcome;
    d->client_facts.tls_version = "TLS1.3";
    d->client_facts.tls_cipher = "AES-256-GCM";
    d->client_facts.tls_bits = 256;
}

/* ---- the stand-in for TLS ---- */

/* The next byte of the handshake: what the wire still held comes first. */
static bool handshake_byte(struct wire *w, char *c)
{
    struct pollfd fd = {.fd = w->transport.fd, .events = POLLIN};
    const char *early;
    if (wire_buffered(w, &early) > 0) {
        *c = *early;
        wire_consume(w, 1);
        return true;
    }
    return poll(&fd, 1, HANDSHAKE_SECONDS * 1000) == 1 && recv(fd.fd, c, 1, 0) == 1;
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
        if (!handshake_byte(&s->client, &c))
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
    note_tls(d);
    return true;
}

static enum tls_outcome broken(struct dialogue *d, const char *why)
{
    snprintf(d->reason, sizeof d->reason, "validation-failure: %s", why);
    return OUTCOME_BROKEN;
}

static enum tls_outcome secure(struct dialogue *d)
{
    struct served *s = d->session;
    size_t len = strlen(SERVER_HELLO);
    if (s->backend.out_len > 0)
        return broken(d, "the request was not flushed");
    if (send(s->backend_fd, CLIENT_HELLO, strlen(CLIENT_HELLO), MSG_NOSIGNAL) < 0)
        return broken(d, "the server closed the connection");
    for (size_t i = 0; i < len; i++) {
        char c;
        if (!handshake_byte(&s->backend, &c))
            return broken(d, "the server closed the connection");
        if (c != SERVER_HELLO[i])
            return broken(d, "what came is no ServerHello");
    }
    if (wire_buffered(&s->backend, NULL) > 0)
        return broken(d, "bytes follow the ServerHello");
    s->server_tls_active = true;
    d->server_tls_active = true;
    bool untrusted = s->transcript->untrusted != NULL && !s->moved;
    d->server_verified = !untrusted && !s->transcript->unverified;
    if (!untrusted)
        return OUTCOME_SECURED;
    snprintf(d->reason, sizeof d->reason, "%s", s->transcript->untrusted);
    return OUTCOME_UNTRUSTED;
}

static bool renew_backend(struct dialogue *d)
{
    struct served *s = d->session;
    wire_finish(&s->backend);
    close(s->backend_fd);
    s->backend_fd = s->spare_fd;
    s->spare_fd = -1;
    s->server_tls_active = false;
    d->server_tls_active = false;
    init_backend(s);
    if (s->backend_fd < 0)
        snprintf(d->reason, sizeof d->reason, "connection refused");
    return s->backend_fd >= 0;
}

/* There is one. What was known of the first is not true of it. */
static bool next_backend(struct dialogue *d)
{
    struct served *s = d->session;
    char reason[sizeof d->reason];
    d->others_left = false;
    memcpy(reason, d->reason, sizeof reason);
    if (!renew_backend(d)) {
        memcpy(d->reason, reason, sizeof reason);
        return false;
    }
    s->moved = true;
    s->other_policy = s->transcript->policy;
    s->other_policy.tls_level = s->transcript->other_level;
    d->policy = &s->other_policy;
    dialogue_forget_server(d);
    d->pretls_deadline = wire_now() + s->transcript->pretls_ms;
    return true;
}

/* ---- the session ---- */

static void *run(void *ctx)
{
    struct served *s = ctx;
    const struct transcript *t = s->transcript;
    char error[256];
    const struct sasl_login login = {
        .username = "joe",
        .secret = "secret",
        .is_token = t->by_token,
        .mechanisms = t->mechanisms,
        .library = t->mechanisms != NULL ? sasl_library_create(error, sizeof error) : NULL};
    struct dialogue d = {
        .client = &s->client,
        .backend = &s->backend,
        .policy = &s->transcript->policy,
        .step = "beginning",
        .tls_active = s->tls_active,
        .server_tls_active = s->server_tls_active,
        .server_verified = s->server_tls_active && !t->unverified,
        .login = t->mechanisms != NULL ? &login : NULL,
        .pretls_deadline = wire_now() + s->transcript->pretls_ms,
        .tls_ready = tls_ready,
        .start_tls = start_tls,
        .secure = secure,
        .renew_backend = renew_backend,
        .next_backend = next_backend,
        .others_left = t->other_server,
        .client_facts = {.address = "[192.0.2.1]"},
        .xclient = {.address = "192.0.2.1",
                    .port = "4444",
                    .server_address = "192.0.2.2",
                    .server_port = "25"},
        .clock = stopped_clock,
        .session = s,
    };
    if (d.tls_active)
        note_tls(&d);
    s->end = t->requests ? s->protocol->request(&d) : s->protocol->serve(&d);
    sasl_library_destroy(login.library);
    (void)shutdown(s->backend_fd, SHUT_RDWR);
    (void)shutdown(s->spare_fd, SHUT_RDWR);
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
    s->server_tls_active = s->transcript->server_starts_with_tls;
    init_client(s);
    init_backend(s);
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
    close(s->spare_fd);
    return true;
}
