/* SPDX-License-Identifier: ISC
 *
 * bench-load: the load generator of scripts/bench.
 *
 *   bench-load [OPTIONS] PORT
 *
 *   --implicit        TLS from the first byte; without it STARTTLS after EHLO
 *   --resume          every session resumes with the ticket of the one before it
 *   --clients N       connections at a time, all opened at once at the start (1)
 *   --seconds S       begin no new session after S seconds
 *   --sessions N      begin no more than N sessions
 *   --message BYTES   size of the one message of each session (700), rounded up to whole lines
 *   --download BYTES  no message: fetch so much with bench-sink's XPRODUCE
 *   --exact           the answer to the message must name the number of bytes sent
 *   --idle            hold every session after EHLO inside TLS until stdin ends
 *   --cipher NAME     the only cipher offered (AES-128-GCM)
 *   --timeout S       a session that takes longer has failed (60)
 *
 * One process with one epoll loop against 127.0.0.1. Every client is lock-step: one command, in
 * one write, TCP_NODELAY, then its whole reply, whose code must be the expected one. TLS is 1.3
 * with X25519; the certificate is not judged, the signature made with it is. A session counts
 * when QUIT was answered 221 and the connection was then closed by the proxy.
 *
 * At the end one line of JSON goes to stdout. `rate` is sessions per second after the first fifth
 * of --seconds, `median` and `p99` are milliseconds from connect() to the 221, `mbps` is that of
 * the bulk transfer alone. `truncated` counts proxies' closes without close_notify, `reset` those
 * with a TCP reset, both only after the 221. Exit status 0 if no session failed.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <getopt.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_BYTES = 78,      /* of message text, CRLF included */
    RECORD_BYTES = 16384, /* the largest TLS record */
    BLOCK_RECORDS = 39,   /* 39 records hold a whole number of lines */
    BLOCK_BYTES = RECORD_BYTES * BLOCK_RECORDS,
    READ_AHEAD_BYTES = 32 * 1024,
    REPLY_MAX_BYTES = 4096,
    SMALL_MESSAGE_MAX = 8 * 1024, /* up to here a message and its final dot are one write */
    EVENTS_PER_WAIT = 256,
    MAX_STEPS = 16,
};
_Static_assert(BLOCK_BYTES % LINE_BYTES == 0, "a block must end with a line");

/* What happens in one step of a session. */
enum act {
    ACT_CONNECT,
    ACT_HANDSHAKE,
    ACT_SAY,   /* send `text` (if any) and get reply `want` */
    ACT_BULK,  /* send `count` bytes of message, then `text`, then get reply `want` */
    ACT_FETCH, /* send `text`, then get `count` bytes */
    ACT_HOLD,  /* sit there until stdin ends */
    ACT_QUIT,  /* as ACT_SAY; the session's clock stops at the reply */
    ACT_CLOSE, /* close_notify and FIN, then wait for the other side's */
    ACT_END,
};

struct step {
    enum act act;
    const char *what; /* for error messages */
    const char *text;
    size_t length;
    uint64_t count;
    int want;
};

enum progress { BLOCKED, GOES_ON, FINISHED, FAILED };

struct client {
    int fd;
    bool idle; /* has reached ACT_HOLD */
    bool in_tls;
    bool wants_write;
    gnutls_session_t tls;
    gnutls_datum_t ticket;
    unsigned step;
    uint64_t sent, received; /* in this step */
    size_t nreply;
    double started, finished, bulk_started;
    size_t ahead_at, ahead_end; /* read from the socket, not yet taken by GnuTLS */
    char *ahead;
    char reply[REPLY_MAX_BYTES];
};

struct options {
    int port;
    bool implicit, resume, exact, idle;
    unsigned clients, sessions;
    double seconds, timeout;
    uint64_t message, download;
    const char *cipher;
};

struct result {
    unsigned begun, done, failed, resumed, truncated, reset, counted;
    double first_counted, last_done, bulk_seconds;
    double *durations;
    size_t nroom;
    char tls[160];
    char first_error[300];
};

static struct options options = {
    .clients = 1, .timeout = 60, .message = 700, .cipher = "AES-128-GCM"};
