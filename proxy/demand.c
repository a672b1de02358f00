/* SPDX-License-Identifier: ISC */
#include "proxy/demand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "certs/tls.h"
#include "protocols/match.h"
#include "protocols/memory.h"
#include "proxy/address.h"
#include "proxy/firstuse.h"
#include "proxy/nexthop.h"
#include "proxy/verifyoptions.h"

/* What the service says of all its destinations. */
struct wishes {
    bool chain, peer; /* verifyChain = yes, verifyPeer = yes, or verify = N that means them */
    bool no_chain;    /* verifyChain = no */
    bool nobody;      /* verify = 0 */
    struct pins pins; /* of verifyPeer */
    struct tls_rule *rules;
    size_t n_rules;
};

static bool checks_names(const struct service *s)
{
    return s->check_host.count + s->check_ip.count + s->check_email.count > 0;
}

/* ---- stunnel's words ---- */

static void read_verify(struct config *c, const struct service *s, struct wishes *w)
{
    const char *v = s->verify;
    if (v == NULL)
        return;
    if (v[0] < '0' || v[0] > '4' || v[1] != '\0') {
        config_error(c, config_where(c, s, "verify"), "verify must be a whole number from 0 to 4");
        return;
    }
    w->nobody = v[0] == '0';
    w->chain = w->chain || (v[0] >= '1' && v[0] <= '3');
    w->peer = w->peer || v[0] >= '3';
}

static void read_verify_peer(struct config *c, const struct service *s, struct wishes *w)
{
    for (size_t i = 0; i < s->verify_peer.count; i++) {
        const struct value *v = &s->verify_peer.items[i];
        struct pin pin;
        if (strcasecmp(v->text, "no") == 0)
            continue;
        if (strcasecmp(v->text, "yes") == 0) {
            w->peer = true;
            continue;
        }
        const char *wrong = pin_parse(v->text, &pin);
        if (wrong == NULL)
            pins_add(&w->pins, &pin);
        else
            config_error(c, v->where, "verifyPeer: \"%.100s\" is neither yes nor no nor a pin: %s",
                         v->text, wrong);
    }
}

static void read_stunnel_words(struct config *c, const struct service *s, struct wishes *w)
{
    w->chain = verify_option_is_yes(c, s, "verifyChain", s->verify_chain);
    w->no_chain = s->verify_chain != NULL && !w->chain;
    (void)verify_option_is_yes(c, s, "requireCert", s->require_cert); /* servers always have one */
    read_verify(c, s, w);
    read_verify_peer(c, s, w);
}

/* Where the level is not said. In stunnel nobody is verified then; here silence means secure, so
 * what would be looser is not taken from words that stunnel understands another way. */
static enum server_level infer_level(struct config *c, const struct service *s,
                                     const struct wishes *w)
{
    if (w->chain) {
        if (!checks_names(s))
            config_error(c, config_where(c, s, s->verify_chain != NULL ? "verifyChain" : "verify"),
                         "a chain alone proves no name: write checkHost = NAME as well, or leave "
                         "this out: tlsLevel = secure, the default, verifies the chain and the "
                         "name in connect");
        return LEVEL_SECURE;
    }
    if (w->peer || w->pins.count > 0)
        return LEVEL_FINGERPRINT;
    if (w->nobody)
        return LEVEL_ENCRYPT;
    if (w->no_chain)
        config_error(c, config_where(c, s, "verifyChain"),
                     "verifyChain = no: write tlsLevel = encrypt if the server is not to be "
                     "verified, else leave it out");
    return s->redirection == REDIRECTION_DESTINATION ? LEVEL_MAY : LEVEL_SECURE;
}

