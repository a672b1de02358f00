/* SPDX-License-Identifier: ISC
 *
 * A table of rules, up to the first NUL, and the key of a client, which follows.
 */
#include "fuzz.h"
#include "proxy/rules.h"

enum { TABLE_MAX = 400 };

static void count(void *ctx, const char *where, const char *sentence)
{
    must(where[0] != '\0' && sentence[0] != '\0', "what is wrong is said, with its place");
    (*(unsigned *)ctx)++;
}

static void check_rule(const struct rule *rule, enum rule_moment moment)
{
    struct policy policy = {.tls_level = TLS_LEVEL_MAY};
    FILE *out = fopen("/dev/null", "w");
    must(out != NULL, "there is a /dev/null");
    rule_explain(rule, moment, out);
    fclose(out);
    rule_apply(rule, &policy);
    must((policy.refusal.code != 0) == (rule->action == RULE_REFUSE), "only refuse refuses");
    if (policy.refusal.code != 0) {
        int code = policy.refusal.code;
        must(code >= 400 && code <= 559, "a refusal has a code of a refusal");
        must(policy.refusal.enhanced[0] == '0' + code / 100, "both codes have the same class");
        must(strpbrk(policy.refusal.text, "\r\n") == NULL, "a refusal is one line");
    }
    for (size_t i = 0; i < rule->edit.n_add; i++)
        must(reply_may_add(rule->edit.add[i]) == NULL, "what is added may be added");
}

static void check_key(const struct rules *r, const char *key, size_t len)
{
    enum rule_moment moment;
    const char *text;
    char *whole = calloc(1, len + 1);
    must(whole != NULL, "there is memory");
    memcpy(whole, key, len);
    if (rules_parse_key(whole, &moment, &text)) {
        const struct rule *rule = rules_find(r, moment, text, len - (size_t)(text - whole));
        if (rule != NULL)
            check_rule(rule, moment);
    }
    free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned complaints = 0;
    const struct rules_complaint complaint = {.tell = count, .ctx = &complaints};
    struct rules r = {0};
    const uint8_t *nul = size > 0 ? memchr(data, '\0', size) : NULL;
    size_t len = nul != NULL ? (size_t)(nul - data) : size;
    if (len > TABLE_MAX)
        return 0;
    char *table = copy_exactly(data, len);
    bool good = rules_add_text(&r, table, len, "table", &complaint);
    must(good == (complaints == 0), "a table is good when there is no complaint");
    free(table);
    for (size_t i = 0; i < r.count; i++)
        check_rule(&r.items[i], MOMENT_ADDRESS);
    if (nul != NULL)
        check_key(&r, (const char *)nul + 1, size - len - 1);
    rules_finish(&r);
    return 0;
}