static struct result result;
static struct step script[MAX_STEPS];
static unsigned nsteps;
static char block[BLOCK_BYTES];
static char discard[64 * 1024];
static char small_message[SMALL_MESSAGE_MAX + 4];
static char fetch_command[64];
static int epoll_fd = -1;
static gnutls_certificate_credentials_t credentials;
static gnutls_priority_t priority;
static double run_started;
static bool released; /* stdin has ended: idle clients go on */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench-load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* Remembers only the first error: the others are usually its echo. */
__attribute__((format(printf, 2, 3))) static enum progress fail(const struct client *c,
                                                                const char *format, ...)
{
    if (result.first_error[0] == '\0') {
        char why[200];
        va_list args;
        va_start(args, format);
        vsnprintf(why, sizeof(why), format, args);
        va_end(args);
        snprintf(result.first_error, sizeof(result.first_error), "%s: %s", script[c->step].what,
                 why);
    }
    return FAILED;
}

/* ---- the script ---- */

static void add_step(enum act act, const char *what, const char *text, uint64_t count, int want)
{
    if (nsteps == MAX_STEPS) {
        die("the script is too long");
    }
    script[nsteps++] = (struct step){.act = act,
                                     .what = what,
                                     .text = text,
                                     .length = text ? strlen(text) : 0,
                                     .count = count,
                                     .want = want};
}

static void say_step(const char *what, const char *text, int want)
{
    add_step(ACT_SAY, what, text, 0, want);
}

static void fill_block(void)
{
    static const char alphabet[] =
        "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789";
    unsigned state = 1;
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        state = state * 1103515245u + 12345u;
        block[i] = alphabet[(state >> 16) % (sizeof(alphabet) - 1)];
        if (i % LINE_BYTES == LINE_BYTES - 2) {
            block[i++] = '\r';
            block[i] = '\n';
        }
    }
    memcpy(block, "Subject: load\r\n\r\n", 17);
}

static void message_steps(void)
{
    uint64_t size = (options.message + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    options.message = size;
    say_step("MAIL", "MAIL FROM:<sender@bench.example>\r\n", 250);
    say_step("RCPT", "RCPT TO:<recipient@bench.example>\r\n", 250);
    say_step("DATA", "DATA\r\n", 354);
    if (size <= SMALL_MESSAGE_MAX) {
        memcpy(small_message, block, size);
        memcpy(small_message + size, ".\r\n", 4);
        say_step("message", small_message, 250);
    } else {
        add_step(ACT_BULK, "message", ".\r\n", size, 250);
    }
}

static void write_script(void)
{
    static const char ehlo[] = "EHLO load.bench.example\r\n";
    add_step(ACT_CONNECT, "connect", NULL, 0, 0);
    if (options.implicit) {
        add_step(ACT_HANDSHAKE, "handshake", NULL, 0, 0);
        say_step("greeting", NULL, 220);
    } else {
        say_step("greeting", NULL, 220);
        say_step("first EHLO", ehlo, 250);
        say_step("STARTTLS", "STARTTLS\r\n", 220);
        add_step(ACT_HANDSHAKE, "handshake", NULL, 0, 0);
    }
    say_step("EHLO", ehlo, 250);
    if (options.idle) {
        add_step(ACT_HOLD, "hold", NULL, 0, 0);
    } else if (options.download > 0) {
        snprintf(fetch_command, sizeof(fetch_command), "XPRODUCE %llu\r\n",
                 (unsigned long long)options.download);
        add_step(ACT_FETCH, "XPRODUCE", fetch_command, options.download, 0);
    } else {
        message_steps();
    }
    add_step(ACT_QUIT, "QUIT", "QUIT\r\n", 0, 221);
    add_step(ACT_CLOSE, "close", NULL, 0, 0);
    add_step(ACT_END, "end", NULL, 0, 0);
}

/* ---- bytes ---- */

/* GnuTLS reads a record's head and body apart; reading ahead keeps that at one system call. */
static ssize_t pull(gnutls_transport_ptr_t pointer, void *to, size_t n)
{
    struct client *c = pointer;
    if (c->ahead_at == c->ahead_end) {
        ssize_t got = recv(c->fd, c->ahead, READ_AHEAD_BYTES, 0);
        if (got <= 0) {
            return got;
        }
        c->ahead_at = 0;
        c->ahead_end = (size_t)got;
    }
    size_t have = c->ahead_end - c->ahead_at;
    if (n > have) {
        n = have;
    }
    memcpy(to, c->ahead + c->ahead_at, n);
    c->ahead_at += n;
    return (ssize_t)n;
}

static int pull_timeout(gnutls_transport_ptr_t pointer, unsigned ms)
{
    struct client *c = pointer;
    (void)ms; /* never wait: other clients have work to do */
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return c->ahead_at < c->ahead_end ? 1 : poll(&p, 1, 0);
}

static void watch(struct client *c, bool write)
{
    if (write == c->wants_write) {
        return;
    }
    struct epoll_event event = {.events = write ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event) == -1) {
        die("epoll_ctl: %s", strerror(errno));
    }
    c->wants_write = write;
}

