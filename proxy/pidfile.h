/* SPDX-License-Identifier: ISC
 *
 * The pid file. It is locked for as long as its writer lives, so that a file which was left behind
 * is never taken for a process that is there, and no other process is signalled in its place. The
 * lock is the process's own: what it forks does not keep it.
 */
#ifndef PROXY_PIDFILE_H
#define PROXY_PIDFILE_H

#include <stddef.h>
#include <sys/types.h>

/* Writes our process number. Returns a descriptor that holds the lock, or -1 and a sentence:
 * another process has it, or the file cannot be written. */
int pidfile_write(const char *path, char *error, size_t error_size);

/* Removes the file, if it is still ours, and closes the descriptor. Accepts -1. */
void pidfile_remove(const char *path, int *fd);

/* The process that holds the lock, or 0 and a sentence. */
pid_t pidfile_find(const char *path, char *error, size_t error_size);

#endif
