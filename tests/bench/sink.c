/* SPDX-License-Identifier: ISC
 *
 * bench-sink: the backend behind every proxy that scripts/bench measures.
 *
 *   bench-sink [--auth PORT=BACKEND_PORT]... PORT...
 *
 * It listens on 127.0.0.1, on as many ports as asked, and costs as little as possible: one
 * process, one epoll loop, no memory per message. On a plain PORT it speaks SMTP and throws
 * messages away, answering the end of one with the number of bytes it had, so that the load
 * generator can tell that nothing was lost. Two commands of its own move bulk data without SMTP,
 * for proxies that understand none:
 *
 *   XPRODUCE n   answers with n bytes and nothing else
 *   XDISCARD n   swallows the n bytes that follow, then answers 250
 *
 * On an --auth PORT it answers every HTTP request as nginx's auth_http wants it: "go on, the
 * server is 127.0.0.1:BACKEND_PORT". It prints "ready" once every port listens, and ends on
 * SIGTERM.
 *
 * Bugs: the end of a message (CRLF.CRLF) is only seen at the end of what one read gave, which is
 * enough for a client that waits for the answer. A reply that does not fit the socket's buffer
 * ends the connection.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LINE_MAX_BYTES = 1024,
    READ_BYTES = 256 * 1024,
    REPLY_MAX_BYTES = 4096,
    EVENTS_PER_WAIT = 256,
};

enum role { ROLE_LISTEN_SMTP, ROLE_LISTEN_AUTH, ROLE_SMTP, ROLE_AUTH };
enum state { STATE_COMMAND, STATE_DATA, STATE_BDAT, STATE_DISCARD, STATE_PRODUCE, STATE_BYE };

struct peer {
    int fd;
    enum role role;
    enum state state;
    int auth_port;      /* the backend named to nginx, on --auth ports and their peers */
    size_t nline;       /* bytes of an unfinished command in `line` */
    uint64_t remaining; /* of BDAT, XDISCARD, XPRODUCE */
    uint64_t nmessage;  /* bytes of this message so far, the final dot included */
    char tail[5];       /* the last bytes of the message, to recognise its end across reads */
    char line[LINE_MAX_BYTES];
};

struct replies {
    size_t n;
    char text[REPLY_MAX_BYTES];
};

static const char EHLO_REPLY[] = "250-sink.example\r\n"
                                 "250-PIPELINING\r\n"
                                 "250-SIZE 0\r\n"
                                 "250-ENHANCEDSTATUSCODES\r\n"
                                 "250-8BITMIME\r\n"
                                 "250-DSN\r\n"
                                 "250-SMTPUTF8\r\n"
                                 "250 CHUNKING\r\n";

static int epoll_fd = -1;
static char in_bytes[READ_BYTES];
static char out_bytes[READ_BYTES];