static enum progress send_some(struct client *c, const char *from, size_t n, size_t *sent)
{
    if (c->in_tls) {
        ssize_t r = gnutls_record_send(c->tls, from, n < RECORD_BYTES ? n : RECORD_BYTES);
        if (r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED) {
            watch(c, true);
            return BLOCKED;
        }
        if (r < 0) {
            return fail(c, "%s", gnutls_strerror((int)r));
        }
        *sent = (size_t)r;
        return GOES_ON;
    }
    ssize_t r = send(c->fd, from, n, MSG_NOSIGNAL);
    if (r == -1 && errno == EAGAIN) {
        watch(c, true);
        return BLOCKED;
    }
    if (r == -1) {
        return fail(c, "%s", strerror(errno));
    }
    *sent = (size_t)r;
    return GOES_ON;
}

static enum progress receive_some(struct client *c, char *to, size_t room, size_t *received)
{
    watch(c, false);
    if (!c->in_tls) {
        ssize_t r = recv(c->fd, to, room, 0);
        if (r == -1 && errno == EAGAIN) {
            return BLOCKED;
        }
        if (r <= 0) {
            return fail(c, "%s", r == 0 ? "connection closed" : strerror(errno));
        }
        *received = (size_t)r;
        return GOES_ON;
    }
    for (;;) {
        ssize_t r = gnutls_record_recv(c->tls, to, room);
        if (r > 0) {
            *received = (size_t)r;
            return GOES_ON;
        }
        if (r == 0) {
            return fail(c, "TLS closed");
        }
        if (gnutls_error_is_fatal((int)r)) {
            return fail(c, "%s", gnutls_strerror((int)r));
        }
        /* A ticket also says AGAIN, and epoll knows nothing of what was read ahead. */
        if (c->ahead_at == c->ahead_end && pull_timeout(c, 0) <= 0) {
            return BLOCKED;
        }
    }
}

/* Where a complete reply starts its last line, or NULL. */
static const char *last_line(const char *reply)
{
    const char *line = reply;
    const char *lf;
    while ((lf = strchr(line, '\n')) != NULL) {
        if (lf - line >= 4 && line[3] == ' ') {
            return line;
        }
        line = lf + 1;
    }
    return NULL;
}

static enum progress judge_reply(struct client *c, const struct step *s, const char *last)
{
    char count[40];
    if (atoi(last) != s->want || last[3] != ' ') {
        return fail(c, "wanted %d, got: %.100s", s->want, last);
    }
    if (strchr(last, '\n')[1] != '\0') {
        return fail(c, "more than one reply: %.150s", c->reply);
    }
    if (strcmp(s->what, "first EHLO") == 0 && !strstr(c->reply, "STARTTLS\r\n")) {
        return fail(c, "STARTTLS is not offered");
    }
    snprintf(count, sizeof(count), ": %llu bytes", (unsigned long long)options.message + 3);
    if (options.exact && strcmp(s->what, "message") == 0 && !strstr(last, count)) {
        return fail(c, "%llu bytes sent, reply: %.100s", (unsigned long long)options.message + 3,
                    last);
    }
    return GOES_ON;
}

static enum progress get_reply(struct client *c, const struct step *s)
{
    const char *last;
    while (!(last = c->nreply ? last_line(c->reply) : NULL)) {
        size_t n = 0;
        if (c->nreply == sizeof(c->reply) - 1) {
            return fail(c, "reply too long");
        }
        enum progress p =
            receive_some(c, c->reply + c->nreply, sizeof(c->reply) - 1 - c->nreply, &n);
        if (p != GOES_ON) {
            return p;
        }
        c->nreply += n;
        c->reply[c->nreply] = '\0';
    }
    return judge_reply(c, s, last);
}

