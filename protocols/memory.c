/* SPDX-License-Identifier: ISC */
#include "protocols/memory.h"

#include <malloc.h>
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

bool memory_is_at_hand(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED && munmap(p, size) == 0;
}

void memory_give_back(void)
{
    (void)malloc_trim(0);
}
