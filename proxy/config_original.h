/* SPDX-License-Identifier: ISC
 *
 * The option `transparent`, stunnel's word: what fits together with it, and what it stands for.
 */
#ifndef PROXY_CONFIG_ORIGINAL_H
#define PROXY_CONFIG_ORIGINAL_H

#include "proxy/config.h"

/* Complains to `c`; the service's protocol must be known. A service with transparent = destination
 * and without `connect` has `*:25` there afterwards, if it speaks SMTP. */
void config_check_original(struct config *c, struct service *s);

#endif