static void check_stunnel_words(struct config *c, const struct service *s, const struct wishes *w)
{
    const char *level = server_level_word((enum server_level)s->tls_level);
    if (w->chain && s->tls_level != LEVEL_VERIFY && s->tls_level != LEVEL_SECURE)
        config_error(c, s->where,
                     "[%s] tlsLevel = %s verifies no chain: leave verifyChain (verify) "
                     "out, or write tlsLevel = verify",
                     s->name, level);
    if ((w->nobody || w->no_chain) && s->tls_level >= LEVEL_VERIFY)
        config_error(c, s->where,
                     "[%s] tlsLevel = %s verifies the chain: leave verifyChain "
                     "(verify) out",
                     s->name, level);
    if (w->nobody && s->tls_level == LEVEL_FINGERPRINT)
        config_error(c, s->where,
                     "[%s] tlsLevel = fingerprint verifies the server: leave verify "
                     "out",
                     s->name);
    if (w->peer && s->ca_file == NULL && s->ca_path == NULL)
        config_error(c, s->where,
                     "[%s] verifyPeer = yes needs CAfile = FILE with the certificates "
                     "of the servers",
                     s->name);
}

static void settle_level(struct config *c, struct service *s, const struct wishes *w)
{
    if (s->level_given)
        check_stunnel_words(c, s, w);
    else
        s->tls_level = (int)infer_level(c, s, w);
    if (!s->level_given && w->peer)
        check_stunnel_words(c, s, w);
}

/* ---- what does not fit together ---- */

/* Said in this very section, so it was meant. */
static void forbid_unused(struct config *c, const struct service *s)
{
    static const char *const options[] = {"checkHost", "checkIP", "checkEmail", "CAfile",
                                          "CApath",    "CRLfile", "verifyPeer"};
    if (server_level_verifies((enum server_level)s->tls_level) || s->tls_policy.count > 0)
        return;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (config_origin(c, s, options[i]) == ORIGIN_SECTION)
            config_error(c, config_where(c, s, options[i]),
                         "%s means nothing with tlsLevel = %s, which verifies %s: write "
                         "tlsLevel = verify",
                         options[i], server_level_word((enum server_level)s->tls_level),
                         server_level_is_dane((enum server_level)s->tls_level) ? "by TLSA records"
                                                                               : "nobody");
}

static void check_rest(struct config *c, const struct service *s)
{
    if (s->exec != NULL)
        config_error(c, config_where(c, s, "exec"),
                     "exec: client = yes needs a server: write connect = HOST:PORT");
    if (s->implicit_tls == IMPLICIT_AUTO)
        config_error(c, config_where(c, s, "implicitTls"),
                     "implicitTls = auto is for clients; of a server it is known: write yes or no");
    if (s->protocol != NULL && s->protocol->request == NULL)
        config_error(c, config_where(c, s, "protocol"),
                     "client = yes cannot ask a server for TLS in the words of %s in this version",
                     s->protocol->name);
    if (s->cert.count > 1)
        config_error(c, s->cert.items[1].where,
                     "cert: a client has one certificate to show: leave the others out");
    verify_check_files(c, s);
    verify_check_names(c, s);
}

void demands_forbid(struct config *c, const struct service *s)
{
    if (config_origin(c, s, "tlsPolicy") != ORIGIN_NOWHERE)
        config_error(c, config_where(c, s, "tlsPolicy"),
                     "tlsPolicy is for client = yes: leave it out of [%s], or see clientRule",
                     s->name);
    if (s->tls_level > LEVEL_ENCRYPT)
        config_error(c, config_where(c, s, "tlsLevel"),
                     "tlsLevel = %s is for client = yes; for [%s] write none, may or encrypt",
                     server_level_word((enum server_level)s->tls_level), s->name);
    if (s->fall_back)
        config_error(c, config_where(c, s, "fallBack"), "fallBack = yes is for client = yes");
    if (s->trust_on_first_use)
        config_error(c, config_where(c, s, "trustOnFirstUse"),
                     "trustOnFirstUse = yes is for client = yes");
}

/* ---- one destination ---- */

static char *copy_or_null(const char *text)
{
    return text != NULL ? memory_strdup(text) : NULL;
}

static void add_values(struct texts *to, const struct values *from)
{
    for (size_t i = 0; i < from->count; i++)
        texts_add(to, from->items[i].text, strlen(from->items[i].text));
}

