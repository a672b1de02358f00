/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/stats.h"

static const unsigned char alice[16] = {2, [12] = 192, 0, 2, 1};
static const unsigned char bob[16] = {2, [12] = 192, 0, 2, 2};

static void expect(struct stats *s, unsigned idle, unsigned busy)
{
    assert_int_equal(atomic_load(&s->idle), idle);
    assert_int_equal(atomic_load(&s->busy), busy);
}

enum { SLOTS = 3 };

static struct ledger *ledger;

static int set_up(void **state)
{
    *state = stats_create(SLOTS);
    ledger = ledger_create(SLOTS);
    return *state == NULL;
}

static int tear_down(void **state)
{
    stats_destroy(*state, SLOTS);
    ledger_destroy(ledger);
    return 0;
}

/* As the master does for a new worker. */
static int take_slot(struct stats *s)
{
    int slot = ledger_take(ledger);
    if (slot >= 0)
        stats_open_slot(s, slot);
    return slot;
}

static void new_mapping_is_empty(void **state)
{
    struct stats *s = *state;
    expect(s, 0, 0);
    assert_int_equal(stats_count_client(s, SLOTS, alice), 0);
    stats_destroy(NULL, SLOTS);
    ledger_destroy(NULL);
}

static void slots_are_given_out_once(void **state)
{
    struct stats *s = *state;
    assert_int_equal(take_slot(s), 0);
    assert_int_equal(take_slot(s), 1);
    assert_int_equal(take_slot(s), 2);
    assert_int_equal(take_slot(s), -1);
    expect(s, 3, 0);
    stats_worker_dead(s, 1);
    ledger_return(ledger, 1);
    expect(s, 2, 0);
    assert_int_equal(take_slot(s), 1);
    expect(s, 3, 0);
}

static void session_counts_while_it_lasts(void **state)
{
    struct stats *s = *state;
    int a = take_slot(s), b = take_slot(s);
    assert_int_equal(stats_session_begin(s, a, alice, "192.0.2.1:1"), 1);
    assert_int_equal(stats_session_begin(s, b, bob, "192.0.2.2:1"), 2);
    expect(s, 0, 2);
    assert_string_equal(s->slots[a].peer, "192.0.2.1:1");
    stats_session_end(s, a, SLOT_IDLE);
    expect(s, 1, 1);
    stats_session_end(s, b, SLOT_LEAVING);
    expect(s, 1, 0);
    assert_int_equal(atomic_load(&s->sessions), 2);
}

static void worker_that_dies_is_subtracted_once(void **state)
{
    struct stats *s = *state;
    int idle = take_slot(s), busy = take_slot(s), leaving = take_slot(s);
    stats_session_begin(s, busy, alice, "x");
    stats_session_begin(s, leaving, alice, "x");
    stats_session_end(s, leaving, SLOT_LEAVING);
    expect(s, 1, 1);
    stats_worker_dead(s, idle);
    expect(s, 0, 1);
    stats_worker_dead(s, busy);
    expect(s, 0, 0);
    stats_worker_dead(s, leaving);
    stats_worker_dead(s, leaving);
    expect(s, 0, 0);
    assert_int_equal(stats_count_client(s, SLOTS, alice), 0);
}

static void refused_session_no_longer_counts(void **state)
{
    struct stats *s = *state;
    int a = take_slot(s), b = take_slot(s);
    stats_session_begin(s, a, alice, "x");
    stats_session_begin(s, b, alice, "x");
    assert_int_equal(stats_count_client(s, SLOTS, alice), 2);
    stats_session_leave(s, b);
    assert_int_equal(stats_count_client(s, SLOTS, alice), 1);
    expect(s, 0, 1);
    stats_worker_dead(s, b);
    expect(s, 0, 1);
}

static void renamed_session_counts_as_whose_it_is(void **state)
{
    struct stats *s = *state;
    int a = take_slot(s), b = take_slot(s);
    stats_session_begin(s, a, alice, "192.0.2.1:1");
    stats_session_begin(s, b, alice, "192.0.2.1:2");
    stats_session_rename(s, a, bob, "192.0.2.2:9");
    assert_int_equal(stats_count_client(s, SLOTS, alice), 1);
    assert_int_equal(stats_count_client(s, SLOTS, bob), 1);
    assert_string_equal(s->slots[a].peer, "192.0.2.2:9");
    expect(s, 0, 2);
    stats_session_end(s, a, SLOT_IDLE);
    assert_int_equal(stats_count_client(s, SLOTS, bob), 0);
    expect(s, 1, 1);
}

