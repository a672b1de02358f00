/* SPDX-License-Identifier: ISC
 *
 * Memory that is there or the process dies: a session's death costs one connection, and no
 * caller can do anything better than to say so.
 */
#ifndef PROTOCOLS_MEMORY_H
#define PROTOCOLS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* malloc, realloc, strdup that print one line to standard error and exit 71 (EX_OSERR). */
void *memory_alloc(size_t size);
void *memory_resize(void *old, size_t size);
char *memory_strdup(const char *text);

/* Whole pages, filled with zeros, that children which are forked from here on do not have: there
 * nothing may touch them. Freed with the same size; NULL is accepted. */
void *memory_alloc_unshared(size_t size);
void memory_free_unshared(void *p, size_t size);

/* For a process whose end somebody else should hear of: `speak` is called before it exits, once,
 * and has the reserve, if one was kept, to allocate from. NULL: nobody. */
void memory_set_last_words(void (*speak)(void *ctx), void *ctx);
/* Bytes that cost address space and no memory until then. A child has its parent's. */
void memory_keep_reserve(size_t size);

/* True when so many bytes could be had now. For a process that must not die, before it begins what
 * it can also leave alone. */
bool memory_is_at_hand(size_t size);

/* For a process that is about to fork many times: takes what is free between the blocks in use, so
 * that a child's new blocks lie beside each other on pages of their own, and do not have a page
 * full of its parent's blocks copied for each; and has room for them, so that no child has to ask
 * the kernel for it. Does nothing when they are closed already. */
void memory_close_gaps(void);
/* Makes them free again: before much is allocated, and after much was freed. */
void memory_open_gaps(void);

/* Returns to the kernel what free() has kept and what calls have left on the stack: for a process
 * that is about to wait for long. */
void memory_give_back(void);

#endif