/* ---- the acts ---- */

static enum progress act_connect(struct client *c)
{
    int error = 0;
    socklen_t n = sizeof(error);
    struct pollfd p = {.fd = c->fd, .events = POLLOUT};
    if (poll(&p, 1, 0) == 0) {
        return BLOCKED;
    }
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
    return error ? fail(c, "%s", strerror(error)) : GOES_ON;
}

static void start_tls(struct client *c)
{
    if (gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0) {
        die("gnutls_init");
    }
    gnutls_priority_set(c->tls, priority);
    gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_server_name_set(c->tls, GNUTLS_NAME_DNS, "localhost", 9);
    gnutls_transport_set_ptr2(c->tls, c, (gnutls_transport_ptr_t)(intptr_t)c->fd);
    gnutls_transport_set_pull_function(c->tls, pull);
    gnutls_transport_set_pull_timeout_function(c->tls, pull_timeout);
    gnutls_handshake_set_timeout(c->tls, GNUTLS_INDEFINITE_TIMEOUT);
    if (options.resume && c->ticket.data) {
        gnutls_session_set_data(c->tls, c->ticket.data, c->ticket.size);
    }
}

static void note_handshake(struct client *c)
{
    if (gnutls_session_is_resumed(c->tls)) {
        result.resumed++;
    }
    if (result.tls[0] == '\0') {
        char *text = gnutls_session_get_desc(c->tls);
        snprintf(result.tls, sizeof(result.tls), "%s", text ? text : "?");
        gnutls_free(text);
    }
}

static enum progress act_handshake(struct client *c)
{
    if (!c->tls) {
        start_tls(c);
    }
    for (;;) {
        int r = gnutls_handshake(c->tls);
        if (r == GNUTLS_E_SUCCESS) {
            c->in_tls = true;
            note_handshake(c);
            return GOES_ON;
        }
        if (gnutls_error_is_fatal(r)) {
            return fail(c, "%s", gnutls_strerror(r));
        }
        if (gnutls_record_get_direction(c->tls) == 1) {
            watch(c, true);
            return BLOCKED;
        }
        watch(c, false);
        if (c->ahead_at == c->ahead_end && pull_timeout(c, 0) <= 0) {
            return BLOCKED;
        }
    }
}

/* The message first (its bytes are those of `block`, again and again), then the step's text. */
static enum progress send_step(struct client *c, const struct step *s)
{
    uint64_t bulk = s->act == ACT_BULK ? s->count : 0;
    while (c->sent < bulk + s->length) {
        const char *from;
        size_t n, sent = 0;
        if (c->sent < bulk) {
            size_t at = (size_t)(c->sent % BLOCK_BYTES);
            from = block + at;
            n = BLOCK_BYTES - at;
            n = n < bulk - c->sent ? n : (size_t)(bulk - c->sent);
        } else {
            from = s->text + (c->sent - bulk);
            n = s->length - (size_t)(c->sent - bulk);
        }
        enum progress p = send_some(c, from, n, &sent);
        if (p != GOES_ON) {
            return p;
        }
        c->sent += sent;
    }
    return GOES_ON;
}

static enum progress act_say(struct client *c, const struct step *s)
{
    if (c->bulk_started == 0 && s->act == ACT_BULK) {
        c->bulk_started = now();
    }
    enum progress p = send_step(c, s);
    if (p == GOES_ON) {
        p = get_reply(c, s);
    }
    if (p == GOES_ON && s->act == ACT_BULK) {
        result.bulk_seconds += now() - c->bulk_started;
    }
    if (p == GOES_ON && s->act == ACT_QUIT) {
        c->finished = now();
    }
    return p;
}

static enum progress act_fetch(struct client *c, const struct step *s)
{
    if (c->bulk_started == 0) {
        c->bulk_started = now();
    }
    enum progress p = send_step(c, s);
    while (p == GOES_ON && c->received < s->count) {
        size_t n = 0;
        p = receive_some(c, discard, sizeof(discard), &n);
        c->received += n;
    }
    if (p == GOES_ON && c->received > s->count) {
        return fail(c, "more bytes than asked for");
    }
    if (p == GOES_ON) {
        result.bulk_seconds += now() - c->bulk_started;
    }
    return p;
}

