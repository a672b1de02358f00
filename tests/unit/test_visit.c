/* SPDX-License-Identifier: ISC
 *
 * A visit to servers of protocols that do not exist: what is known of a protocol is its struct.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocols/dialogue.h"
#include "proxy/address.h"
#include "proxy/demand.h"
#include "proxy/visit.h"

enum { SECONDS = 20 };

/* ---- protocols ---- */

/* Waits for the server's first line, which says what to do: whether TLS was offered, and how it
 * goes on. */
static enum dialogue_end meet(struct dialogue *d)
{
    struct line line;
    d->step = "reading the banner";
    if (wire_getline(d->backend, 100, d->pretls_deadline, &line) != WIRE_OK) {
        snprintf(d->reason, sizeof d->reason, "there is none");
        return DIALOGUE_LOST;
    }
    d->heard_offer = true;
    switch (line.data[0]) {
    case 'P': /* nothing more needs understanding */
        return DIALOGUE_PUMP;
    case 'R':
        snprintf(d->reason, sizeof d->reason, "no TLS here");
        return DIALOGUE_REFUSED;
    case 'Q':
        snprintf(d->reason, sizeof d->reason, "no TLS here");
        dialogue_quit_backend(d);
        return DIALOGUE_REFUSED;
    default:
        return DIALOGUE_GO_ON;
    }
}

/* Then hears the client out. */
static enum dialogue_end request(struct dialogue *d)
{
    struct line line;
    enum dialogue_end end;
    do
        end = meet(d);
    while ((end == DIALOGUE_REFUSED || end == DIALOGUE_LOST) && d->others_left &&
           d->next_backend(d));
    while (end == DIALOGUE_GO_ON) {
        d->step = "serving the client";
        if (wire_getline(d->client, 100, d->pretls_deadline, &line) != WIRE_OK)
            return DIALOGUE_LOST;
        if (wire_put(d->backend, line.data, line.len, d->pretls_deadline) != WIRE_OK ||
            wire_flush(d->backend, d->pretls_deadline) != WIRE_OK ||
            wire_printf(d->client, d->pretls_deadline, "told to nobody\n") != WIRE_OK)
            return DIALOGUE_LOST;
        if (line.data[0] == 'B')
            return DIALOGUE_DONE;
    }
    return end;
}

static void visit(struct wire *server, const char *hostname, int64_t deadline)
{
    (void)wire_printf(server, deadline, "HI %s\nBYE\n", hostname);
}

static void visit_without_bye(struct wire *server, const char *hostname, int64_t deadline)
{
    (void)wire_printf(server, deadline, "HI %s\n", hostname);
}

static size_t all(const char *line, size_t len)
{
    (void)line;
    return len;
}

static const struct protocol talkative = {
    .name = "talkative", .request = request, .visit = visit, .may_show = all};
static const struct protocol rude = {
    .name = "rude", .request = request, .visit = visit_without_bye, .may_show = all};
static const struct protocol mute = {.name = "mute", .request = request};

/* ---- rows ---- */

static const struct row {
    const char *name;
    const struct protocol *protocol;
    const char *banner; /* NULL: it closes */
    enum visit_result want;
    const char *want_reason;
    const char *want_shown;
} rows[] = {
    {"visitor is heard", &talkative, "G\n", VISIT_MET, "",
     "S: G\\n\nC: HI proxy.example.org\\n\nC: BYE\\n\n"},
    {"protocol without a visitor", &mute, "G\n", VISIT_MET, "", "S: G\\n\n"},
    {"protocol that is pumped", &mute, "P\n", VISIT_MET, "", "S: P\\n\n"},
    {"protocol that is pumped, with a visitor", &talkative, "P\n", VISIT_MET, "", "S: P\\n\n"},
    {"server is refused", &talkative, "R\n", VISIT_NOT_MET, "no TLS here", "S: R\\n\n"},
    {"server says nothing", &talkative, NULL, VISIT_NO_ANSWER,
     "there is none, while reading the banner", ""},
    {"session breaks off", &rude, "G\n", VISIT_NO_ANSWER,
     "the server ended the session, while serving the client",
     "S: G\\n\nC: HI proxy.example.org\\n\n"},
};

/* ---- the server ---- */

/* In a process of its own: says the banner, and reads to the end. An entry of its own in `out`. */
static pid_t start_server(const char *banner, struct backends *out)
{
    struct address *a = &out->addresses[out->count];
    struct sockaddr_in *in = (struct sockaddr_in *)&a->sa;
    char c;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a->len = sizeof *in;
    out->entries[out->count] = (unsigned char)out->count;
    out->count++;
    assert_int_equal(bind(fd, (struct sockaddr *)in, sizeof *in), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)in, &a->len), 0);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(SECONDS);
        int peer = accept(fd, NULL, NULL);
        if (banner != NULL && send(peer, banner, strlen(banner), 0) > 0)
            while (recv(peer, &c, 1, 0) > 0)
                continue;
        _exit(0);
    }
    close(fd);
    return pid;
}