/* The host of a destination if it is a name, or "". */
static const char *name_of(const char *destination, char *out, size_t size)
{
    if (!nexthop_host(destination, out, size) || address_is_literal(out))
        out[0] = '\0';
    return out;
}

static void decide_names(const struct service *s, const struct tls_rule *r, const char *name,
                         struct demand *d)
{
    if (!server_level_verifies(d->level))
        return;
    if (r != NULL && r->names.count > 0) {
        for (size_t i = 0; i < r->names.count; i++)
            texts_add(&d->hosts, r->names.items[i], strlen(r->names.items[i]));
        return;
    }
    add_values(&d->hosts, &s->check_host);
    add_values(&d->emails, &s->check_email);
    add_values(&d->addresses, &s->check_ip);
    if (!checks_names(s) && d->level >= LEVEL_VERIFY && name[0] != '\0')
        texts_add(&d->hosts, name, strlen(name));
}

static void decide_trust(const struct service *s, const struct tls_rule *r, const struct wishes *w,
                         struct demand *d)
{
    if (!server_level_verifies(d->level))
        return;
    bool own_file = r != NULL && r->ca_file != NULL;
    const struct pins *pins = r != NULL && r->pins.count > 0 ? &r->pins : &w->pins;
    d->need_ca = d->level >= LEVEL_VERIFY;
    d->pinned_by_file = w->peer && (r == NULL || r->pins.count == 0);
    d->ca_file = copy_or_null(own_file ? r->ca_file : s->ca_file);
    d->ca_path = copy_or_null(own_file ? NULL : s->ca_path);
    d->crl_file = copy_or_null(s->crl_file);
    for (size_t i = 0; i < pins->count; i++)
        pins_add(&d->pins, &pins->items[i]);
}

/* What the service says is for those of its destinations that have no rule with something better.
 */
static void decide_first_use(const struct service *s, const struct tls_rule *r, struct demand *d)
{
    if (r == NULL)
        d->first_use = s->trust_on_first_use;
    else if (r->says_first_use)
        d->first_use = r->first_use;
    else
        d->first_use = s->trust_on_first_use && d->level == LEVEL_FINGERPRINT && r->pins.count == 0;
}

/* GnuTLS takes what stands last. */
static void decide_priority(const struct service *s, const struct tls_rule *r, struct demand *d)
{
    static const char *const less[] = {
        [MINIMUM_DEFAULT] = "",
        [MINIMUM_TLS12] = ":-VERS-SSL3.0:-VERS-TLS1.0:-VERS-TLS1.1",
        [MINIMUM_TLS13] = ":-VERS-SSL3.0:-VERS-TLS1.0:-VERS-TLS1.1:-VERS-TLS1.2",
    };
    const char *base = r != NULL && r->priority != NULL ? r->priority : s->priority;
    enum tls_minimum minimum = r != NULL ? r->minimum : MINIMUM_DEFAULT;
    if (minimum == MINIMUM_DEFAULT) {
        d->priority = copy_or_null(base);
        return;
    }
    if (base == NULL)
        base = tls_default_priority;
    size_t size = strlen(base) + strlen(less[minimum]) + 1;
    d->priority = memory_alloc(size);
    snprintf(d->priority, size, "%s%s", base, less[minimum]);
}

/* An address is never sent (RFC 6066 §3). Without a word from the configuration, a host that DNS
 * has named is asked for its own name (upstream.c). */
static void decide_server_name(const struct service *s, const struct tls_rule *r, bool by_dns,
                               const char *name, struct demand *d)
{
    const char *said = r != NULL && r->server_name != NULL ? r->server_name
                       : s->sni != NULL                    ? s->sni
                       : by_dns                            ? NULL
                       : name[0] != '\0'                   ? name
                       : d->hosts.count > 0                ? d->hosts.items[0]
                                                           : NULL;
    d->server_name = said != NULL && !address_is_literal(said) ? memory_strdup(said) : NULL;
}