/* Keeps the newest ticket for the next session of this client. */
static void keep_ticket(struct client *c)
{
    gnutls_datum_t fresh = {NULL, 0};
    if (options.resume && (gnutls_session_get_flags(c->tls) & GNUTLS_SFLAGS_SESSION_TICKET) &&
        gnutls_session_get_data2(c->tls, &fresh) == 0) {
        gnutls_free(c->ticket.data);
        c->ticket = fresh;
    }
}

static enum progress act_close(struct client *c)
{
    if (c->sent == 0) {
        keep_ticket(c);
        gnutls_bye(c->tls, GNUTLS_SHUT_WR);
        shutdown(c->fd, SHUT_WR);
        c->sent = 1;
    }
    for (;;) {
        watch(c, false);
        ssize_t r = gnutls_record_recv(c->tls, discard, sizeof(discard));
        if (r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED) {
            if (c->ahead_at == c->ahead_end && pull_timeout(c, 0) <= 0) {
                return BLOCKED;
            }
            continue;
        }
        if (r > 0) {
            return fail(c, "bytes after the reply to QUIT");
        }
        result.truncated += r == GNUTLS_E_PREMATURE_TERMINATION;
        result.reset += r == GNUTLS_E_PULL_ERROR;
        return GOES_ON;
    }
}

static enum progress act(struct client *c)
{
    const struct step *s = &script[c->step];
    switch (s->act) {
    case ACT_CONNECT:
        return act_connect(c);
    case ACT_HANDSHAKE:
        return act_handshake(c);
    case ACT_SAY:
    case ACT_BULK:
    case ACT_QUIT:
        return act_say(c, s);
    case ACT_FETCH:
        return act_fetch(c, s);
    case ACT_HOLD:
        c->idle = true;
        return released ? GOES_ON : BLOCKED;
    case ACT_CLOSE:
        return act_close(c);
    case ACT_END:
        return FINISHED;
    }
    return FAILED;
}

/* ---- clients and their sessions ---- */

static void note_done(const struct client *c)
{
    if (result.done == result.nroom) {
        result.nroom = result.nroom ? result.nroom * 2 : 1024;
        result.durations = realloc(result.durations, result.nroom * sizeof(double));
        if (!result.durations) {
            die("out of memory");
        }
    }
    result.durations[result.done++] = c->finished - c->started;
    double since = now() - run_started;
    result.last_done = since;
    if (since >= options.seconds / 5 && since <= options.seconds) {
        result.counted++;
    }
}

static void end_session(struct client *c)
{
    gnutls_deinit(c->tls);
    close(c->fd);
    c->tls = NULL;
    c->fd = -1;
}

static bool may_begin(void)
{
    return (options.sessions == 0 || result.begun < options.sessions) &&
           (options.seconds == 0 || now() - run_started < options.seconds);
}

static void begin_session(struct client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)options.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd == -1) {
        die("socket: %s", strerror(errno));
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->in_tls = c->idle = false;
    c->step = 0;
    c->sent = c->received = 0;
    c->nreply = 0;
    c->ahead_at = c->ahead_end = 0;
    c->bulk_started = 0;
    c->wants_write = true;
    c->started = now();
    result.begun++;
    /* An error shows up in SO_ERROR, where act_connect looks. */
    (void)connect(c->fd, (struct sockaddr *)&to, sizeof(to));
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) == -1) {
        die("epoll_ctl: %s", strerror(errno));
    }
}

/* Runs a session as far as it goes without waiting, and the next one after it. */
static void run(struct client *c)
{
    enum progress p;
    while ((p = act(c)) == GOES_ON) {
        c->step++;
        c->sent = c->received = 0;
        c->nreply = 0;
    }
    if (p == BLOCKED) {
        return;
    }
    if (p == FINISHED) {
        note_done(c);
    } else {
        result.failed++;
    }
    end_session(c);
    if (may_begin()) {
        begin_session(c);
    }
}

static void expire(struct client *clients)
{
    double oldest = now() - options.timeout;
    for (unsigned i = 0; i < options.clients; i++) {
        struct client *c = &clients[i];
        if (c->fd != -1 && !c->idle && c->started < oldest) {
            fail(c, "no end after %.0f s", options.timeout);
            result.failed++;
            end_session(c);
        }
    }
}

