/* SPDX-License-Identifier: ISC
 *
 * What the rules have decided about one session so far, and the policy that follows. Each moment
 * has at most one rule; a moment that comes again (a second EHLO) replaces what it has decided
 * before.
 */
#ifndef PROXY_RULING_H
#define PROXY_RULING_H

#include "proxy/rules.h"

struct ruling {
    const struct rules *rules;   /* borrowed */
    const struct policy *common; /* the service's; borrowed */
    const struct rule *found[RULE_MOMENTS];
    struct policy own; /* of this session */
};

/* A moment has come, with `len` bytes of what it is about. Returns the rule, or NULL. */
const struct rule *ruling_ask(struct ruling *r, enum rule_moment moment, const char *text,
                              size_t len);

/* The same for a certificate that is good. */
const struct rule *ruling_ask_certificate(struct ruling *r, const struct cert_keys *keys);

/* TLS has begun: what was said in clear counts no more (RFC 3207 §4.2). */
void ruling_forget_hello(struct ruling *r);

/* What holds now. Borrowed; the same until the next moment. The service's own if no rule has
 * changed anything. */
const struct policy *ruling_policy(struct ruling *r);

/* The level of the log for this session, if that of the configuration is `level`. */
int ruling_log_level(const struct ruling *r, int level);

#endif