/* `to`: as in `connect`; NULL: it is known to the session alone. */
/* `to`: NULL where a connection was going to an address. */
static void check_dane(struct config *c, const struct service *s, const struct value *to,
                       const char *where, const struct demand *d)
{
    struct nexthop n;
    char error[128];
    const char *level = server_level_word(d->level);
    if (!server_level_is_dane(d->level))
        return;
    if (to == NULL)
        config_error(c, where,
                     "at level %s a name is needed, and an address that a connection was going to "
                     "has none",
                     level);
    else if (nexthop_parse(to->text, &n, error, sizeof error) && !n.named)
        config_error(
            c, to->where,
            "connect = %s has no name whose TLSA records could be looked up: write connect "
            "= NAME:PORT, or another tlsLevel than %s",
            to->text, level);
    if (s->sni != NULL)
        config_error(c, config_where(c, s, "sni"),
                     "sni means nothing with tlsLevel = %s: the TLSA records say which name is "
                     "asked for",
                     level);
}

static bool is_domain(const char *destination)
{
    struct nexthop n;
    char error[128];
    return nexthop_parse(destination, &n, error, sizeof error) && n.mx;
}

/* Whether keys can be remembered for it. Here and in the next the first thing that is wrong is
 * told, and no other. */
static bool can_be_remembered(struct config *c, const struct service *s, const struct value *to,
                              const char *where)
{
    unsigned errors = c->errors;
    const char *name = to != NULL ? to->text : "";
    if (to == NULL)
        config_error(c, where,
                     "trustOnFirstUse = yes is for servers in connect: with transparent = "
                     "destination they are everybody's, and none is remembered: leave it out");
    else if (is_domain(name))
        config_error(c, where,
                     "trustOnFirstUse = yes means nothing with connect = %s, because the servers "
                     "of a domain change: write connect = HOST:PORT, or tlsLevel = dane",
                     name);
    else if (!first_use_can_be(s->name, name))
        config_error(c, to->where,
                     "connect = %.64s and [%.64s] cannot be remembered for trustOnFirstUse: their "
                     "names must be of at most %d and %d bytes, ASCII, without blanks",
                     name, s->name, FIRST_USE_NAME_MAX, FIRST_USE_SERVICE_MAX);
    return c->errors == errors;
}

/* `to`: as above. */
static void check_first_use(struct config *c, const struct service *s, const struct value *to,
                            const struct demand *d, bool pinned)
{
    const char *where = d->where != NULL ? d->where : config_where(c, s, "trustOnFirstUse");
    if (!can_be_remembered(c, s, to, where))
        return;
    if (d->level != LEVEL_FINGERPRINT)
        config_error(c, where,
                     "trustOnFirstUse = yes is for tlsLevel = fingerprint, and means nothing with "
                     "tlsLevel = %s for %s: write the one or leave out the other",
                     server_level_word(d->level), to->text);
    else if (pinned)
        config_error(c, where,
                     "trustOnFirstUse = yes and verifyPeer (pin=) exclude each other for %s: whose "
                     "pin is known needs no first use; leave one of them out",
                     to->text);
    else if (c->tls_memory == NULL)
        config_error(c, where,
                     "trustOnFirstUse = yes needs a file to remember the keys in: write tlsMemory "
                     "= /var/lib/ehlock/servers before the sections");
    else if (s->login_username != NULL)
        config_error(
            c, where,
            "trustOnFirstUse = yes and protocolUsername exclude each other: passwords go to "
            "servers that are verified, and at the first use nobody is: write verifyPeer = "
            "spki-sha256:DIGEST");
}

