/* SPDX-License-Identifier: ISC */
#include "protocols/memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <unistd.h>

static void *or_die(void *p)
{
    static const char text[] = "ehlock: out of memory\n";
    if (p != NULL)
        return p;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(EX_OSERR);
    _exit(EX_OSERR);
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
