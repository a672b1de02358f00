/* SPDX-License-Identifier: ISC
 *
 * bench-floor: what a process for each session costs at the very least, on this machine.
 *
 *   bench-floor CERT KEY BACKEND_PORT STARTTLS_PORT TLS_PORT SESSIONS
 *
 * As many processes wait on each port as ehlock keeps spare ones. Each serves SESSIONS of them with
 * GnuTLS, one after the other, in the shortest way there is, and ends: the key is in it, nothing is
 * jailed, checked, limited or logged, and it takes for granted that every read gives one whole
 * command or reply. It is no proxy for anybody but bench-load. What scripts/bench measures with it
 * is the share of fork, exit, page faults, waking up, and the library, which no care in ehlock
 * could save.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SPARE = 5, /* processes that wait on each port: ehlock's default */
    BUFFER_BYTES = 16 * 1024,
};

struct port {
    int listener;
    bool starttls;
    atomic_int *waiting; /* processes, as counted by themselves */
};

static const char go_ahead[] = "220 2.0.0 Ready to start TLS\r\n";

static gnutls_certificate_credentials_t creds;
static gnutls_priority_t priorities;
static gnutls_datum_t ticket_key;
static int backend_port;
static int sessions;
static int busy[2]; /* a worker whose client leaves too few waiting writes the number of its port */

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "bench-floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_on(int port)
{
    struct sockaddr_in address = loopback(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) == -1 || listen(fd, SOMAXCONN) == -1)
        die("listen");
    return fd;
}

static void no_delay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int reach_backend(void)
{
    struct sockaddr_in address = loopback(backend_port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1 || connect(fd, (struct sockaddr *)&address, sizeof address) == -1)
        exit(1);
    no_delay(fd);
    return fd;
}

/* ---- one session ---- */

/* Ends the process when there is nothing more. */
static size_t hear(int fd, char *buffer, size_t size)
{
    ssize_t n = recv(fd, buffer, size, 0);
    if (n <= 0)
        exit(0);
    return (size_t)n;
}

static void say(int fd, const char *text, size_t n)
{
    if (send(fd, text, n, MSG_NOSIGNAL) != (ssize_t)n)
        exit(0);
}

/* Greeting, EHLO with one keyword more, and STARTTLS. */
static void speak(int client, int backend)
{
    static const char keyword[] = "250-STARTTLS\r\n";
    char text[4096];
    say(client, text, hear(backend, text, sizeof text));
    say(backend, text, hear(client, text, sizeof text));
    size_t n = hear(backend, text, sizeof text - sizeof keyword);
    const char *first = memchr(text, '\n', n);
    size_t head = first != NULL ? (size_t)(first - text) + 1 : n;
    memmove(text + head + sizeof keyword - 1, text + head, n - head);
    memcpy(text + head, keyword, sizeof keyword - 1);
    say(client, text, n + sizeof keyword - 1);
    (void)hear(client, text, sizeof text);
    say(client, go_ahead, sizeof go_ahead - 1);
}

static gnutls_session_t shake_hands(int fd)
{
    gnutls_session_t tls;
    int status;
    if (gnutls_init(&tls, GNUTLS_SERVER | GNUTLS_NO_SIGNAL) != 0 ||
        gnutls_priority_set(tls, priorities) != 0 ||
        gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, creds) != 0 ||
        gnutls_session_ticket_enable_server(tls, &ticket_key) != 0)
        exit(1);
    gnutls_transport_set_int(tls, fd);
    do
        status = gnutls_handshake(tls);
    while (status != 0 && !gnutls_error_is_fatal(status));
    if (status != 0)
        exit(0);
    return tls;
}

static void send_record(gnutls_session_t tls, const char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t sent = gnutls_record_send(tls, bytes + at, n - at);
        if (sent <= 0)
            exit(0);
        at += (size_t)sent;
    }
}

static void move_bytes(gnutls_session_t tls, int client, int backend)
{
    static char buffer[BUFFER_BYTES];
    for (;;) {
        struct pollfd fds[2] = {{.fd = client, .events = POLLIN},
                                {.fd = backend, .events = POLLIN}};
        if (gnutls_record_check_pending(tls) == 0 && poll(fds, 2, -1) < 0)
            exit(1);
        if (gnutls_record_check_pending(tls) > 0 || fds[0].revents != 0) {
            ssize_t n = gnutls_record_recv(tls, buffer, sizeof buffer);
            if (n == 0 || (n < 0 && gnutls_error_is_fatal((int)n)))
                return;
            if (n > 0)
                say(backend, buffer, (size_t)n);
        }
        if (fds[1].revents != 0) {
            ssize_t n = recv(backend, buffer, sizeof buffer, 0);
            if (n <= 0)
                return;
            send_record(tls, buffer, (size_t)n);
        }
    }
}

static void serve_one(const struct port *p, unsigned char number)
{
    int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
    if (client == -1 ||
        (atomic_fetch_sub(p->waiting, 1) <= SPARE && write(busy[1], &number, 1) != 1))
        exit(1);
    no_delay(client);
    int backend = reach_backend();
    if (p->starttls)
        speak(client, backend);
    gnutls_session_t tls = shake_hands(client);
    move_bytes(tls, client, backend);
    (void)gnutls_bye(tls, GNUTLS_SHUT_WR);
    if (sessions == 1)
        _exit(0);
    gnutls_deinit(tls);
    close(client);
    close(backend);
}

_Noreturn static void serve(const struct port *p, unsigned char number)
{
    for (int left = sessions; left > 0; left--) {
        if (left < sessions)
            atomic_fetch_add(p->waiting, 1);
        serve_one(p, number);
    }
    _exit(0);
}

/* ---- the process around them ---- */

static void fork_worker(const struct port *ports, unsigned char number)
{
    atomic_fetch_add(ports[number].waiting, 1);
    pid_t pid = fork();
    if (pid == 0)
        serve(&ports[number], number);
    if (pid == -1)
        die("fork");
}

static void prepare_tls(const char *cert, const char *key)
{
    if (gnutls_certificate_allocate_credentials(&creds) != 0 ||
        gnutls_certificate_set_x509_key_file(creds, cert, key, GNUTLS_X509_FMT_PEM) != 0 ||
        gnutls_priority_init(&priorities, NULL, NULL) != 0 ||
        gnutls_session_ticket_key_generate(&ticket_key) != 0) {
        fputs("bench-floor: the certificate cannot be used\n", stderr);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 7 || (sessions = atoi(argv[6])) < 1) {
        fputs("usage: bench-floor CERT KEY BACKEND_PORT STARTTLS_PORT TLS_PORT SESSIONS\n", stderr);
        return 64;
    }
    prepare_tls(argv[1], argv[2]);
    backend_port = atoi(argv[3]);
    atomic_int *waiting =
        mmap(NULL, 2 * sizeof *waiting, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (waiting == MAP_FAILED)
        die("mmap");
    const struct port ports[2] = {
        {.listener = listen_on(atoi(argv[4])), .starttls = true, .waiting = &waiting[0]},
        {.listener = listen_on(atoi(argv[5])), .waiting = &waiting[1]}};
    if (pipe(busy) != 0)
        die("pipe");
    signal(SIGCHLD, SIG_IGN); /* nobody is waited for */
    for (unsigned char number = 0; number < 2; number++)
        for (int i = 0; i < SPARE; i++)
            fork_worker(ports, number);
    unsigned char number;
    while (read(busy[0], &number, 1) == 1)
        fork_worker(ports, number);
    return 0;
}
