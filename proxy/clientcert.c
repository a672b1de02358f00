/* SPDX-License-Identifier: ISC */
#include "proxy/clientcert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "certs/tls.h"
#include "certs/trust.h"
#include "protocols/memory.h"
#include "proxy/verifyoptions.h"

/* ---- stunnel's words ---- */

/* They mean what they do there, or they are refused. */
static void require_by(struct config *c, struct service *s, const char *option)
{
    if (s->verify_client == VERIFY_CLIENT_ASK)
        config_error(c, config_where(c, s, option),
                     "%s refuses clients that verifyClient = ask serves: leave one of the two out",
                     option);
    s->verify_client = VERIFY_CLIENT_REQUIRE;
}

static void translate_verify(struct config *c, struct service *s)
{
    const char *v = s->verify, *where = config_where(c, s, "verify");
    if (v == NULL || strcmp(v, "0") == 0)
        return;
    if (strcmp(v, "2") == 0)
        require_by(c, s, "verify");
    else if (strcmp(v, "1") == 0)
        config_error(c, where,
                     "verify = 1: write verifyClient = ask, which also serves clients with a bad "
                     "certificate, or verifyClient = require, which wants one of all");
    else if (strcmp(v, "3") == 0 || strcmp(v, "4") == 0)
        config_error(c, where,
                     "verify = %s: write verifyClient = require and, for each certificate, "
                     "verifyPeer = sha256:DIGEST",
                     v);
    else
        config_error(c, where, "verify must be a whole number from 0 to 4");
}

static void translate_words(struct config *c, struct service *s)
{
    bool chain = verify_option_is_yes(c, s, "verifyChain", s->verify_chain);
    bool require = verify_option_is_yes(c, s, "requireCert", s->require_cert);
    translate_verify(c, s);
    if (chain)
        require_by(c, s, "verifyChain");
    if (chain && s->require_cert != NULL && !require)
        config_error(c, config_where(c, s, "requireCert"),
                     "requireCert = no and verifyChain = yes: write verifyClient = ask or require");
    if (require && s->verify_client == VERIFY_CLIENT_NO)
        config_error(c, config_where(c, s, "requireCert"),
                     "requireCert = yes alone takes any certificate, which proves nothing: write "
                     "verifyClient = require and CAfile = FILE");
}

/* ---- one value each ---- */

static const char **texts_of(const struct values *v, size_t *n)
{
    const char **texts = memory_alloc((v->count + 1) * sizeof *texts);
    for (size_t i = 0; i < v->count; i++)
        texts[i] = v->items[i].text;
    *n = v->count;
    return texts;
}

static void read_names(const struct service *s, struct client_demand *d)
{
    d->rules.hosts = d->hosts = texts_of(&s->check_host, &d->rules.n_hosts);
    d->rules.emails = d->emails = texts_of(&s->check_email, &d->rules.n_emails);
    d->rules.addresses = d->addresses = texts_of(&s->check_ip, &d->rules.n_addresses);
}

static void read_pins(struct config *c, const struct service *s, struct client_demand *d)
{
    d->pins = memory_alloc((s->verify_peer.count + 1) * sizeof *d->pins);
    d->rules.pins = d->pins;
    for (size_t i = 0; i < s->verify_peer.count; i++) {
        const struct value *v = &s->verify_peer.items[i];
        if (strcasecmp(v->text, "no") == 0)
            continue;
        if (strcasecmp(v->text, "yes") == 0) {
            config_error(c, v->where,
                         "verifyPeer = yes: write verifyPeer = sha256:DIGEST for each certificate "
                         "that a client may have");
            continue;
        }
        const char *wrong = pin_parse(v->text, &d->pins[d->rules.n_pins]);
        if (wrong == NULL)
            d->rules.n_pins++;
        else
            config_error(c, v->where, "verifyPeer: \"%.100s\" is not a pin: %s", v->text, wrong);
    }
}

static void read_relay(struct config *c, const struct service *s, struct client_demand *d)
{
    char error[256];
    for (size_t i = 0; i < s->relay_as.count; i++)
        if (!relay_list_add(&d->relay, s->relay_as.items[i].text, error, sizeof error))
            config_error(c, s->relay_as.items[i].where, "relayAs: %s", error);
}

/* ---- all together ---- */

/* Whoever writes these wants certificates judged. Files of authorities may be there for others. */
static void forbid_unused(struct config *c, const struct service *s)
{
    static const char *const options[] = {"checkEmail", "checkHost", "checkIP", "relayAs",
                                          "verifyPeer"};
    bool only_no = s->verify_peer.count == 1 && strcasecmp(s->verify_peer.items[0].text, "no") == 0;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (config_origin(c, s, options[i]) == ORIGIN_NOWHERE ||
            (only_no && strcmp(options[i], "verifyPeer") == 0))
            continue;
        config_error(c, config_where(c, s, options[i]),
                     "%s means nothing with verifyClient = no in [%s]: write verifyClient = ask or "
                     "require",
                     options[i], s->name);
    }
    for (size_t i = 0; i < s->rules.count; i++)
        if (rule_is_about_certificates(&s->rules.items[i]))
            config_error(c, s->rules.items[i].where,
                         "the rule is about certificates of clients, and none is asked for in "
                         "[%s]: write verifyClient = ask or require",
                         s->name);
}

/* The option that asks for certificates. */
static const char *question_of(const struct config *c, const struct service *s)
{
    if (config_origin(c, s, "verifyClient") != ORIGIN_NOWHERE)
        return "verifyClient";
    return s->verify_chain != NULL ? "verifyChain" : "verify";
}

