/* SPDX-License-Identifier: ISC
 *
 * In place of sasl.c where GNU SASL is not there at build time. The configuration is refused, so
 * nothing but the question is ever asked.
 */
#include <stdio.h>
#include <stdlib.h>

#include "protocols/sasl.h"

bool sasl_is_built(void)
{
    return false;
}

struct sasl_library *sasl_library_create(char *error, size_t error_size)
{
    snprintf(error, error_size, "this build has no GNU SASL");
    return NULL;
}

void sasl_library_destroy(struct sasl_library *l)
{
    (void)l;
}

const char *sasl_find(const char *name, size_t len, bool *for_tokens)
{
    (void)name;
    (void)len;
    (void)for_tokens;
    return NULL;
}

const char *sasl_mechanisms(bool for_tokens)
{
    (void)for_tokens;
    return "";
}

const char *sasl_choose(const struct sasl_login *login, const char *offered, size_t len)
{
    (void)login;
    (void)offered;
    (void)len;
    return NULL;
}

struct sasl *sasl_begin(const struct sasl_login *login, const char *mechanism)
{
    (void)login;
    (void)mechanism;
    abort();
}

void sasl_end(struct sasl *s)
{
    (void)s;
}

bool sasl_client_begins(const struct sasl *s)
{
    (void)s;
    return false;
}

const char *sasl_first(struct sasl *s, const char **why)
{
    (void)s;
    *why = "";
    return NULL;
}

const char *sasl_respond(struct sasl *s, const char *challenge, size_t len, const char **why)
{
    (void)s;
    (void)challenge;
    (void)len;
    *why = "";
    return NULL;
}

bool sasl_is_complete(const struct sasl *s)
{
    (void)s;
    return false;
}

bool sasl_is_repeated(const struct sasl *s, const char *text, size_t len)
{
    (void)s;
    (void)text;
    (void)len;
    return true;
}