static void check_demand(struct config *c, const struct service *s, const struct value *to,
                         const char *where, const struct demand *d)
{
    size_t names = d->hosts.count + d->emails.count + d->addresses.count;
    bool pinned = d->pinned_by_file || d->pins.count > 0;
    check_dane(c, s, to, where, d);
    if (d->first_use)
        check_first_use(c, s, to, d, pinned);
    else if (d->level == LEVEL_FINGERPRINT && !pinned)
        config_error(c, where,
                     "tlsLevel = fingerprint needs a pin: write verifyPeer = "
                     "sha256:DIGEST or spki-sha256:DIGEST, or trustOnFirstUse = yes");
    else if (d->need_ca && names == 0 && !pinned && to == NULL)
        config_error(c, where,
                     "at level %s a name is needed, and an address that a connection was going to "
                     "has none: write tlsPolicy = ADDRESS %s match=NAME for the servers you know",
                     server_level_word(d->level), server_level_word(d->level));
    else if (d->need_ca && names == 0 && !pinned)
        config_error(c, to->where,
                     "connect = %s has no name to be looked for in a certificate: "
                     "write checkHost = NAME, or verifyPeer = sha256:DIGEST, or "
                     "connect = NAME:PORT",
                     to->text);
    if (d->fall_back && (d->level != LEVEL_MAY || s->implicit_tls != IMPLICIT_NO))
        config_error(c, where, "fallBack = yes is for tlsLevel = may with STARTTLS; at level %s %s",
                     server_level_word(d->level),
                     s->implicit_tls != IMPLICIT_NO
                         ? "with TLS from the first byte there is no way "
                           "back"
                         : "TLS comes or nothing does");
    if (d->level == LEVEL_NONE && s->implicit_tls != IMPLICIT_NO)
        config_error(c, where, "tlsLevel = none and TLS from the first byte exclude each other");
}

/* The first rule for the destination, or NULL. */
static const struct tls_rule *find_rule(const struct wishes *w, const char *destination)
{
    for (size_t i = 0; i < w->n_rules; i++)
        if (tls_rule_is_for(&w->rules[i], destination))
            return &w->rules[i];
    return NULL;
}

/* From the rule (or NULL), and for a host or (`mx`) domain of that name ("": none is known). */
static void decide_all(const struct service *s, const struct wishes *w, const struct tls_rule *r,
                       const char *name, bool mx, struct demand *d)
{
    *d = (struct demand){.level = r != NULL ? r->level : (enum server_level)s->tls_level,
                         .where = r != NULL ? s->tls_policy.items[r - w->rules].where : NULL};
    d->fall_back = r == NULL || r->says_fall_back ? (r != NULL ? r->fall_back : s->fall_back)
                                                  : s->fall_back && d->level == LEVEL_MAY;
    decide_names(s, r, name, d);
    decide_trust(s, r, w, d);
    decide_first_use(s, r, d);
    decide_priority(s, r, d);
    decide_server_name(s, r, mx || server_level_is_dane(d->level), name, d);
}

static void decide(struct config *c, const struct service *s, const struct wishes *w,
                   const struct value *to, struct demand *d)
{
    char host[256];
    const char *name = name_of(to->text, host, sizeof host);
    decide_all(s, w, find_rule(w, to->text), name, is_domain(to->text), d);
    check_demand(c, s, to, d->where != NULL ? d->where : config_where(c, s, "tlsLevel"), d);
}

/* ---- destinations that a session alone knows ---- */

/* The only name there is: the administrator's. What the server calls itself, and what its address
 * is called in reverse, is said by whoever answers there. */
static void decide_redirected(struct config *c, const struct service *s, const struct wishes *w,
                              const struct tls_rule *r, struct demand *d)
{
    decide_all(s, w, r, "", false, d);
    check_demand(c, s, NULL, d->where != NULL ? d->where : config_where(c, s, "tlsLevel"), d);
}

static void make_redirected(struct config *c, struct service *s, struct wishes *w)
{
    s->demands = memory_alloc((w->n_rules + 1) * sizeof *s->demands);
    for (size_t i = 0; i < w->n_rules; i++)
        decide_redirected(c, s, w, &w->rules[i], &s->demands[s->n_demands++]);
    decide_redirected(c, s, w, NULL, &s->demands[s->n_demands++]);
    s->destination_rules = w->rules;
    w->rules = NULL;
    w->n_rules = 0;
}

const struct demand *demand_for(const struct service *s, const struct address *destination)
{
    size_t i = 0;
    while (i + 1 < s->n_demands && !tls_rule_is_for_address(&s->destination_rules[i], destination))
        i++;
    return &s->demands[i];
}

