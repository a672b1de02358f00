/* SPDX-License-Identifier: ISC
 *
 * One line of the table of destinations, and the words for what is demanded there:
 *
 *     tlsPolicy = /pattern/flags LEVEL [key=value ...]
 *     tlsPolicy = ADDRESS/BITS LEVEL [key=value ...]
 */
#ifndef PROXY_TLSRULE_H
#define PROXY_TLSRULE_H

#include <stdbool.h>
#include <stddef.h>

#include "certs/pin.h"
#include "proxy/address.h"

/* Postfix's words, as tlsLevel has them. The first three are those of enum tls_level. */
enum server_level {
    LEVEL_NONE,
    LEVEL_MAY,
    LEVEL_ENCRYPT,
    LEVEL_FINGERPRINT,
    LEVEL_VERIFY,
    LEVEL_SECURE,
    LEVEL_DANE,      /* by TLSA records where there are any, else as LEVEL_MAY (RFC 7672) */
    LEVEL_DANE_ONLY, /* and never without */
};

const char *server_level_word(enum server_level level);
/* FINGERPRINT to SECURE: the server must prove to be whom the configuration names. */
bool server_level_verifies(enum server_level level);
/* It must prove to be whom its TLSA records name. */
bool server_level_is_dane(enum server_level level);

/* Texts of our own. */
struct texts {
    char **items;
    size_t count;
};
void texts_add(struct texts *list, const char *text, size_t len);
void texts_finish(struct texts *list);

struct pins {
    struct pin *items;
    size_t count;
};
void pins_add(struct pins *list, const struct pin *pin);

enum tls_minimum { MINIMUM_DEFAULT, MINIMUM_TLS12, MINIMUM_TLS13 };

struct tls_rule {
    struct pattern *pattern; /* NULL: none */
    bool by_network;         /* then it is this that decides: */
    struct network network;
    enum server_level level;
    bool fall_back, says_fall_back;
    bool first_use, says_first_use; /* trustOnFirstUse */
    enum tls_minimum minimum;
    char *ca_file, *priority, *server_name; /* NULL: not said */
    struct texts names;
    struct pins pins;
};

/* True: `out` is filled, and to be finished. False: `error` has a sentence, and there is nothing
 * to finish. */
bool tls_rule_parse(const char *text, struct tls_rule *out, char *error, size_t error_size);
void tls_rule_finish(struct tls_rule *r);

/* Whether the rule is for the destination, written as in `connect`. A host name is in no network.
 */
bool tls_rule_is_for(const struct tls_rule *r, const char *destination);
/* Whether it is for an address that a connection was going to: a pattern is looked for in the
 * address alone and in the address with its port, so that neither way to write it misses. */
bool tls_rule_is_for_address(const struct tls_rule *r, const struct address *destination);

#endif
