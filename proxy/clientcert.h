/* SPDX-License-Identifier: ISC
 *
 * Certificates of clients: what a service demands of them, and what one of them has come to.
 */
#ifndef PROXY_CLIENTCERT_H
#define PROXY_CLIENTCERT_H

#include <stdbool.h>
#include <stddef.h>

#include "certs/verify.h"
#include "proxy/certkeys.h"
#include "proxy/config.h"
#include "proxy/relayas.h"
#include "proxy/trusts.h"

struct tls;

/* Of a service with verifyClient; strings borrow from the service. */
struct client_demand {
    bool required;
    struct verify_rules rules;
    struct pin *pins; /* those of `rules`, and the names there: owned */
    const char **hosts, **emails, **addresses;
    struct relay_list relay;
};

/* Sets service->client_demand, if certificates are asked for; complains to `c` about all options
 * that have to do with them. Translates stunnel's words. */
void client_demand_make(struct config *c, struct service *s);
/* Complains about what asks clients for certificates in a service that has them in clear. */
void client_demand_forbid(struct config *c, const struct service *s);
/* Accepts a service without any. */
void client_demand_finish(struct service *s);

/* What CAfile, CApath and CRLfile say, borrowed for the life of `trusts`. NULL: `error` says which
 * of them cannot be read and why. */
const struct trust *client_demand_find_trust(const struct service *s, struct trusts *trusts,
                                             char *error, size_t error_size);

/* What the certificate of one client has come to. Zeroed: nobody has asked for one. */
struct client_standing {
    bool judged;
    struct verdict verdict;
    const char *name; /* by relayAs; NULL: it gains nothing. Borrowed from the demand */
    char subject[256], issuer[256]; /* if the verdict is good: printable, RFC 4514; else "" */
};

/* Judges after the handshake, at the present time. `keys`: of a certificate that is good, otherwise
 * none. */
void client_demand_judge(const struct client_demand *d, const struct tls *t,
                         struct client_standing *out, struct cert_keys *keys);

/* NULL if this client is to be served, or a sentence for it. */
const char *client_standing_refusal(const struct client_demand *d, const struct client_standing *s);

/* For the log: " certificate=expired verified=no" with a blank in front; "" if nobody has asked. */
enum { CLIENT_STANDING_TEXT = 128 };
void client_standing_describe(const struct client_standing *s, char out[CLIENT_STANDING_TEXT]);

#endif
