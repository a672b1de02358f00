/* SPDX-License-Identifier: ISC
 *
 * A visit to servers of protocols that do not exist: what is known of a protocol is its struct.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/address.h"
#include "proxy/demand.h"
#include "proxy/visit.h"

enum { SECONDS = 20 };

/* ---- protocols ---- */

/* Waits for the server's first line, which says what to do: whether TLS was offered, and how it
 * goes on. */
static enum dialogue_end request(struct dialogue *d)
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
    default: /* hears the client out */
        break;
    }
    for (;;) {
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

/* In a process of its own: says the banner, and reads to the end. */
static pid_t start_server(const char *banner, struct backends *out)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&out->addresses[0].sa;
    char c;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    out->addresses[0].len = sizeof *in;
    out->count = 1;
    assert_int_equal(bind(fd, (struct sockaddr *)in, sizeof *in), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)in, &out->addresses[0].len), 0);
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

static void visit_comes_to_this(void **state)
{
    static struct backends backends;
    const struct row *r = *state;
    struct demand demand = {.level = LEVEL_MAY};
    struct destination to = {.name = "server", .demand = &demand};
    struct destinations destinations = {.items = &to, .count = 1};
    const struct service service = {.protocol = r->protocol,
                                    .timeout_connect = SECONDS,
                                    .timeout_busy = SECONDS,
                                    .timeout_pretls = SECONDS,
                                    .timeout_handshake = SECONDS};
    const struct pool pool = {
        .service = &service, .policy.hostname = "proxy.example.org", .destinations = &destinations};
    struct visit v;
    char *shown = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&shown, &len);

    memset(&backends, 0, sizeof backends);
    pid_t pid = start_server(r->banner, &backends);
    visit_run(&v, &pool, &backends, out);
    fclose(out);
    assert_string_equal(v.reason, r->want_reason);
    assert_int_equal(v.result, r->want);
    assert_string_equal(shown, r->want_shown);
    assert_ptr_equal(v.to, &to);
    visit_finish(&v);
    free(shown);
    waitpid(pid, NULL, 0);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, visit_comes_to_this, rows);
    return unit_run(&u, "visit");
}