static void clients_are_counted_apart(void **state)
{
    struct stats *s = *state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(take_slot(s), i);
    stats_session_begin(s, 0, alice, "x");
    stats_session_begin(s, 1, bob, "x");
    stats_session_begin(s, 2, alice, "x");
    assert_int_equal(stats_count_client(s, SLOTS, alice), 2);
    assert_int_equal(stats_count_client(s, SLOTS, bob), 1);
    stats_session_end(s, 0, SLOT_IDLE);
    assert_int_equal(stats_count_client(s, SLOTS, alice), 1);
}

static void long_peer_name_is_cut(void **state)
{
    struct stats *s = *state;
    char name[200];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    int a = take_slot(s);
    stats_session_begin(s, a, alice, name);
    assert_int_equal(strlen(s->slots[a].peer), sizeof s->slots[a].peer - 1);
}

static void other_processes_see_it(void **state)
{
    struct stats *s = *state;
    int a = take_slot(s), status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(stats_session_begin(s, a, alice, "x") == 1 ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    expect(s, 0, 1);
    assert_int_equal(stats_count_client(s, SLOTS, alice), 1);
}

static void own_connections_are_known_while_their_session_lasts(void **state)
{
    struct stats *s = *state;
    int a = take_slot(s), b = take_slot(s);
    stats_session_begin(s, a, alice, "192.0.2.9:1");
    assert_false(stats_is_own(s, SLOTS, "192.0.2.1:40000"));
    stats_go_out(s, a, "192.0.2.1:40000");
    assert_true(stats_is_own(s, SLOTS, "192.0.2.1:40000"));
    assert_false(stats_is_own(s, SLOTS, "192.0.2.1:4000"));
    assert_false(stats_is_own(s, SLOTS, "192.0.2.9:1"));
    stats_session_end(s, a, SLOT_IDLE);
    assert_false(stats_is_own(s, SLOTS, "192.0.2.1:40000"));
    stats_session_begin(s, a, alice, "192.0.2.9:2");
    assert_false(stats_is_own(s, SLOTS, "192.0.2.1:40000"));
    stats_session_begin(s, b, bob, "");
    assert_false(stats_is_own(s, SLOTS, "192.0.2.1:40000"));
}

/* Whatever stands in the shared memory, which a worker can write: what the master gives away is its
 * own decision, and what it prints ends. */
static void what_a_worker_writes_leads_nowhere(void **state)
{
    struct stats *s = *state;
    char peer[STATS_PEER];
    assert_int_equal(take_slot(s), 0);
    assert_int_equal(take_slot(s), 1);
    memset(s, 0xff, sizeof *s + SLOTS * sizeof *s->slots);
    assert_int_equal(strlen(stats_peer(s, 1, peer)), STATS_PEER - 1);
    assert_int_equal(take_slot(s), 2);
    assert_int_equal(take_slot(s), -1);
    atomic_store(&s->slots[0].state, SLOT_FREE);
    assert_int_equal(take_slot(s), -1);
    stats_worker_dead(s, 2);
    ledger_return(ledger, 2);
    assert_int_equal(take_slot(s), 2);
    assert_string_equal(stats_peer(s, 2, peer), "-");
}

static void ledger_is_nothing_for_children(void **state)
{
    int status;
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        (void)ledger_take(ledger);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}

#define ON_THREE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_THREE(new_mapping_is_empty),
        ON_THREE(slots_are_given_out_once),
        ON_THREE(what_a_worker_writes_leads_nowhere),
        ON_THREE(ledger_is_nothing_for_children),
        ON_THREE(session_counts_while_it_lasts),
        ON_THREE(worker_that_dies_is_subtracted_once),
        ON_THREE(refused_session_no_longer_counts),
        ON_THREE(renamed_session_counts_as_whose_it_is),
        ON_THREE(clients_are_counted_apart),
        ON_THREE(long_peer_name_is_cut),
        ON_THREE(own_connections_are_known_while_their_session_lasts),
        ON_THREE(other_processes_see_it),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