/* ---- the visits ---- */

static void note_arrival(void *ctx, const struct visit *v)
{
    fprintf(ctx, "to %s\n", v->to->name);
}

static void note_moving_on(void *ctx, const struct visit *v)
{
    fprintf(ctx, "left: %d, %s\n", (int)v->result, v->reason);
}

static void note_passing(void *ctx, const char *why)
{
    fprintf(ctx, "passed: %s\n", strstr(why, "refused") != NULL ? "refused" : why);
}

/* Returns what is shown, to be freed. `v` is to be finished. */
static char *run_visit(struct visit *v, const struct service *s, const struct backends *backends,
                       const struct destination *items)
{
    static struct pool pool;
    static struct destinations destinations;
    static struct onlooker onlooker; /* the visit points to all three */
    char *shown = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&shown, &len);
    destinations = (struct destinations){.items = (struct destination *)items, .count = 2};
    pool = (struct pool){
        .service = s, .policy.hostname = "proxy.example.org", .destinations = &destinations};
    onlooker = (struct onlooker){.dialogue = out,
                                 .arrives = note_arrival,
                                 .moves_on = note_moving_on,
                                 .passes = note_passing,
                                 .ctx = out};
    visit_run(v, &pool, backends, &onlooker);
    fclose(out);
    return shown;
}

static struct service service_of(const struct protocol *p)
{
    return (struct service){.protocol = p,
                            .timeout_connect = SECONDS,
                            .timeout_busy = SECONDS,
                            .timeout_pretls = SECONDS,
                            .timeout_handshake = SECONDS};
}

static struct demand demand = {.level = LEVEL_MAY};
static const struct destination destinations[] = {{.name = "server", .demand = &demand},
                                                  {.name = "other", .demand = &demand}};

static void visit_comes_to_this(void **state)
{
    static struct backends backends;
    const struct row *r = *state;
    const struct service service = service_of(r->protocol);
    struct visit v;

    memset(&backends, 0, sizeof backends);
    pid_t pid = start_server(r->banner, &backends);
    char *shown = run_visit(&v, &service, &backends, destinations);
    assert_string_equal(v.reason, r->want_reason);
    assert_int_equal(v.result, r->want);
    assert_true(strncmp(shown, "to server\n", 10) == 0);
    assert_string_equal(shown + 10, r->want_shown);
    assert_ptr_equal(v.to, &destinations[0]);
    visit_finish(&v);
    free(shown);
    waitpid(pid, NULL, 0);
}

/* ---- two servers ---- */

static const struct pair {
    const char *name;
    const char *first, *second; /* banners; NULL: it closes */
    bool second_is_closed;      /* nobody listens there */
    enum visit_result want;
    const char *want_reason, *want_shown;
} pairs[] = {
    {"one that is refused is left", "Q\n", "G\n", false, VISIT_MET, "",
     "to server\nS: Q\\n\nC: QUIT\nleft: 1, no TLS here\n"
     "to other\nS: G\\n\nC: HI proxy.example.org\\n\nC: BYE\\n\n"},
    {"one that says nothing is left", NULL, "G\n", false, VISIT_MET, "",
     "to server\nleft: 2, there is none, while reading the banner\n"
     "to other\nS: G\\n\nC: HI proxy.example.org\\n\nC: BYE\\n\n"},
    {"the last one counts", "Q\n", NULL, false, VISIT_NO_ANSWER,
     "there is none, while reading the banner",
     "to server\nS: Q\\n\nC: QUIT\nleft: 1, no TLS here\nto other\n"},
    {"the last that was reached counts", "Q\n", NULL, true, VISIT_NOT_MET, "no TLS here",
     "to server\nS: Q\\n\nC: QUIT\nleft: 1, no TLS here\npassed: refused\n"},
    {"one that serves has no other", "G\n", "G\n", false, VISIT_MET, "",
     "to server\nS: G\\n\nC: HI proxy.example.org\\n\nC: BYE\\n\n"},
};

static void two_come_to_this(void **state)
{
    static struct backends backends;
    const struct pair *r = *state;
    const struct service service = service_of(&talkative);
    struct visit v;

    memset(&backends, 0, sizeof backends);
    pid_t pids[] = {start_server(r->first, &backends), start_server(r->second, &backends)};
    if (r->second_is_closed) {
        kill(pids[1], SIGKILL);
        waitpid(pids[1], NULL, 0);
    }
    char *shown = run_visit(&v, &service, &backends, destinations);
    assert_string_equal(shown, r->want_shown);
    assert_string_equal(v.reason, r->want_reason);
    assert_int_equal(v.result, r->want);
    visit_finish(&v);
    free(shown);
    for (size_t i = 0; i < 2; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, visit_comes_to_this, rows);
    UNIT_ADD_TABLE(&u, two_come_to_this, pairs);
    return unit_run(&u, "visit");
}
