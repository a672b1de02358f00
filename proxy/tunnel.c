/* SPDX-License-Identifier: ISC */
#include "proxy/tunnel.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "protocols/httpconnect.h"
#include "protocols/socks.h"
#include "protocols/wire.h"

static_assert((int)VIA_PART_MAX == (int)SOCKS_PART_MAX, "what was checked fits");
static_assert((int)SOCKS_REPLY_MAX <= (int)HTTPCONNECT_REPLY_MAX, "there is room for both");

struct tunnel {
    const struct via *via;
    const struct via_target *to;
    int fd, cancel_fd;
    int64_t deadline;
    char in[HTTPCONNECT_REPLY_MAX]; /* the answer that is being read */
    size_t len;
    bool cancelled;
    char *error;
    size_t error_size;
};

static bool fail(struct tunnel *t, const char *sentence)
{
    snprintf(t->error, t->error_size, "%s", sentence);
    return false;
}

static bool fail_with_number(struct tunnel *t, const char *sentence, int number)
{
    snprintf(t->error, t->error_size, "%s (%d)", sentence, number);
    return false;
}

static bool wait_for(struct tunnel *t, short events)
{
    struct pollfd fds[2] = {{.fd = t->fd, .events = events}};
    switch (wire_poll(fds, 1, t->cancel_fd, t->deadline)) {
    case WIRE_OK:
        return true;
    case WIRE_TIMEOUT:
        return fail(t, "it took too long");
    case WIRE_CANCELLED:
        t->cancelled = true;
        return fail(t, strerror(ECANCELED));
    default:
        return fail(t, strerror(errno));
    }
}

/* ---- bytes ---- */

/* Whoever has answered before he was asked is out of step. */
static bool is_quiet(struct tunnel *t)
{
    char byte;
    ssize_t n = recv(t->fd, &byte, 1, MSG_PEEK);
    return n <= 0 || fail(t, "it speaks out of turn");
}

static bool say(struct tunnel *t, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = send(t->fd, at, len, MSG_NOSIGNAL);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN && errno != EINTR) {
            return fail(t, strerror(errno));
        } else if (!wait_for(t, POLLOUT)) {
            return false;
        }
    }
    return true;
}

/* See httpconnect.h, socks.h. */
typedef ssize_t (*reader)(const char *data, size_t len, int *code);

/* Waits for something behind what has been taken, and copies it there. */
static bool look(struct tunnel *t, size_t *fresh)
{
    for (;;) {
        if (!wait_for(t, POLLIN))
            return false;
        ssize_t n = recv(t->fd, t->in + t->len, sizeof t->in - t->len, MSG_PEEK);
        if (n == 0)
            return fail(t, "it closed the connection");
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return fail(t, strerror(errno));
        *fresh = (size_t)n;
        if (n > 0)
            return true;
    }
}

static bool take(struct tunnel *t, size_t n)
{
    if (recv(t->fd, t->in + t->len, n, 0) != (ssize_t)n)
        return fail(t, "it lost the connection");
    t->len += n;
    return true;
}

/* Only what belongs to the answer is taken from the socket. */
static bool hear(struct tunnel *t, reader read, int *code)
{
    size_t fresh;
    t->len = 0;
    while (look(t, &fresh)) {
        ssize_t whole = read(t->in, t->len + fresh, code);
        if (whole < 0)
            return fail(t, t->via->kind == VIA_HTTP ? "it does not speak HTTP"
                                                    : "it does not speak SOCKS version 5");
        if (whole > 0)
            return take(t, (size_t)whole - t->len);
        if (!take(t, fresh))
            return false;
    }
    return false;
}

/* ---- HTTP ---- */

static bool explain_status(struct tunnel *t, int status)
{
    switch (status) {
    case 403:
        return fail(t, "it does not allow this connection (403)");
    case 407:
        if (!httpconnect_asks_for_basic(t->in, t->len))
            return fail(t, "it wants a login by another way than Basic (407)");
        if (t->via->user == NULL)
            return fail(t, "it wants a login (407): write viaUsername and viaPasswordFile");
        return fail(t, "it does not take this user and password (407)");
    case 401: /* of a server that is asked directly, but tinyproxy says it of a wrong password */
        return fail(t, t->via->user != NULL ? "it does not take this user and password (401)"
                                            : "it wants a login (401)");
    case 405:
    case 501:
        return fail_with_number(t, "it does not do CONNECT", status);
    case 500:
        return fail(t, "it has failed, or cannot reach the server (500)");
    case 502:
    case 503:
    case 504:
        return fail_with_number(t, "it cannot reach the server", status);
    default:
        return fail_with_number(t, "it does not make the connection", status);
    }
}

static const char *password_of(const struct tunnel *t)
{
    return t->via->password != NULL ? secret_text(t->via->password) : NULL;
}

static bool open_http(struct tunnel *t)
{
    const struct httpconnect c = {
        .host = t->to->host, .port = t->to->port, .user = t->via->user, .password = password_of(t)};
    char request[HTTPCONNECT_REQUEST_MAX];
    int status;
    size_t len = httpconnect_write(&c, request);
    bool said = say(t, request, len);
    explicit_bzero(request, sizeof request);
    if (!said || !hear(t, httpconnect_read, &status))
        return false;
    return status < 300 || explain_status(t, status);
}

/* ---- SOCKS ---- */

static bool log_in(struct tunnel *t)
{
    unsigned char login[SOCKS_LOGIN_MAX];
    int code;
    size_t len = socks_write_login(t->via->user, password_of(t), login);
    bool said = is_quiet(t) && say(t, login, len);
    explicit_bzero(login, sizeof login);
    if (!said || !hear(t, socks_read_login, &code))
        return false;
    return code == 0 || fail(t, "it does not take this user and password");
}

static bool greet(struct tunnel *t)
{
    unsigned char greeting[SOCKS_GREETING_MAX];
    int method;
    size_t len = socks_write_greeting(t->via->user != NULL, greeting);
    if (!say(t, greeting, len) || !hear(t, socks_read_method, &method))
        return false;
    if (method == SOCKS_NO_LOGIN)
        return true;
    if (method == SOCKS_PASSWORD && t->via->user != NULL)
        return log_in(t);
    if (t->via->user == NULL)
        return fail(t, "it wants a login: write viaUsername and viaPasswordFile");
    return fail(t, "it wants a login by another way than user and password");
}

static bool open_socks(struct tunnel *t)
{
    unsigned char request[SOCKS_REQUEST_MAX];
    char sentence[80];
    int code;
    if (!greet(t))
        return false;
    size_t len = socks_write_request(t->to->host, t->to->port, request);
    if (!is_quiet(t) || !say(t, request, len) || !hear(t, socks_read_reply, &code))
        return false;
    snprintf(sentence, sizeof sentence, "it %s", code != 0 ? socks_reply_text(code) : "");
    return code == 0 || fail(t, sentence);
}

enum tunnel_end tunnel_open(const struct via *v, const struct via_target *to, int fd,
                            int64_t deadline, int cancel_fd, char *error, size_t error_size)
{
    struct tunnel t = {.via = v,
                       .to = to,
                       .fd = fd,
                       .cancel_fd = cancel_fd,
                       .deadline = deadline,
                       .error = error,
                       .error_size = error_size};
    bool open = false;
    switch (v->kind) {
    case VIA_HTTP:
        open = open_http(&t);
        break;
    case VIA_SOCKS:
        open = open_socks(&t);
        break;
    }
    return open ? TUNNEL_OPEN : t.cancelled ? TUNNEL_CANCELLED : TUNNEL_FAILED;
}
