/* SPDX-License-Identifier: ISC */
#include "proxy/ruling.h"

const struct rule *ruling_ask(struct ruling *r, enum rule_moment moment, const char *text,
                              size_t len)
{
    return r->found[moment] = rules_find(r->rules, moment, text, len);
}

const struct rule *ruling_ask_certificate(struct ruling *r, const struct cert_keys *keys)
{
    return r->found[MOMENT_CERTIFICATE] = rules_find_certificate(r->rules, keys);
}

void ruling_forget_hello(struct ruling *r)
{
    r->found[MOMENT_HELO] = NULL;
}

const struct policy *ruling_policy(struct ruling *r)
{
    const struct policy *now = r->common;
    for (int i = 0; i < RULE_MOMENTS; i++) {
        if (r->found[i] == NULL)
            continue;
        if (now == r->common)
            r->own = *r->common;
        now = &r->own;
        rule_apply(r->found[i], &r->own);
    }
    return now;
}

int ruling_log_level(const struct ruling *r, int level)
{
    for (int i = 0; i < RULE_MOMENTS; i++) {
        const struct rule *rule = r->found[i];
        if (rule != NULL && rule->action == RULE_LOG && rule->log_level > level)
            level = rule->log_level;
    }
    return level;
}