static void release(struct client *clients)
{
    released = true;
    for (unsigned i = 0; i < options.clients; i++) {
        if (clients[i].fd != -1 && clients[i].idle) {
            clients[i].idle = false;
            clients[i].started = now();
            run(&clients[i]);
        }
    }
}

static unsigned count_open(const struct client *clients, bool idle_only)
{
    unsigned n = 0;
    for (unsigned i = 0; i < options.clients; i++) {
        n += clients[i].fd != -1 && (!idle_only || clients[i].idle);
    }
    return n;
}

/* Says on stdout when every client that is still alive sits idle; stdin's end lets them go. */
static void tend_idle(struct client *clients)
{
    static bool said;
    if (!options.idle || released) {
        return;
    }
    unsigned nidle = count_open(clients, true);
    if (!said && nidle == count_open(clients, false)) {
        printf("idle %u\n", nidle);
        fflush(stdout);
        said = true;
    }
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    if (said && poll(&p, 1, 0) == 1) {
        release(clients);
    }
}

static void loop(struct client *clients)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    double next_check = now() + 0.1;
    while (count_open(clients, false) > 0) {
        for (;;) {
            int n = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, 100);
            if (n == -1 && errno != EINTR) {
                die("epoll_wait: %s", strerror(errno));
            }
            for (int i = 0; i < n; i++) {
                run(events[i].data.ptr);
            }
            if (n <= 0 || now() >= next_check || result.done + result.failed == result.begun) {
                break;
            }
        }
        next_check = now() + 0.1;
        expire(clients);
        tend_idle(clients);
    }
}

/* One session before the clock starts, so that all clients have a ticket from the beginning. */
static void fetch_ticket(struct client *clients)
{
    struct options wanted = options;
    options.clients = options.sessions = 1;
    options.seconds = 0;
    begin_session(&clients[0]);
    loop(clients);
    if (result.failed > 0 || !clients[0].ticket.data) {
        die("no ticket: %s", result.first_error);
    }
    options = wanted;
    for (unsigned i = 1; i < options.clients; i++) {
        gnutls_datum_t *t = &clients[i].ticket;
        *t = (gnutls_datum_t){gnutls_malloc(clients[0].ticket.size), clients[0].ticket.size};
        memcpy(t->data, clients[0].ticket.data, t->size);
    }
    free(result.durations);
    result = (struct result){.begun = 0};
}

