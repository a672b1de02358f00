/* SPDX-License-Identifier: ISC */
#include "proxy/verifyoptions.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "certs/trust.h"
#include "proxy/address.h"

bool verify_option_is_yes(struct config *c, const struct service *s, const char *option,
                          const char *value)
{
    bool yes = value != NULL && strcasecmp(value, "yes") == 0;
    if (value != NULL && !yes && strcasecmp(value, "no") != 0)
        config_error(c, config_where(c, s, option), "%s must be one of: no yes", option);
    return yes;
}

static void check_readable(struct config *c, const struct service *s, const char *option,
                           const char *path, int mode)
{
    if (path != NULL && access(path, mode) != 0)
        config_error(c, config_where(c, s, option), "%s: cannot read %s: %s", option, path,
                     strerror(errno));
}

void verify_check_files(struct config *c, const struct service *s)
{
    check_readable(c, s, "CApath", s->ca_path, R_OK | X_OK);
    check_readable(c, s, "CRLfile", s->crl_file, R_OK);
}

void verify_check_names(struct config *c, const struct service *s)
{
    for (size_t i = 0; i < s->check_ip.count; i++)
        if (!address_is_literal(s->check_ip.items[i].text))
            config_error(c, s->check_ip.items[i].where, "checkIP: \"%s\" is not an IP address",
                         s->check_ip.items[i].text);
    for (size_t i = 0; i < s->check_email.count; i++)
        if (strchr(s->check_email.items[i].text, '@') == NULL)
            config_error(c, s->check_email.items[i].where,
                         "checkEmail: \"%s\" is not an e-mail address",
                         s->check_email.items[i].text);
}

struct trust *verify_read_trust(const char *ca_file, const char *ca_path, const char *crl_file,
                                bool system, char *error, size_t error_size)
{
    const struct trust_sources sources = {.ca_files = &ca_file,
                                          .n_ca_files = ca_file != NULL,
                                          .ca_dirs = &ca_path,
                                          .n_ca_dirs = ca_path != NULL,
                                          .crl_files = &crl_file,
                                          .n_crl_files = crl_file != NULL,
                                          .system = system && ca_file == NULL && ca_path == NULL};
    return trust_create(&sources, error, error_size);
}