static void die(const char *what)
{
    fprintf(stderr, "bench-sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(struct peer *p, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = p};
    if (epoll_ctl(epoll_fd, op, p->fd, &event) == -1) {
        die("epoll_ctl");
    }
}

static void say(struct replies *r, const char *text)
{
    size_t n = strlen(text);
    if (r->n + n <= sizeof(r->text)) {
        memcpy(r->text + r->n, text, n);
        r->n += n;
    }
}

static void end_of_message(struct peer *p, struct replies *r)
{
    char text[80];
    snprintf(text, sizeof(text), "250 2.0.0 Ok: %llu bytes\r\n", (unsigned long long)p->nmessage);
    say(r, text);
    p->nmessage = 0;
    p->state = STATE_COMMAND;
}

static void start_bdat(struct peer *p, const char *argument)
{
    char *rest = NULL;
    p->remaining = strtoull(argument, &rest, 10);
    p->state = STATE_BDAT;
}

static void start_produce(struct peer *p, const char *argument)
{
    p->remaining = strtoull(argument, NULL, 10);
    p->state = STATE_PRODUCE;
}

static bool is_verb(const char *line, const char *verb)
{
    return strncasecmp(line, verb, strlen(verb)) == 0;
}

static void obey(struct peer *p, const char *line, struct replies *r)
{
    if (is_verb(line, "EHLO") || is_verb(line, "LHLO")) {
        say(r, EHLO_REPLY);
    } else if (is_verb(line, "DATA")) {
        say(r, "354 End data with <CR><LF>.<CR><LF>\r\n");
        p->state = STATE_DATA;
        memcpy(p->tail, "xxx\r\n", 5);
    } else if (is_verb(line, "BDAT ")) {
        start_bdat(p, line + 5);
    } else if (is_verb(line, "XPRODUCE ")) {
        start_produce(p, line + 9);
    } else if (is_verb(line, "XDISCARD ")) {
        p->remaining = strtoull(line + 9, NULL, 10);
        p->state = STATE_DISCARD;
    } else if (is_verb(line, "QUIT")) {
        say(r, "221 2.0.0 Bye\r\n");
        p->state = STATE_BYE;
    } else if (is_verb(line, "MAIL") || is_verb(line, "RCPT") || is_verb(line, "RSET") ||
               is_verb(line, "NOOP") || is_verb(line, "HELO")) {
        say(r, "250 2.0.0 Ok\r\n");
    } else {
        say(r, "502 5.5.2 Command not recognized\r\n");
    }
}

/* Takes what belongs to one command from the n bytes at `from`; returns how much that was. */
static size_t take_command(struct peer *p, const char *from, size_t n, struct replies *r)
{
    const char *lf = memchr(from, '\n', n);
    size_t len = lf ? (size_t)(lf - from) + 1 : n;
    if (p->nline + len >= sizeof(p->line)) {
        say(r, "500 5.5.6 Line too long\r\n");
        p->state = STATE_BYE;
        return n;
    }
    memcpy(p->line + p->nline, from, len);
    p->nline += len;
    if (lf) {
        p->line[p->nline] = '\0';
        p->nline = 0;
        obey(p, p->line, r);
    }
    return len;
}

static size_t take_data(struct peer *p, const char *from, size_t n, struct replies *r)
{
    size_t fresh = n < sizeof(p->tail) ? n : sizeof(p->tail);
    memmove(p->tail, p->tail + fresh, sizeof(p->tail) - fresh);
    memcpy(p->tail + sizeof(p->tail) - fresh, from + n - fresh, fresh);
    p->nmessage += n;
    if (memcmp(p->tail, "\r\n.\r\n", sizeof(p->tail)) == 0) {
        end_of_message(p, r);
    }
    return n;
}

static size_t take_counted(struct peer *p, size_t n, struct replies *r)
{
    size_t taken = n < p->remaining ? n : (size_t)p->remaining;
    p->remaining -= taken;
    p->nmessage += taken;
    if (p->remaining == 0) {
        end_of_message(p, r);
    }
    return taken;
}

static void take(struct peer *p, const char *from, size_t n, struct replies *r)
{
    while (n > 0) {
        size_t taken = n;
        switch (p->state) {
        case STATE_COMMAND:
            taken = take_command(p, from, n, r);
            break;
        case STATE_DATA:
            taken = take_data(p, from, n, r);
            break;
        case STATE_BDAT:
        case STATE_DISCARD:
            taken = take_counted(p, n, r);
            break;
        case STATE_PRODUCE:
        case STATE_BYE:
            break;
        }
        from += taken;
        n -= taken;
    }
}

static void drop(struct peer *p)
{
    close(p->fd);
    free(p);
}

static void produce(struct peer *p)
{
    while (p->remaining > 0) {
        size_t n = p->remaining < sizeof(out_bytes) ? (size_t)p->remaining : sizeof(out_bytes);
        ssize_t sent = send(p->fd, out_bytes, n, MSG_NOSIGNAL);
        if (sent == -1 && errno == EAGAIN) {
            watch(p, EPOLL_CTL_MOD, EPOLLOUT);
            return;
        }
        if (sent == -1) {
            drop(p);
            return;
        }
        p->remaining -= (uint64_t)sent;
    }
    p->state = STATE_COMMAND;
    watch(p, EPOLL_CTL_MOD, EPOLLIN);
}

static bool send_all(struct peer *p, const char *text, size_t n)
{
    return n == 0 || send(p->fd, text, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static void serve_smtp(struct peer *p)
{
    ssize_t n = recv(p->fd, in_bytes, sizeof(in_bytes), 0);
    if (n == -1 && errno == EAGAIN) {
        return;
    }
    struct replies r = {.n = 0};
    if (n > 0) {
        take(p, in_bytes, (size_t)n, &r);
    }
    if (n <= 0 || !send_all(p, r.text, r.n) || p->state == STATE_BYE) {
        drop(p);
    } else if (p->state == STATE_PRODUCE) {
        produce(p);
    }
}

/* One read is one request: nginx writes it so, and the answer is the same for all. */
static void serve_auth(struct peer *p)
{
    char text[200];
    ssize_t n = recv(p->fd, in_bytes, sizeof(in_bytes), 0);
    if (n > 0) {
        int len = snprintf(text, sizeof(text),
                           "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\n"
                           "Auth-Port: %d\r\n\r\n",
                           p->auth_port);
        send_all(p, text, (size_t)len);
    }
    drop(p);
}

static void welcome(const struct peer *listener)
{
    static const char greeting[] = "220 sink.example ESMTP bench-sink\r\n";
    int fd;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        struct peer *p = calloc(1, sizeof(*p));
        if (!p) {
            die("calloc");
        }
        p->fd = fd;
        p->auth_port = listener->auth_port;
        p->role = listener->role == ROLE_LISTEN_SMTP ? ROLE_SMTP : ROLE_AUTH;
        watch(p, EPOLL_CTL_ADD, EPOLLIN);
        if (p->role == ROLE_SMTP && !send_all(p, greeting, sizeof(greeting) - 1)) {
            drop(p);
        }
    }
}

static void serve(struct peer *p)
{
    switch (p->role) {
    case ROLE_LISTEN_SMTP:
    case ROLE_LISTEN_AUTH:
        welcome(p);
        break;
    case ROLE_SMTP:
        if (p->state == STATE_PRODUCE) {
            produce(p);
        } else {
            serve_smtp(p);
        }
        break;
    case ROLE_AUTH:
        serve_auth(p);
        break;
    }
}

static void listen_on(int port, int auth_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct peer *p = calloc(1, sizeof(*p));
    if (!p) {
        die("calloc");
    }
    p->role = auth_port ? ROLE_LISTEN_AUTH : ROLE_LISTEN_SMTP;
    p->auth_port = auth_port;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (p->fd == -1 || setsockopt(p->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
        bind(p->fd, (struct sockaddr *)&address, sizeof(address)) == -1 ||
        listen(p->fd, SOMAXCONN) == -1) {
        die("listen");
    }
    watch(p, EPOLL_CTL_ADD, EPOLLIN);
}

static void usage(void)
{
    fputs("usage: bench-sink [--auth PORT=BACKEND_PORT]... PORT...\n", stderr);
    exit(64);
}

static int parse_port(const char *text)
{
    int port = atoi(text);
    if (port < 1 || port > 65535) {
        usage();
    }
    return port;
}

static void parse_arguments(int argc, char **argv)
{
    if (argc < 2) {
        usage();
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--auth") != 0) {
            listen_on(parse_port(argv[i]), 0);
            continue;
        }
        const char *equals = i + 1 < argc ? strchr(argv[i + 1], '=') : NULL;
        if (!equals) {
            usage();
        }
        listen_on(parse_port(argv[++i]), parse_port(equals + 1));
    }
}

int main(int argc, char **argv)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd == -1) {
        die("epoll_create1");
    }
    memset(out_bytes, 'x', sizeof(out_bytes));
    parse_arguments(argc, argv);
    puts("ready");
    fflush(stdout);

    struct epoll_event events[EVENTS_PER_WAIT];
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
        if (n == -1 && errno != EINTR) {
            die("epoll_wait");
        }
        for (int i = 0; i < n; i++) {
            serve(events[i].data.ptr);
        }
    }
}
