/* SPDX-License-Identifier: ISC */
#include "proxy/config_rules.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "protocols/memory.h"
#include "proxy/clientcert.h"
#include "proxy/log.h"

static void tell(void *ctx, const char *where, const char *sentence)
{
    config_error(ctx, where, "%s", sentence);
}

/* NULL, or why the rule makes no sense in this service. */
static const char *find_contradiction(const struct service *s, enum rule_action action)
{
    switch (action) {
    case RULE_PASS:
    case RULE_REFUSE:
    case RULE_LOG:
        return NULL;
    case RULE_REQUIRE_TLS:
        return s->tls_level == TLS_LEVEL_NONE ? "cannot be with tlsLevel = none" : NULL;
    case RULE_NO_STARTTLS:
        return s->tls_level == TLS_LEVEL_ENCRYPT ? "cannot be with tlsLevel = encrypt" : NULL;
    case RULE_AUTH_IN_CLEAR:
    case RULE_HIDE:
    case RULE_ADD:
        break;
    }
    return s->protocol == NULL ? "means nothing without protocol" : NULL;
}

/* What some protocol has no objection to, this one may have. */
static void check_added(struct config *c, const struct service *s, const struct rule *rule)
{
    for (size_t i = 0; s->protocol != NULL && i < rule->edit.n_add; i++) {
        const char *wrong = s->protocol->may_add(rule->edit.add[i]);
        if (wrong != NULL)
            config_error(c, rule->where, "[%s] %s: \"%.80s\" %s", s->name,
                         rule_action_name(rule->action), rule->edit.add[i], wrong);
    }
}

static void check_rules(struct config *c, const struct service *s)
{
    for (size_t i = 0; i < s->rules.count; i++) {
        const struct rule *rule = &s->rules.items[i];
        const char *wrong = find_contradiction(s, rule->action);
        if (wrong != NULL)
            config_error(c, rule->where, "[%s] %s %s", s->name, rule_action_name(rule->action),
                         wrong);
        else
            check_added(c, s, rule);
    }
}

static void read_rules(struct config *c, struct service *s)
{
    const struct rules_complaint complaint = {.tell = tell, .ctx = c};
    char error[512];
    if (s->client && (s->client_rule.count > 0 || s->client_rules != NULL)) {
        config_error(c,
                     s->client_rules != NULL ? config_where(c, s, "clientRules")
                                             : s->client_rule.items[0].where,
                     "[%s] rules are for clients that are offered TLS: with client = yes write "
                     "tlsPolicy",
                     s->name);
        return;
    }
    for (size_t i = 0; i < s->client_rule.count; i++) {
        const struct value *v = &s->client_rule.items[i];
        if (!rules_add(&s->rules, v->text, v->where, error, sizeof error))
            config_error(c, v->where, "clientRule: %s", error);
    }
    if (s->client_rules != NULL)
        (void)rules_add_file(&s->rules, s->client_rules, config_where(c, s, "clientRules"),
                             &complaint);
    check_rules(c, s);
}

static void read_added(struct config *c, struct service *s)
{
    struct capability_edit *e = &s->added;
    e->add = memory_alloc((s->add_capability.count + 1) * sizeof *e->add);
    for (size_t i = 0; i < s->add_capability.count; i++) {
        const struct value *v = &s->add_capability.items[i];
        const char *wrong =
            s->protocol != NULL ? s->protocol->may_add(v->text) : reply_may_add(v->text);
        if (wrong != NULL)
            config_error(c, v->where, "addCapability: \"%.80s\" %s", v->text, wrong);
        else
            e->add[e->n_add++] = v->text;
    }
}

static void read_rate(struct config *c, const struct service *s, const char *option,
                      const char *text, struct rate *out)
{
    const char *wrong = text != NULL ? rate_parse(text, out) : NULL;
    if (wrong != NULL)
        config_error(c, config_where(c, s, option), "%s: \"%.80s\" %s", option, text, wrong);
}

void config_read_rules(struct config *c, struct service *s)
{
    read_rules(c, s);
    read_added(c, s);
    read_rate(c, s, "maxConnectionsRate", s->max_connections_rate, &s->connections_rate);
    read_rate(c, s, "maxHandshakesRate", s->max_handshakes_rate, &s->handshakes_rate);
}

void config_free_rules(struct service *s)
{
    rules_finish(&s->rules);
    free(s->added.add);
    s->added = (struct capability_edit){0};
}

static const struct service *find_service(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_services; i++)
        if (strcasecmp(c->services[i].name, name) == 0 && c->services[i].sni == NULL)
            return &c->services[i];
    return NULL;
}

/* False: none matches. */
static bool test_client_rules(const struct service *s, enum rule_moment moment, const char *text)
{
    struct cert_keys keys;
    cert_keys_set_text(&keys, text);
    const struct rule *rule = moment == MOMENT_CERTIFICATE
                                  ? rules_find_certificate(&s->rules, &keys)
                                  : rules_find(&s->rules, moment, text, strlen(text));
    if (rule == NULL)
        return false;
    printf("%s: %s\n", rule->where, rule->text);
    rule_explain(rule, moment, stdout);
    return true;
}

/* A certificate has other keys besides, so this is what follows if none of them decides before. */
static bool test_relay_rules(const struct service *s, const char *key)
{
    struct cert_keys keys;
    if (s->client_demand == NULL)
        return false;
    cert_keys_set_text(&keys, key);
    const struct relay_list *list = &s->client_demand->relay;
    const struct relay_rule *rule = relay_list_find(list, &keys);
    if (rule == NULL)
        return false;
    const struct value *v = &s->relay_as.items[rule - list->items];
    printf("%s: relayAs = %s\nthe client is known to the backend as %s\n", v->where, v->text,
           rule->name);
    return true;
}

int config_test_rule(const struct config *c, const char *service, const char *key)
{
    const struct service *s = find_service(c, service);
    enum rule_moment moment;
    const char *text;
    if (s == NULL) {
        log_error("there is no service [%s]", service);
        return EX_USAGE;
    }
    if (!rules_parse_key(key, &moment, &text)) {
        log_error("a key is written addr:ADDRESS, sni:NAME or helo:NAME, and of a certificate "
                  "sha256:HEX, spki-sha256:HEX, subject:NAME, issuer:NAME or name:NAME");
        return EX_USAGE;
    }
    bool found = test_client_rules(s, moment, text);
    if (moment == MOMENT_CERTIFICATE && test_relay_rules(s, key))
        found = true;
    if (found)
        return 0;
    printf("no rule of [%s] matches %s\n", s->name, key);
    return 1;
}
