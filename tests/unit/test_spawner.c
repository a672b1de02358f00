/* SPDX-License-Identifier: ISC
 *
 * A real spawner in a process of its own, asked by workers that have gone astray.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proxy/backend.h"
#include "proxy/spawner.h"
#include "proxy/token.h"

enum { DEADLINE_MS = 20000, FDS_MAX = 5 };

struct stage {
    pid_t spawner;
    int request_fd, stop_fd; /* our ends */
};

/* What is spawned: a program without arguments, or words of which the first is one. */
struct act {
    const char *path, *words; /* one of them */
    enum program_purpose purpose;
    size_t limit;
    unsigned end_seconds;
    bool patient;
};

static void serve(const struct act *act, int request_fd, int stop_fd)
{
    static const char *const no_names[] = {NULL};
    struct argument_list arguments;
    char error[100];
    if (act->path != NULL)
        arguments_set(&arguments, act->path);
    else if (!arguments_parse(&arguments, act->words, no_names, error, sizeof error))
        _exit(1);
    const struct program program = {
        .path = arguments_first(&arguments), .arguments = &arguments, .purpose = act->purpose};
    const struct spawner_service service = {.name = "test",
                                            .program = &program,
                                            .request_fd = request_fd,
                                            .limit = act->limit,
                                            .end_seconds = act->end_seconds};
    spawner_serve(&service, 1, stop_fd, act->patient);
    arguments_finish(&arguments);
}

static void raise_stage_for(struct stage *g, const struct act *act)
{
    int request[2], stop[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, request), 0);
    assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
    g->spawner = fork();
    assert_true(g->spawner >= 0);
    if (g->spawner == 0) {
        close(stop[1]);
        close(request[0]);
        serve(act, request[1], stop[0]);
        _exit(0);
    }
    close(request[1]);
    close(stop[0]);
    g->request_fd = request[0];
    g->stop_fd = stop[1];
}

static void raise_stage(struct stage *g, const char *path, size_t limit)
{
    const struct act act = {.path = path, .limit = limit};
    raise_stage_for(g, &act);
}

/* It ends by itself, and in order. */
static void strike_stage(struct stage *g)
{
    int status = -1;
    close(g->stop_fd);
    close(g->request_fd);
    assert_int_equal(waitpid(g->spawner, &status, 0), g->spawner);
    assert_int_equal(status, 0);
}

static void set_facts(struct session_facts *f)
{
    memset(f, 0, sizeof *f);
    strcpy(f->remote_ip, "192.0.2.77");
    strcpy(f->remote_port, "4444");
    strcpy(f->local_ip, "192.0.2.1");
    strcpy(f->local_port, "25");
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, DEADLINE_MS) == 1;
}

/* The program is cat. */
static void assert_served(const struct stage *g)
{
    const struct backends b = {.program = true, .count = 1};
    struct session_facts facts;
    char error[200] = "", back[8];
    int line_fd = -1;
    set_facts(&facts);
    int fd =
        backends_start_program(&b, g->request_fd, &facts, 20, -1, &line_fd, error, sizeof error);
    if (fd < 0)
        fail_msg("%s", error);
    assert_int_equal(write(fd, "hello", 5), 5);
    assert_true(readable(fd));
    assert_int_equal(read(fd, back, sizeof back), 5);
    assert_memory_equal(back, "hello", 5);
    close(fd);
    close(line_fd);
}

/* ---- messages ---- */

enum kind { STREAM, LINE, DATAGRAM, TCP, A_FILE };

