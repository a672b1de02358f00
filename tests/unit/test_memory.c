/* SPDX-License-Identifier: ISC
 *
 * What a process that forks many times does with its heap: its children's blocks lie behind its
 * own, side by side, also when it has freed some meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocols/memory.h"

enum { BLOCKS = 600 };

static void *blocks[BLOCKS];

static size_t size_of(int i)
{
    static const size_t sizes[] = {24, 40, 100, 300, 900, 2000, 5000};
    return sizes[(size_t)i % (sizeof sizes / sizeof *sizes)];
}

/* Every other one is freed. Returns where the last of all ends. */
static uintptr_t make_gaps(void)
{
    uintptr_t end = 0;
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
        blocks[i] = memory_alloc(size_of(i));
        if ((uintptr_t)blocks[i] + size_of(i) > end)
            end = (uintptr_t)blocks[i] + size_of(i);
    }
    for (int i = 0; i < BLOCKS; i += 2) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
    return end;
}

static void assert_new_blocks_are_behind(uintptr_t end)
{
    void *new[300];
    for (int i = 0; i < 300; i++) {
        new[i] = memory_alloc(size_of(i));
        assert_true((uintptr_t) new[i] > end);
    }
    for (int i = 0; i < 300; i++)
        free(new[i]);
}

static void test_closed_gaps_give_no_blocks(void **state)
{
    (void)state;
    uintptr_t end = make_gaps();
    memory_close_gaps();
    assert_new_blocks_are_behind(end);
    memory_open_gaps();
}

static void test_gaps_can_be_closed_again(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        memory_open_gaps();
        uintptr_t end = make_gaps();
        memory_close_gaps();
        assert_new_blocks_are_behind(end);
    }
}

static void test_children_need_not_ask_for_room(void **state)
{
    (void)state;
    memory_open_gaps();
    (void)make_gaps();
    memory_close_gaps();
    void *before = sbrk(0);
    for (int i = 0; i < 200; i++)
        free(memory_alloc(100000));
    void *four[4];
    for (int i = 0; i < 4; i++)
        four[i] = memory_alloc(100000);
    assert_ptr_equal(sbrk(0), before);
    for (int i = 0; i < 4; i++)
        free(four[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_gaps_give_no_blocks),
        cmocka_unit_test(test_gaps_can_be_closed_again),
        cmocka_unit_test(test_children_need_not_ask_for_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
