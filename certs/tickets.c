/* SPDX-License-Identifier: ISC */
#include "certs/tickets.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

int ticket_key_make(struct ticket_key *k)
{
    return gnutls_rnd(GNUTLS_RND_KEY, k->bytes, sizeof k->bytes) == 0 ? 0 : -1;
}