static const struct message_case {
    const char *name;
    size_t less, more; /* bytes than the right number */
    size_t n_fds;
    enum kind kinds[FDS_MAX];
    uint32_t type;
    const char *remote_ip;
    bool relay;
} message_cases[] = {
    {"nothing at all", sizeof(struct spawn_request), 0, 0, {0}, SPAWN_PROGRAM, "192.0.2.77", false},
    {"a byte too few", 1, 0, 2, {STREAM, LINE}, SPAWN_PROGRAM, "192.0.2.77", false},
    {"a byte too many", 0, 1, 2, {STREAM, LINE}, SPAWN_PROGRAM, "192.0.2.77", false},
    {"much too many bytes", 0, 4000, 2, {STREAM, LINE}, SPAWN_PROGRAM, "192.0.2.77", false},
    {"no descriptor", 0, 0, 0, {0}, SPAWN_PROGRAM, "192.0.2.77", false},
    {"one descriptor", 0, 0, 1, {LINE}, SPAWN_PROGRAM, "192.0.2.77", false},
    {"three descriptors", 0, 0, 3, {STREAM, LINE, LINE}, SPAWN_PROGRAM, "192.0.2.77", false},
    {"five descriptors",
     0,
     0,
     5,
     {STREAM, LINE, LINE, LINE, LINE},
     SPAWN_PROGRAM,
     "192.0.2.77",
     false},
    {"descriptors the other way round",
     0,
     0,
     2,
     {LINE, STREAM},
     SPAWN_PROGRAM,
     "192.0.2.77",
     false},
    {"a TCP socket for the program", 0, 0, 2, {TCP, LINE}, SPAWN_PROGRAM, "192.0.2.77", false},
    {"a datagram socket for the program",
     0,
     0,
     2,
     {DATAGRAM, LINE},
     SPAWN_PROGRAM,
     "192.0.2.77",
     false},
    {"a file for the program", 0, 0, 2, {A_FILE, LINE}, SPAWN_PROGRAM, "192.0.2.77", false},
    {"another type", 0, 0, 2, {STREAM, LINE}, SPAWN_PROGRAM + 1, "192.0.2.77", false},
    {"type 0", 0, 0, 2, {STREAM, LINE}, 0, "192.0.2.77", false},
    {"an option for an address", 0, 0, 2, {STREAM, LINE}, SPAWN_PROGRAM, "-C/tmp/x", false},
    {"a client that may relay", 0, 0, 2, {STREAM, LINE}, SPAWN_PROGRAM, "192.0.2.77", true},
};

/* Ours, and what is sent. */
static void make_descriptors(enum kind kind, int fds[2])
{
    switch (kind) {
    case STREAM:
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        return;
    case LINE:
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
        return;
    case DATAGRAM:
        assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
        return;
    case TCP:
        fds[0] = -1;
        fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fds[1] >= 0);
        return;
    case A_FILE:
        fds[0] = -1;
        fds[1] = open("/dev/null", O_RDWR | O_CLOEXEC);
        assert_true(fds[1] >= 0);
        return;
    }
}

static void send_message(int request_fd, const void *data, size_t len, const int *fds, size_t n)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n > 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(n * sizeof(int)),
                                          .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
    }
    assert_int_equal(sendmsg(request_fd, &msg, MSG_NOSIGNAL), len);
}

/* Whatever was wrong: no program, all descriptors closed, and the next one is served. */
static void test_message(void **state)
{
    const struct message_case *c = *state;
    struct stage g;
    union {
        struct spawn_request request;
        char bytes[sizeof(struct spawn_request) + 4000];
    } message;
    int ours[FDS_MAX], theirs[FDS_MAX];
    raise_stage(&g, "/bin/cat", 10);

    memset(&message, 0, sizeof message);
    message.request.type = c->type;
    set_facts(&message.request.facts);
    strcpy(message.request.facts.remote_ip, c->remote_ip);
    if (c->relay)
        session_facts_set_client(&message.request.facts, VERDICT_OK, "CN=a", "CN=b", true);
    for (size_t i = 0; i < c->n_fds; i++) {
        int pair[2];
        make_descriptors(c->kinds[i], pair);
        ours[i] = pair[0];
        theirs[i] = pair[1];
    }
    send_message(g.request_fd, &message, sizeof message.request - c->less + c->more, theirs,
                 c->n_fds);
    for (size_t i = 0; i < c->n_fds; i++)
        close(theirs[i]);
    for (size_t i = 0; i < c->n_fds; i++) {
        char byte;
        if (ours[i] < 0 || c->kinds[i] == DATAGRAM) /* which do not tell */
            continue;
        assert_true(readable(ours[i]));
        assert_int_equal(read(ours[i], &byte, 1), 0);
        close(ours[i]);
    }
    assert_served(&g);
    strike_stage(&g);
}