static void check_demand(struct config *c, const struct service *s, const struct client_demand *d)
{
    const char *option = question_of(c, s), *where = config_where(c, s, option);
    if (s->tls_level == TLS_LEVEL_NONE)
        config_error(c, where, "%s and tlsLevel = none exclude each other in [%s]", option,
                     s->name);
    if (!d->rules.need_ca && d->rules.n_pins == 0)
        config_error(c, where,
                     "%s needs CAfile = FILE with the authorities of the certificates, or "
                     "verifyPeer = sha256:DIGEST for each of them, in [%s]",
                     option, s->name);
    if (s->crl_file != NULL && !d->rules.need_ca)
        config_error(c, config_where(c, s, "CRLfile"),
                     "CRLfile means nothing without the authorities that have issued it: write "
                     "CAfile = FILE as well");
    if (d->required && s->implicit_tls != IMPLICIT_YES && s->tls_level == TLS_LEVEL_MAY)
        config_error(c, where,
                     "%s demands nothing of clients without TLS in [%s]: write tlsLevel = encrypt "
                     "as well, or verifyClient = ask",
                     option, s->name);
}

/* A name that never gets anywhere would let the administrator think that it does. */
static void check_relay(struct config *c, const struct service *s)
{
    const char *where = s->relay_as.count > 0 ? s->relay_as.items[0].where : NULL;
    if (where == NULL)
        return;
    if (s->protocol != NULL && !config_speaks_mail(s))
        config_error(c, where,
                     "relayAs: nobody relays by protocol = %s: leave it out in [%s], and write "
                     "verifyClient = require if only clients with a certificate may come",
                     s->protocol->name, s->name);
    switch ((enum identity_kind)s->identity) {
    case IDENTITY_NONE:
    case IDENTITY_PROXY:
    case IDENTITY_TRANSPARENT:
        config_error(
            c, where,
            "relayAs: the backend of [%s] cannot be told a name this way: write identity = "
            "xclient or proxy2 (exec: env)",
            s->name);
        return;
    case IDENTITY_PROXY2:
    case IDENTITY_XCLIENT:
    case IDENTITY_ENV:
        break;
    }
    if (s->implicit_tls != IMPLICIT_YES && !s->reconnect)
        config_error(c, where,
                     "relayAs: after STARTTLS the backend of [%s] can be told a name only on a new "
                     "connection: write reconnect = yes as well",
                     s->name);
}

void client_demand_make(struct config *c, struct service *s)
{
    translate_words(c, s);
    if (s->verify_client == VERIFY_CLIENT_NO) {
        forbid_unused(c, s);
        return;
    }
    struct client_demand *d = memory_alloc(sizeof *d);
    *d = (struct client_demand){
        .required = s->verify_client == VERIFY_CLIENT_REQUIRE,
        .rules = {.purpose = VERIFY_CLIENT, .need_ca = s->ca_file != NULL || s->ca_path != NULL}};
    s->client_demand = d;
    verify_check_files(c, s);
    verify_check_names(c, s);
    read_names(s, d);
    read_pins(c, s, d);
    read_relay(c, s, d);
    check_demand(c, s, d);
    check_relay(c, s);
}

/* verifyClient = no is what --show-config prints of every service: it asks nobody for anything. */
void client_demand_forbid(struct config *c, const struct service *s)
{
    const struct {
        const char *option;
        bool asks;
    } options[] = {{"verifyClient", s->verify_client != VERIFY_CLIENT_NO},
                   {"relayAs", s->relay_as.count > 0}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].asks && config_origin(c, s, options[i].option) == ORIGIN_SECTION)
            config_error(c, config_where(c, s, options[i].option),
                         "%s asks clients for certificates, and with client = yes they come in "
                         "clear: leave it out of [%s]",
                         options[i].option, s->name);
}

void client_demand_finish(struct service *s)
{
    struct client_demand *d = s->client_demand;
    if (d == NULL)
        return;
    free(d->pins);
    free(d->hosts);
    free(d->emails);
    free(d->addresses);
    relay_list_finish(&d->relay);
    free(d);
    s->client_demand = NULL;
}

const struct trust *client_demand_find_trust(const struct service *s, struct trusts *trusts,
                                             char *error, size_t error_size)
{
    return trusts_find(trusts, s->ca_file, s->ca_path, s->crl_file, false, error, error_size);
}

/* ---- one client ---- */

void client_demand_judge(const struct client_demand *d, const struct tls *t,
                         struct client_standing *out, struct cert_keys *keys)
{
    struct tls_certificates certificates;
    *out = (struct client_standing){.judged = true};
    keys->count = 0;
    if (!tls_verify_peer(t, &d->rules, &out->verdict))
        return;
    tls_get_certificates(t, &certificates);
    cert_keys_set(keys, &certificates);
    const struct relay_rule *rule = relay_list_find(&d->relay, keys);
    out->name = rule != NULL ? rule->name : NULL;
    memcpy(out->subject, certificates.peer_subject, sizeof out->subject);
    memcpy(out->issuer, certificates.peer_issuer, sizeof out->issuer);
}

const char *client_standing_refusal(const struct client_demand *d, const struct client_standing *s)
{
    if (!d->required || !s->judged || s->verdict.cause == VERDICT_OK)
        return NULL;
    return s->verdict.cause == VERDICT_NO_CERTIFICATE
               ? "Command refused: this server wants a certificate of its clients"
               : "Command refused: your certificate is not good here";
}

void client_standing_describe(const struct client_standing *s, char out[CLIENT_STANDING_TEXT])
{
    if (!s->judged)
        out[0] = '\0';
    else
        snprintf(out, CLIENT_STANDING_TEXT, " certificate=%s verified=%s",
                 verdict_word(s->verdict.cause), s->name != NULL ? s->name : "no");
}
