/* SPDX-License-Identifier: ISC
 *
 * The memory that a resolver writes and a worker reads, and destinations as they are written.
 */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/nexthop.h"
#include "proxy/route.h"

/* ---- destinations ---- */

struct row {
    const char *name, *text;
    const char *want_name; /* NULL: it is refused; "": nothing to look up */
    bool want_mx;
    unsigned want_port;
};

#define L63 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"
#define L61 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxy"

static const struct row rows[] = {
    {"host", "mx.example.org:25", "mx.example.org", false, 25},
    {"host-with-a-dot", "mx.example.org.:25", "mx.example.org", false, 25},
    {"host-and-a-name-of-a-port", "mx.example.org:smtp", "mx.example.org", false, 25},
    {"port-alone", "2525", "", false, 2525},
    {"localhost", "localhost:25", "", false, 25},
    {"v4", "192.0.2.1:25", "", false, 25},
    {"v6", "[2001:db8::1]:25", "", false, 25},
    {"path", "/run/lmtp", "", false, 0},
    {"host-that-is-no-dns-name", "mx exchange:25", "", false, 25},
    {"domain", "mx:example.org", "example.org", true, 25},
    {"domain-in-capitals", "MX:example.org", "example.org", true, 25},
    {"domain-with-a-port", "mx:example.org:2525", "example.org", true, 2525},
    {"domain-with-a-dot", "mx:example.org.", "example.org", true, 25},
    {"host-that-is-called-mx", "mx:25", "mx", false, 25},
    {"domain-of-one-label", "mx:lab.", "lab", true, 25},
    {"domain-of-one-label-and-a-port", "mx:lab:26", "lab", true, 26},
    {"domain-that-is-missing", "mx:", NULL, false, 0},
    {"domain-that-is-missing-before-a-port", "mx::25", NULL, false, 0},
    {"domain-that-is-an-address", "mx:192.0.2.1", NULL, false, 0},
    {"domain-that-is-an-ipv6-address", "mx:[2001:db8::1]:25", NULL, false, 0},
    {"domain-with-an-empty-label", "mx:example..org", NULL, false, 0},
    {"domain-with-a-port-0", "mx:example.org:0", NULL, false, 0},
    {"label-of-63", "mx:" L63 ".", L63, true, 25},
    {"label-of-64", "mx:" L63 "x.", NULL, false, 0},
    {"name-of-253", "mx:" L63 "." L63 "." L63 "." L61, L63 "." L63 "." L63 "." L61, true, 25},
    {"name-of-254", "mx:" L63 "." L63 "." L63 "." L61 "x", NULL, false, 0},
};

static void test_nexthop(void **state)
{
    const struct row *row = *state;
    struct nexthop n;
    char error[128] = "";
    bool ok = nexthop_parse(row->text, &n, error, sizeof error);
    assert_int_equal(ok, row->want_name != NULL);
    assert_int_equal(error[0] != '\0', !ok);
    if (!ok)
        return;
    assert_string_equal(n.name, row->want_name);
    assert_int_equal(n.named, row->want_name[0] != '\0');
    assert_int_equal(n.mx, row->want_mx);
    assert_int_equal(n.port, row->want_port);
}

/* ---- the book ---- */

static void make_route(struct route *r, size_t number)
{
    memset(r, 0, sizeof *r);
    r->state = ROUTE_FOUND;
    r->n_hosts = ROUTE_HOSTS;
    for (size_t i = 0; i < ROUTE_HOSTS; i++)
        snprintf(r->hosts[i].name, sizeof r->hosts[i].name, "host%zu.lab", number);
}

static void test_told_is_read(void **state)
{
    static struct route r, got;
    struct route_book *b = route_book_create(3);
    (void)state;
    assert_non_null(b);
    assert_true(route_book_read(b, 1, &got));
    assert_int_equal(got.state, ROUTE_UNKNOWN);
    make_route(&r, 7);
    route_book_publish(b, 1, &r);
    route_book_renounce(b);
    route_book_renounce(b);
    assert_true(route_book_read(b, 1, &got));
    assert_memory_equal(&got, &r, sizeof r);
    assert_true(route_book_read(b, 2, &got));
    assert_int_equal(got.state, ROUTE_UNKNOWN);
    route_book_destroy(b);
    route_book_destroy(NULL);
}

/* A writer in another process: whatever is read is of one moment. */
static void test_nothing_is_read_by_halves(void **state)
{
    static struct route r, got;
    struct route_book *b = route_book_create(1);
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < 3000; i++) {
            make_route(&r, i);
            route_book_publish(b, 0, &r);
        }
        _exit(0);
    }
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (!route_book_read(b, 0, &got) || got.state == ROUTE_UNKNOWN)
            continue;
        assert_string_equal(got.hosts[0].name, got.hosts[ROUTE_HOSTS - 1].name);
    }
    assert_true(route_book_read(b, 0, &got));
    assert_string_equal(got.hosts[0].name, "host2999.lab");
    route_book_destroy(b);
}

/* The addresses of every mapping of the book in this process. */
static size_t find_mappings(uintptr_t *from, uintptr_t *to, size_t max)
{
    char line[512];
    size_t n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    assert_non_null(f);
    while (n < max && fgets(line, sizeof line, f) != NULL)
        if (strstr(line, "memfd:routes") != NULL && sscanf(line, "%lx-%lx", &from[n], &to[n]) == 2)
            n++;
    fclose(f);
    return n;
}

static void test_a_worker_cannot_write(void **state)
{
    uintptr_t from[4], to[4];
    struct route_book *b = route_book_create(2);
    (void)state;
    assert_int_equal(find_mappings(from, to, 4), 2);
    route_book_renounce(b);
    assert_int_equal(find_mappings(from, to, 4), 1);
    assert_int_equal(mprotect((void *)from[0], to[0] - from[0], PROT_READ | PROT_WRITE), -1);
    route_book_destroy(b);
    assert_int_equal(find_mappings(from, to, 4), 0);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, test_nexthop, rows);
    unit_add(&u, "told-is-read", test_told_is_read, NULL);
    unit_add(&u, "nothing-is-read-by-halves", test_nothing_is_read_by_halves, NULL);
    unit_add(&u, "a-worker-cannot-write", test_a_worker_cannot_write, NULL);
    return unit_run(&u, "route");
}