static void test_program_that_is_not_there_is_told(void **state)
{
    const struct backends b = {.program = true, .count = 1, .addresses[0].text = "exec:/x"};
    struct session_facts facts;
    struct stage g;
    char error[200] = "";
    int line_fd;
    (void)state;
    set_facts(&facts);
    raise_stage(&g, "/nonexistent/program", 10);
    assert_int_equal(
        backends_start_program(&b, g.request_fd, &facts, 20, -1, &line_fd, error, sizeof error),
        -1);
    assert_string_equal(error, "backend exec:/x: No such file or directory");
    strike_stage(&g);
}

/* A single session ends with its process, and so do the two things that say it: whichever is heard
 * first, the program has its time. */
static void test_patience(void **state)
{
    const struct backends b = {.program = true, .count = 1};
    const struct timespec some = {.tv_nsec = 200000000};
    char file[] = "/tmp/ehlock-patience-XXXXXX", words[200], error[200] = "";
    struct session_facts facts;
    struct stage g;
    int line_fd;
    (void)state;
    set_facts(&facts);
    close(mkstemp(file));
    unlink(file);
    snprintf(words, sizeof words, "/bin/sh -c \"cat; sleep 2; touch %s\"", file);
    const struct act act = {.words = words, .limit = 1, .end_seconds = 10, .patient = true};
    raise_stage_for(&g, &act);
    int fd =
        backends_start_program(&b, g.request_fd, &facts, 20, -1, &line_fd, error, sizeof error);
    assert_true(fd >= 0);
    close(g.stop_fd);
    nanosleep(&some, NULL);
    close(fd);
    close(line_fd);
    g.stop_fd = open("/dev/null", O_RDONLY);
    strike_stage(&g);
    assert_int_equal(unlink(file), 0);
}

/* At the limit a request waits for another program's end. */
static void test_limit(void **state)
{
    const struct backends b = {.program = true, .count = 1};
    struct session_facts facts;
    struct stage g;
    char error[200];
    int line_fds[2], fds[2];
    (void)state;
    set_facts(&facts);
    raise_stage(&g, "/bin/cat", 2);
    for (int i = 0; i < 2; i++) {
        fds[i] = backends_start_program(&b, g.request_fd, &facts, 20, -1, &line_fds[i], error,
                                        sizeof error);
        assert_true(fds[i] >= 0);
    }
    int line_fd;
    assert_int_equal(
        backends_start_program(&b, g.request_fd, &facts, 1, -1, &line_fd, error, sizeof error), -1);
    assert_non_null(strstr(error, strerror(ETIMEDOUT)));
    close(fds[0]);
    close(line_fds[0]);
    assert_served(&g); /* the one that has given up is passed over */
    close(fds[1]);
    close(line_fds[1]);
    strike_stage(&g);
}

static void test_no_spawner(void **state)
{
    const struct backends b = {.program = true, .count = 1};
    struct session_facts facts;
    char error[200];
    int line_fd, request[2];
    (void)state;
    set_facts(&facts);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, request), 0);
    assert_int_equal(
        backends_start_program(&b, request[0], &facts, 1, -1, &line_fd, error, sizeof error), -1);
    assert_non_null(strstr(error, strerror(ETIMEDOUT)));
    close(request[1]);
    assert_int_equal(
        backends_start_program(&b, request[0], &facts, 20, -1, &line_fd, error, sizeof error), -1);
    close(request[0]);
}

/* ---- tokens ---- */

