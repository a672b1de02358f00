/* SPDX-License-Identifier: ISC
 *
 * The options of a service that are small languages of their own: rules about clients, capabilities
 * that are added, rates.
 */
#ifndef PROXY_CONFIG_RULES_H
#define PROXY_CONFIG_RULES_H

#include "proxy/config.h"

/* Reads them into the service's own members; what is wrong is told as a mistake of the
 * configuration. The service's protocol must be known. */
void config_read_rules(struct config *c, struct service *s);
void config_free_rules(struct service *s);

/* `--test-rule`: prints which rule of the service matches the key, and what follows. Returns the
 * exit status: 0, 1 if none does, EX_USAGE if there is no such service or key. */
int config_test_rule(const struct config *c, const char *service, const char *key);

#endif
