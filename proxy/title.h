/* SPDX-License-Identifier: ISC
 *
 * What ps(1) shows of a process.
 */
#ifndef PROXY_TITLE_H
#define PROXY_TITLE_H

/* Once, first thing in main: remembers where the arguments are, and moves the environment. */
void title_init(int argc, char **argv);

/* "ehlock: ", the role, and the service's name if there is one (NULL), cut to the room there is. */
void title_set(const char *role, const char *service);

#endif
