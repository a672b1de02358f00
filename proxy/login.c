/* SPDX-License-Identifier: ISC */
#include "proxy/login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocols/memory.h"
#include "proxy/demand.h"
#include "proxy/secret.h"

static const char *const options[] = {"protocolAuthentication", "protocolPassword",
                                      "protocolPasswordFile",   "protocolTokenFile",
                                      "protocolTokenProgram",   "protocolUsername"};
enum { OPTIONS = sizeof options / sizeof *options };

static bool has_token(const struct service *s)
{
    return s->login_token_file != NULL || s->login_token_program != NULL;
}

static bool is_given(const struct config *c, const struct service *s, const char *option)
{
    return config_origin(c, s, option) != ORIGIN_NOWHERE;
}

/* ---- what is said of it all ---- */

void login_forbid(struct config *c, const struct service *s)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (is_given(c, s, options[i]))
            config_error(c, config_where(c, s, options[i]),
                         "%s is for client = yes: leave it out of [%s]", options[i], s->name);
}

/* True when there is something to be checked further. */
static bool is_wanted(struct config *c, const struct service *s)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        if (!is_given(c, s, options[i]))
            continue;
        if (!sasl_is_built())
            config_error(
                c, config_where(c, s, options[i]),
                "%s: this ehlock was built without GNU SASL (meson: -Dsasl=enabled): leave "
                "it out",
                options[i]);
        else if (s->login_username == NULL)
            config_error(c, config_where(c, s, options[i]),
                         "%s means nothing without protocolUsername = NAME", options[i]);
    }
    return sasl_is_built() && s->login_username != NULL;
}

static void check_name(struct config *c, const struct service *s)
{
    const char *where = config_where(c, s, "protocolUsername");
    if (strlen(s->login_username) > SASL_USERNAME_MAX)
        config_error(c, where, "protocolUsername has more than %d bytes", SASL_USERNAME_MAX);
    for (const char *p = s->login_username; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == '\x7f') {
            config_error(c, where, "protocolUsername has control characters");
            break;
        }
    if (s->protocol != &protocol_smtp && s->protocol != &protocol_lmtp)
        config_error(c, where, "protocolUsername needs protocol = smtp or lmtp");
    if (s->auth_before_tls)
        config_error(c, config_where(c, s, "authBeforeTls"),
                     "authBeforeTls means nothing with protocolUsername, by which clients have no "
                     "AUTH of their own: leave it out");
}

/* ---- to whom it is told ---- */

/* RFC 4954 §14. At level dane a server without TLSA records is not verified. */
static void check_levels(struct config *c, const struct service *s)
{
    for (size_t i = 0; i < s->n_demands; i++) {
        const struct demand *d = &s->demands[i];
        if (server_level_verifies(d->level) || d->level == LEVEL_DANE_ONLY)
            continue;
        config_error(c, d->where != NULL ? d->where : config_where(c, s, "tlsLevel"),
                     "[%s] protocolUsername: passwords go to servers that are verified, and "
                     "tlsLevel = %s does not always do that: write tlsLevel = secure, verify or "
                     "fingerprint for %s",
                     s->name, server_level_word(d->level), s->connect.items[i].text);
    }
}

/* ---- the secret ---- */

static void check_secrets(struct config *c, const struct service *s)
{
    const struct {
        const char *option, *value;
    } secrets[] = {{"protocolPasswordFile", s->login_password_file},
                   {"protocolTokenFile", s->login_token_file},
                   {"protocolTokenProgram", s->login_token_program},
                   {"protocolPassword", s->login_password}};
    const char *first = NULL;
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        if (secrets[i].value == NULL)
            continue;
        if (first != NULL)
            config_error(c, config_where(c, s, secrets[i].option),
                         "%s: there is %s already, and one secret is enough: leave one of them out",
                         secrets[i].option, first);
        first = secrets[i].option;
    }
    if (first == NULL)
        config_error(c, config_where(c, s, "protocolUsername"),
                     "protocolUsername needs protocolPasswordFile = FILE, or protocolTokenFile = "
                     "FILE or protocolTokenProgram = PROGRAM for an OAuth 2.0 access token");
}

/* Whether it can be run is seen when its user is looked up (program.h). */
static void check_token_program(struct config *c, struct service *s)
{
    static const char *const no_names[] = {NULL};
    const char *where = config_where(c, s, "protocolTokenProgram");
    char error[256];
    if (s->login_token_program == NULL)
        return;
    if (!arguments_parse(&s->token_arguments, s->login_token_program, no_names, error,
                         sizeof error)) {
        config_error(c, where, "protocolTokenProgram: %s", error);
        return;
    }
    const char *path = arguments_first(&s->token_arguments);
    if (path == NULL || path[0] != '/')
        config_error(c, where,
                     "protocolTokenProgram: write the program with its whole path, /..., and its "
                     "arguments behind it");
}

static void warn_of_public_file(struct config *c, const struct service *s, const char *option,
                                const char *path)
{
    if (path != NULL && secret_is_public(path))
        config_warn(c, config_where(c, s, option),
                    "%s: everybody on this machine can read %s: chmod o= %s", option, path, path);
}

/* `where` is "file:line". */
static void warn_of_public_configuration(struct config *c, const struct service *s)
{
    const char *where = config_where(c, s, "protocolPassword");
    const char *colon = strrchr(where, ':');
    char *path = memory_strdup(where);
    if (colon != NULL)
        path[colon - where] = '\0';
    if (secret_is_public(path))
        config_warn(
            c, where,
            "protocolPassword: everybody on this machine can read it in %s: chmod o= %s, or "
            "write protocolPasswordFile = FILE",
            path, path);
    free(path);
}

