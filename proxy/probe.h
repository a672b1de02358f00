/* SPDX-License-Identifier: ISC
 *
 * ehlock probe: does with a server what a service with client = yes would do, and tells all of it.
 */
#ifndef PROXY_PROBE_H
#define PROXY_PROBE_H

/* argv[0] is "probe". Returns the exit status: 0 if the server is what is demanded, 1 if it is not,
 * 2 if it could not be reached or does not answer; of several that of the first that would serve,
 * or of the last that was reached, and with --all the gravest; 64 (usage), 78 (configuration). The
 * process is jailed, as a worker is, before it reads a byte of a server, and is good for nothing
 * else then. */
int probe_run(int argc, char **argv);

#endif
