/* SPDX-License-Identifier: ISC */
#include "protocols/memory.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <unistd.h>

static struct {
    void *reserve;
    void (*speak)(void *ctx);
    void *ctx;
} last_words;

/* They have the reserve, and no second chance. */
static void say_last_words(void)
{
    void (*speak)(void *ctx) = last_words.speak;
    last_words.speak = NULL;
    free(last_words.reserve);
    last_words.reserve = NULL;
    if (speak != NULL)
        speak(last_words.ctx);
}

static void *or_die(void *p)
{
    static const char text[] = "ehlock: out of memory\n";
    if (p != NULL)
        return p;
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
    say_last_words();
    _exit(EX_OSERR);
}

void memory_keep_reserve(size_t size)
{
    free(last_words.reserve);
    last_words.reserve = memory_alloc(size);
}

void memory_set_last_words(void (*speak)(void *ctx), void *ctx)
{
    last_words.speak = speak;
    last_words.ctx = ctx;
}

void *memory_alloc(size_t size)
{
    return or_die(malloc(size > 0 ? size : 1));
}

void *memory_resize(void *old, size_t size)
{
    return or_die(realloc(old, size > 0 ? size : 1));
}

char *memory_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(memory_alloc(size), text, size);
}

void *memory_alloc_unshared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED && madvise(p, size, MADV_DONTFORK) == 0)
        return p;
    return or_die(NULL);
}

void memory_free_unshared(void *p, size_t size)
{
    if (p != NULL)
        munmap(p, size);
}

bool memory_is_at_hand(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED && munmap(p, size) == 0;
}

/* ---- gaps ---- */

struct gap {
    struct gap *next;
};

static struct gap *gaps;
static bool gaps_are_closed;

static struct gap *take_gap(size_t size)
{
    struct gap *gap = malloc(size);
    if (gap == NULL)
        return NULL;
    gap->next = gaps;
    gaps = gap;
    return gap;
}

/* Blocks of `size` bytes from the gaps below `end`, and one above it: a small one that is freed
 * would be the first that a child gets. Returns how many bytes may still be taken. */
static size_t take_gaps(size_t size, uintptr_t end, size_t may)
{
    while (size <= may) {
        const struct gap *gap = take_gap(size);
        if (gap == NULL)
            return 0;
        may -= size;
        if ((uintptr_t)gap >= end)
            break;
    }
    return may;
}

/* How much there is behind all that has ever been given out; malloc() cuts new blocks from it. */
static size_t room_at_the_end(void)
{
    return mallinfo2().keepcost;
}

void memory_close_gaps(void)
{
    enum { LARGEST = 64 * 1024, SMALL = 1024, STEP = 16, MOST = 4096 * 1024, ROOM = 512 * 1024 };
    size_t may = MOST;
    if (gaps_are_closed)
        return;
    gaps_are_closed = true;
    (void)mallopt(M_TOP_PAD, ROOM);
    (void)malloc_trim(ROOM); /* joins what is free and lies side by side */
    const uintptr_t end = (uintptr_t)sbrk(0) - room_at_the_end();
    for (size_t size = LARGEST; size > SMALL; size /= 2)
        may = take_gaps(size, end, may);
    for (size_t size = SMALL; size > 0; size -= STEP)
        may = take_gaps(size, end, may);
    /* When that is used up, malloc() asks for as much more than it needs (M_TOP_PAD). */
    for (size_t used = 0; used <= ROOM && room_at_the_end() < ROOM; used += LARGEST)
        (void)take_gap(LARGEST);
    (void)malloc_trim(ROOM);
}

void memory_open_gaps(void)
{
    while (gaps != NULL) {
        struct gap *next = gaps->next;
        free(gaps);
        gaps = next;
    }
    gaps_are_closed = false;
}

/* What deep calls have left below those that go on. The page of this frame and the one below are
 * still in use; what is not mapped is passed over. */
static void give_stack_back(void)
{
    enum { PAGE = 4096, IN_USE = PAGE, DEEPEST = 256 * 1024 };
    char *frame = __builtin_frame_address(0);
    char *end = frame - (uintptr_t)frame % PAGE - IN_USE;
    (void)madvise(end - DEEPEST, DEEPEST, MADV_DONTNEED);
}

void memory_give_back(void)
{
    (void)malloc_trim(0);
    give_stack_back();
}
