/* SPDX-License-Identifier: ISC */
#include "proxy/certkeys.h"

#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {"sha256:", "spki-sha256:", "subject:", "issuer:", "name:"};

static bool is_there(const char *text)
{
    return text[0] != '\0' && strcmp(text, "-") != 0;
}

/* What tls.h shortens ends in "...", and has '?' for bytes that it does not write. */
bool cert_text_is_whole(const char *text)
{
    size_t len = strlen(text);
    return is_there(text) && strchr(text, '?') == NULL &&
           (len < 3 || strcmp(text + len - 3, "...") != 0);
}

static void add(struct cert_keys *keys, const char *kind, const char *value)
{
    if (!is_there(value))
        return;
    struct cert_key *key = &keys->items[keys->count++];
    int len = snprintf(key->text, sizeof key->text, "%s%s", kind, value);
    key->whole = cert_text_is_whole(value) && (size_t)len < sizeof key->text;
}

void cert_keys_set(struct cert_keys *keys, const struct tls_certificates *c)
{
    keys->count = 0;
    if (!c->peer_presented)
        return;
    add(keys, "sha256:", c->peer_sha256);
    add(keys, "spki-sha256:", c->peer_spki_sha256);
    add(keys, "subject:", c->peer_subject);
    add(keys, "issuer:", c->peer_issuer);
    for (size_t i = 0; i < c->n_peer_names; i++)
        add(keys, "name:", c->peer_names[i]);
}

static const char *find_kind(const char *text)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(text, kinds[i], strlen(kinds[i])) == 0)
            return kinds[i];
    return NULL;
}

bool cert_key_is_one(const char *text)
{
    return find_kind(text) != NULL;
}

void cert_keys_set_text(struct cert_keys *keys, const char *text)
{
    const char *kind = find_kind(text);
    keys->count = 0;
    if (kind != NULL)
        add(keys, kind, text + strlen(kind));
}
