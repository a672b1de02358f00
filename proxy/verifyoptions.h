/* SPDX-License-Identifier: ISC
 *
 * Options about the certificate of a peer that mean the same for servers (demand.h) and for clients
 * (clientcert.h). All complain to `c`, with the place of the option.
 */
#ifndef PROXY_VERIFYOPTIONS_H
#define PROXY_VERIFYOPTIONS_H

#include <stdbool.h>

#include "proxy/config.h"

struct trust;

/* Of an option with stunnel's yes or no, whose silence (NULL) matters elsewhere. */
bool verify_option_is_yes(struct config *c, const struct service *s, const char *option,
                          const char *value);

/* CApath and CRLfile, if they are given, can be read. */
void verify_check_files(struct config *c, const struct service *s);

/* checkIP has addresses, checkEmail e-mail addresses. */
void verify_check_names(struct config *c, const struct service *s);

/* Reads whom to trust, before the jail. Each NULL: not given. `system`: where there is neither file
 * nor directory, the machine's own store. NULL: `error` says why. */
struct trust *verify_read_trust(const char *ca_file, const char *ca_path, const char *crl_file,
                                bool system, char *error, size_t error_size);

#endif