/* ---- all ---- */

static void read_rules(struct config *c, const struct service *s, struct wishes *w)
{
    char error[256];
    w->n_rules = s->tls_policy.count;
    w->rules = memory_alloc((w->n_rules + 1) * sizeof *w->rules);
    for (size_t i = 0; i < w->n_rules; i++)
        if (!tls_rule_parse(s->tls_policy.items[i].text, &w->rules[i], error, sizeof error))
            config_error(c, s->tls_policy.items[i].where, "tlsPolicy: %s", error);
}

static bool is_used(const struct service *s, const struct tls_rule *r)
{
    if (r->pattern == NULL && !r->by_network)
        return true; /* it could not be read, which has been told */
    for (size_t i = 0; i < s->connect.count; i++)
        if (tls_rule_is_for(r, s->connect.items[i].text))
            return true;
    return false;
}

/* A slip in a pattern would leave its destination to the options of the service. */
static void warn_of_unused_rules(struct config *c, const struct service *s, const struct wishes *w)
{
    for (size_t i = 0; i < w->n_rules; i++)
        if (!s->tls_policy.inherited && !is_used(s, &w->rules[i]))
            config_warn(c, s->tls_policy.items[i].where,
                        "tlsPolicy: the rule is for none of the destinations in connect");
}

/* Whoever reaches it submits mail with whatever rights the server gives this machine. */
static void warn_of_open_door(struct config *c, const struct service *s)
{
    for (size_t i = 0; i < s->accept.count; i++)
        if (!address_is_local(s->accept.items[i].text))
            config_warn(
                c, s->accept.items[i].where,
                "[%s] accept = %s: everybody who can reach this address can use the service, "
                "and talks to it in clear; write 127.0.0.1:PORT, or let the packet filter "
                "choose",
                s->name, s->accept.items[i].text);
}

/* Lists are looked at with the chain. */
static void check_revocation(struct config *c, const struct service *s)
{
    if (config_origin(c, s, "CRLfile") != ORIGIN_SECTION)
        return;
    for (size_t i = 0; i < s->n_demands; i++)
        if (s->demands[i].need_ca)
            return;
    config_error(c, config_where(c, s, "CRLfile"),
                 "CRLfile means nothing where no chain is verified: write tlsLevel = verify");
}

static void make_connected(struct config *c, struct service *s, const struct wishes *w)
{
    warn_of_unused_rules(c, s, w);
    warn_of_open_door(c, s);
    s->demands = memory_alloc((s->connect.count + 1) * sizeof *s->demands);
    for (size_t i = 0; i < s->connect.count; i++)
        decide(c, s, w, &s->connect.items[i], &s->demands[s->n_demands++]);
}

void demands_make(struct config *c, struct service *s)
{
    struct wishes w = {0};
    read_stunnel_words(c, s, &w);
    settle_level(c, s, &w);
    read_rules(c, s, &w);
    check_rest(c, s);
    forbid_unused(c, s);
    if (s->redirection == REDIRECTION_DESTINATION)
        make_redirected(c, s, &w);
    else
        make_connected(c, s, &w);
    check_revocation(c, s);
    for (size_t i = 0; i < w.n_rules; i++)
        tls_rule_finish(&w.rules[i]);
    free(w.rules);
    free(w.pins.items);
}

void demands_finish(struct service *s)
{
    for (size_t i = 0; s->destination_rules != NULL && i + 1 < s->n_demands; i++)
        tls_rule_finish(&s->destination_rules[i]);
    free(s->destination_rules);
    s->destination_rules = NULL;
    for (size_t i = 0; i < s->n_demands; i++) {
        struct demand *d = &s->demands[i];
        free(d->ca_file);
        free(d->ca_path);
        free(d->crl_file);
        free(d->priority);
        free(d->server_name);
        texts_finish(&d->hosts);
        texts_finish(&d->emails);
        texts_finish(&d->addresses);
        free(d->pins.items);
    }
    free(s->demands);
    s->demands = NULL;
    s->n_demands = 0;
}