/* ---- start and end ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(size_t percent)
{
    if (result.done == 0) {
        return 0;
    }
    return result.durations[(result.done * percent + 99) / 100 - 1];
}

static void print_json_string(const char *name, const char *text)
{
    printf(", \"%s\": \"", name);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            printf("\\%c", *text);
        } else if ((unsigned char)*text < ' ') {
            printf("\\u%04x", (unsigned)(unsigned char)*text);
        } else {
            putchar((unsigned char)*text < 127 ? *text : '?');
        }
    }
    putchar('"');
}

static void print_result(void)
{
    double window = options.seconds * 4 / 5;
    double rate = 0;
    if (result.done > 0) {
        rate = window > 0 ? result.counted / window : result.done / result.last_done;
    }
    uint64_t bulk = options.download ? options.download : options.message;
    qsort(result.durations, result.done, sizeof(double), compare_doubles);
    printf("{\"sessions\": %u, \"failed\": %u, \"resumed\": %u, \"truncated\": %u, \"reset\": %u",
           result.done, result.failed, result.resumed, result.truncated, result.reset);
    printf(", \"seconds\": %.4f, \"rate\": %.1f", result.last_done, rate);
    printf(", \"median\": %.3f, \"p99\": %.3f", percentile(50) * 1e3, percentile(99) * 1e3);
    printf(", \"bytes\": %llu", (unsigned long long)bulk * result.done);
    printf(", \"mbps\": %.1f",
           result.bulk_seconds > 0 ? (double)bulk * result.done / 1e6 / result.bulk_seconds : 0);
    print_json_string("tls", result.tls);
    print_json_string("error", result.first_error);
    puts("}");
}

static void usage(void)
{
    fputs("usage: bench-load [--implicit] [--resume] [--clients N] [--seconds S] [--sessions N]\n"
          "                  [--message BYTES | --download BYTES] [--exact] [--idle]\n"
          "                  [--cipher NAME] [--timeout S] PORT\n",
          stderr);
    exit(64);
}

static unsigned long long parse_count(const char *text, unsigned long long largest)
{
    char *rest = NULL;
    errno = 0;
    unsigned long long n = strtoull(text, &rest, 10);
    if (errno || *text < '0' || *text > '9' || *rest || n < 1 || n > largest) {
        usage();
    }
    return n;
}

static double parse_seconds(const char *text)
{
    char *rest = NULL;
    double s = strtod(text, &rest);
    if (!(s > 0 && s < 3600) || *rest) {
        usage();
    }
    return s;
}

static void parse_arguments(int argc, char **argv)
{
    static const struct option longs[] = {
        {"implicit", no_argument, NULL, 'i'},       {"resume", no_argument, NULL, 'r'},
        {"clients", required_argument, NULL, 'c'},  {"seconds", required_argument, NULL, 's'},
        {"sessions", required_argument, NULL, 'n'}, {"message", required_argument, NULL, 'm'},
        {"download", required_argument, NULL, 'd'}, {"exact", no_argument, NULL, 'e'},
        {"idle", no_argument, NULL, 'h'},           {"cipher", required_argument, NULL, 'C'},
        {"timeout", required_argument, NULL, 't'},  {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (option) {
        case 'i':
            options.implicit = true;
            break;
        case 'r':
            options.resume = true;
            break;
        case 'e':
            options.exact = true;
            break;
        case 'h':
            options.idle = true;
            break;
        case 'c':
            options.clients = (unsigned)parse_count(optarg, 100000);
            break;
        case 'n':
            options.sessions = (unsigned)parse_count(optarg, 1000000000);
            break;
        case 'm':
            options.message = parse_count(optarg, 1ull << 40);
            break;
        case 'd':
            options.download = parse_count(optarg, 1ull << 40);
            break;
        case 's':
            options.seconds = parse_seconds(optarg);
            break;
        case 't':
            options.timeout = parse_seconds(optarg);
            break;
        case 'C':
            options.cipher = optarg;
            break;
        default:
            usage();
        }
    }
    if (optind != argc - 1) {
        usage();
    }
    options.port = (int)parse_count(argv[optind], 65535);
    if (options.sessions == 0 && (options.seconds == 0 || options.idle)) {
        options.sessions = options.clients;
    }
}

static void set_up_tls(void)
{
    char text[200];
    snprintf(text, sizeof(text),
             "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-X25519:-CIPHER-ALL:+%s",
             options.cipher);
    if (gnutls_priority_init(&priority, text, NULL) < 0) {
        die("no such cipher: %s", options.cipher);
    }
    gnutls_certificate_allocate_credentials(&credentials);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < options.clients + 10) {
        die("%u clients, but only %llu descriptors", options.clients,
            (unsigned long long)limit.rlim_cur);
    }
}

static struct client *create_clients(void)
{
    struct client *clients = calloc(options.clients, sizeof(*clients));
    if (!clients) {
        die("out of memory");
    }
    for (unsigned i = 0; i < options.clients; i++) {
        clients[i].fd = -1;
        clients[i].ahead = malloc(READ_AHEAD_BYTES);
        if (!clients[i].ahead) {
            die("out of memory");
        }
    }
    return clients;
}

static void destroy_clients(struct client *clients)
{
    for (unsigned i = 0; i < options.clients; i++) {
        gnutls_free(clients[i].ticket.data);
        free(clients[i].ahead);
    }
    free(clients);
}

int main(int argc, char **argv)
{
    parse_arguments(argc, argv);
    raise_descriptor_limit();
    set_up_tls();
    fill_block();
    write_script();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct client *clients = create_clients();
    if (options.resume) {
        fetch_ticket(clients);
    }
    run_started = now();
    for (unsigned i = 0; i < options.clients && may_begin(); i++) {
        begin_session(&clients[i]);
    }
    loop(clients);
    print_result();
    bool good = result.failed == 0 && result.done > 0;
    destroy_clients(clients);
    free(result.durations);
    gnutls_certificate_free_credentials(credentials);
    gnutls_priority_deinit(priority);
    return good ? 0 : 1;
}