/* Every child has a copy of the configuration: from here on the password is no longer in it. */
static void take_password(struct config *c, struct service *s)
{
    size_t len = strlen(s->login_password);
    warn_of_public_configuration(c, s);
    if (len > SASL_PASSWORD_MAX)
        config_error(c, config_where(c, s, "protocolPassword"),
                     "protocolPassword has more than %d bytes", SASL_PASSWORD_MAX);
    s->login_secret = secret_create(s->login_password, len);
    if (s->login_secret == NULL)
        config_error(c, config_where(c, s, "protocolPassword"), "protocolPassword: out of memory");
    explicit_bzero(s->login_password, len);
}

/* ---- the mechanisms ---- */

static void check_mechanism(struct config *c, const struct service *s, const char *name, size_t len)
{
    const char *where = config_where(c, s, "protocolAuthentication");
    bool with_token = has_token(s), for_tokens;
    const char *known = sasl_find(name, len, &for_tokens);
    if (known == NULL)
        config_error(c, where,
                     "protocolAuthentication: \"%.*s\" is not known here: write some of %s",
                     len < 64 ? (int)len : 64, name, sasl_mechanisms(with_token));
    else if (for_tokens != with_token)
        config_error(c, where, "protocolAuthentication: %s is for a %s: write some of %s", known,
                     for_tokens ? "token" : "password", sasl_mechanisms(with_token));
}

/* Commas become blanks. */
static void check_mechanisms(struct config *c, struct service *s)
{
    char *p = s->login_mechanisms;
    if (p == NULL)
        return;
    for (char *comma = p; (comma = strchr(comma, ',')) != NULL;)
        *comma = ' ';
    while (*(p += strspn(p, " \t")) != '\0') {
        size_t len = strcspn(p, " \t");
        check_mechanism(c, s, p, len);
        p += len;
    }
}

/* ---- all of it ---- */

void login_check(struct config *c, struct service *s)
{
    if (is_wanted(c, s)) {
        check_name(c, s);
        check_levels(c, s);
        check_secrets(c, s);
        check_token_program(c, s);
        check_mechanisms(c, s);
        warn_of_public_file(c, s, "protocolPasswordFile", s->login_password_file);
        warn_of_public_file(c, s, "protocolTokenFile", s->login_token_file);
    }
    if (s->login_password != NULL)
        take_password(c, s);
}

static void leave_out(char **option)
{
    free(*option);
    *option = NULL;
}

bool login_leave_out(struct service *s)
{
    if (s->login_username == NULL)
        return false;
    leave_out(&s->login_username);
    leave_out(&s->login_token_program);
    login_finish(s);
    return true;
}

void login_forget_defaults(struct config *c)
{
    char *password = c->defaults.login_password;
    if (password != NULL)
        explicit_bzero(password, strlen(password));
}

void login_finish(struct service *s)
{
    secret_destroy(s->login_secret);
    s->login_secret = NULL;
}

/* ---- before the fork ---- */

static struct secret *read_secret(const struct config *c, const struct service *s, char *error,
                                  size_t size)
{
    bool is_token = s->login_token_file != NULL;
    const char *option = is_token ? "protocolTokenFile" : "protocolPasswordFile";
    const char *path = is_token ? s->login_token_file : s->login_password_file;
    char reason[512] = "out of memory";
    struct secret *secret;
    if (s->login_secret != NULL)
        secret = secret_create(secret_text(s->login_secret), strlen(secret_text(s->login_secret)));
    else
        secret = secret_read(path, is_token ? SASL_TOKEN_MAX : SASL_PASSWORD_MAX,
                             is_token ? SECRET_WORD : SECRET_LINE, reason, sizeof reason);
    if (secret == NULL)
        snprintf(error, size, "%s: %s: %s", config_where(c, s, option), option, reason);
    return secret;
}

bool login_read(const struct config *c, const struct service *s, struct login **out, char *error,
                size_t error_size)
{
    *out = NULL;
    if (s->login_username == NULL)
        return true;
    struct login *l = memory_alloc(sizeof *l);
    char reason[256];
    bool is_token = has_token(s), is_there = s->login_token_program == NULL;
    *l = (struct login){.secret = is_there ? read_secret(c, s, error, error_size) : NULL};
    if ((l->secret != NULL || !is_there) &&
        (l->library = sasl_library_create(reason, sizeof reason)) == NULL)
        snprintf(error, error_size, "%s: protocolUsername: GNU SASL cannot be used: %s",
                 config_where(c, s, "protocolUsername"), reason);
    if (l->library == NULL) {
        login_destroy(l);
        return false;
    }
    l->words = (struct sasl_login){
        .username = s->login_username,
        .secret = is_there ? secret_text(l->secret) : NULL,
        .is_token = is_token,
        .mechanisms = s->login_mechanisms != NULL ? s->login_mechanisms : sasl_mechanisms(is_token),
        .library = l->library};
    *out = l;
    return true;
}

void login_destroy(struct login *l)
{
    if (l == NULL)
        return;
    secret_destroy(l->secret);
    sasl_library_destroy(l->library);
    free(l);
}

void login_share(struct login *l, bool with_children)
{
    if (l != NULL && l->secret != NULL)
        secret_share(l->secret, with_children);
}
