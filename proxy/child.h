/* SPDX-License-Identifier: ISC
 *
 * What every process that the master forks does first, whatever it becomes.
 */
#ifndef PROXY_CHILD_H
#define PROXY_CHILD_H

#include <stdbool.h>

/* SIGTERM ends it, the other signals of the master are ignored, none is blocked. */
void child_default_signals(void);

/* Nothing of the terminal and the directory that the program was started from goes on: input and
 * output are /dev/null; for a daemon (`background`) standard error and the directory as well. */
void child_detach(bool background);

/* Closes it unless it is -1, which it is then. */
void child_close(int *fd);

#endif
