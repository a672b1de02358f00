/* SPDX-License-Identifier: ISC
 *
 * Memory that is there or the process dies: a session's death costs one connection, and no
 * caller can do anything better.
 */
#ifndef PROTOCOLS_MEMORY_H
#define PROTOCOLS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* malloc, realloc, strdup that print one line to standard error and exit 71 (EX_OSERR). */
void *memory_alloc(size_t size);
void *memory_resize(void *old, size_t size);
char *memory_strdup(const char *text);

/* True when so many bytes could be had now. For a process that must not die, before it begins what
 * it can also leave alone. */
bool memory_is_at_hand(size_t size);

/* Returns what free() has kept to the kernel: for a process that is about to wait for long. */
void memory_give_back(void);

#endif