static const struct token_case {
    const char *name, *words, *want, *why; /* one of these two */
} token_cases[] = {
    {"a line", "/bin/echo token", "token", NULL},
    {"no line end", "/bin/sh -c 'printf token'", "token", NULL},
    {"in pieces", "/bin/sh -c 'printf to; sleep 0.1; printf ken'", "token", NULL},
    {"output closed, and then the end", "/bin/sh -c 'echo token; exec >&-; sleep 0.1'", "token",
     NULL},
    {"something left behind", "/bin/sh -c 'sleep 30 & echo token'", "token", NULL},
    {"no input", "/bin/cat", NULL, "has an output that holds nothing, where one line should be"},
    {"status", "/bin/sh -c 'echo token; exit 75'", NULL, "ended with status 75"},
    {"status after the end of output", "/bin/sh -c 'echo token; exec >&-; sleep 0.1; exit 1'", NULL,
     "ended with status 1"},
    {"signal", "/bin/sh -c 'echo token; kill -9 $$'", NULL, "was ended by signal 9"},
    {"nothing", "/bin/true", NULL, "has an output that holds nothing, where one line should be"},
    {"blanks", "/bin/echo a b", NULL,
     "has an output that has blanks in its line: an access token has none"},
    {"two lines", "/bin/sh -c 'echo a; echo b'", NULL, "has an output that has more than one line"},
    {"no end", "/usr/bin/yes", NULL, "has an output that holds more than 8192 bytes"},
    {"no program", "/nonexistent/program", NULL, "could not be started: No such file or directory"},
    {"too slow", "/bin/sleep 300", NULL, "did not end in time (TIMEOUTbusy, TIMEOUTpretls)"},
};

static void test_token(void **state)
{
    const struct token_case *c = *state;
    const struct act act = {.words = c->words, .purpose = PROGRAM_TOKEN, .limit = 1};
    struct session_facts facts;
    struct stage g;
    char error[200] = "";
    set_facts(&facts);
    raise_stage_for(&g, &act);
    const struct token_request r = {.request_fd = g.request_fd,
                                    .facts = &facts,
                                    .deadline = wire_deadline(strstr(c->name, "slow") ? 1 : 20),
                                    .cancel_fd = -1};
    struct secret *token = token_fetch(&r, error, sizeof error);
    if (token != NULL && c->want != NULL)
        assert_string_equal(secret_text(token), c->want);
    if (c->want == NULL)
        assert_string_equal(error, c->why);
    assert_int_equal(token != NULL, c->want != NULL);
    secret_destroy(token);
    strike_stage(&g); /* and the program with it */
}

static void test_token_is_not_waited_for(void **state)
{
    const struct act act = {.words = "/bin/sleep 300", .purpose = PROGRAM_TOKEN, .limit = 1};
    struct session_facts facts;
    struct stage g;
    char error[200] = "";
    int cancel[2];
    (void)state;
    set_facts(&facts);
    raise_stage_for(&g, &act);
    assert_int_equal(pipe2(cancel, O_CLOEXEC), 0);
    close(cancel[1]);
    const struct token_request r = {.request_fd = g.request_fd,
                                    .facts = &facts,
                                    .deadline = wire_deadline(20),
                                    .cancel_fd = cancel[0]};
    assert_null(token_fetch(&r, error, sizeof error));
    assert_string_equal(error, "was not waited for: ehlock is stopping");
    close(cancel[0]);
    strike_stage(&g);
}

int main(void)
{
    static struct unit u;
    UNIT_ADD_TABLE(&u, test_message, message_cases);
    unit_add(&u, "program that is not there is told", test_program_that_is_not_there_is_told, NULL);
    unit_add(&u, "at the limit a request waits", test_limit, NULL);
    unit_add(&u, "patience", test_patience, NULL);
    unit_add(&u, "no spawner", test_no_spawner, NULL);
    UNIT_ADD_TABLE(&u, test_token, token_cases);
    unit_add(&u, "token is not waited for", test_token_is_not_waited_for, NULL);
    return unit_run(&u, "spawner");
}
