/* SPDX-License-Identifier: ISC */
#include "proxy/environment.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocols/memory.h"
#include "proxy/certkeys.h"

const char *const environment_names[VARIABLES + 1] = {
    [VARIABLE_PATH] = "PATH",
    [VARIABLE_PROTO] = "PROTO",
    [VARIABLE_TCPREMOTEIP] = "TCPREMOTEIP",
    [VARIABLE_TCPREMOTEPORT] = "TCPREMOTEPORT",
    [VARIABLE_TCPLOCALIP] = "TCPLOCALIP",
    [VARIABLE_TCPLOCALPORT] = "TCPLOCALPORT",
    [VARIABLE_REMOTE_HOST] = "REMOTE_HOST",
    [VARIABLE_REMOTE_PORT] = "REMOTE_PORT",
    [VARIABLE_SSL_PROTOCOL] = "SSL_PROTOCOL",
    [VARIABLE_SSL_CIPHER] = "SSL_CIPHER",
    [VARIABLE_SSL_TLS_SNI] = "SSL_TLS_SNI",
    [VARIABLE_SSL_SESSION_RESUMED] = "SSL_SESSION_RESUMED",
    [VARIABLE_SSL_CLIENT_VERIFY] = "SSL_CLIENT_VERIFY",
    [VARIABLE_SSL_CLIENT_S_DN] = "SSL_CLIENT_S_DN",
    [VARIABLE_SSL_CLIENT_I_DN] = "SSL_CLIENT_I_DN",
    [VARIABLE_RELAYCLIENT] = "RELAYCLIENT",
};

static const char path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* ---- the facts ---- */

static void set_place(const struct address *a, char ip[46], char port[6])
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
    if (a->sa.ss_family == AF_INET) {
        inet_ntop(AF_INET, &in->sin_addr, ip, 46);
        snprintf(port, 6, "%u", ntohs(in->sin_port));
    } else if (a->sa.ss_family == AF_INET6) {
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
            inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], ip, 46);
        else
            inet_ntop(AF_INET6, &in6->sin6_addr, ip, 46);
        snprintf(port, 6, "%u", ntohs(in6->sin6_port));
    }
}

/* A word that is safe as an argument and in a shell. */
static bool is_word(const char *text, size_t size)
{
    size_t len = strnlen(text, size);
    if (len == size || text[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'A' && text[i] <= 'Z') &&
            !(text[i] >= 'a' && text[i] <= 'z') && strchr("-._", text[i]) == NULL)
            return false;
    return true;
}

static void set_word(char *out, size_t size, const char *text)
{
    if (strcmp(text, "-") != 0 && is_word(text, size))
        memcpy(out, text, strlen(text) + 1);
}

void session_facts_set(struct session_facts *f, const struct address *client,
                       const struct address *local, const struct tls_info *tls)
{
    memset(f, 0, sizeof *f); /* all of it leaves this process */
    set_place(client, f->remote_ip, f->remote_port);
    set_place(local, f->local_ip, f->local_port);
    if (tls == NULL)
        return;
    /* GnuTLS says "TLS1.3" */
    if (strncmp(tls->version, "TLS", 3) == 0)
        snprintf(f->tls_protocol, sizeof f->tls_protocol, "TLSv%.8s", tls->version + 3);
    set_word(f->cipher, sizeof f->cipher, tls->cipher);
    set_word(f->server_name, sizeof f->server_name, tls->sni);
    f->resumed = tls->resumed ? 1 : 0;
}

/* A name of a certificate: printable, and nothing that could be taken for an option. */
static bool is_printable(const char *text, size_t size)
{
    size_t len = strnlen(text, size);
    if (len == size || text[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return true;
}

/* What was shortened, or had bytes replaced, another certificate could have as well. */
static void set_printable(char *out, size_t size, const char *text)
{
    if (cert_text_is_whole(text) && is_printable(text, size))
        memcpy(out, text, strlen(text) + 1);
}

void session_facts_set_client(struct session_facts *f, enum verdict_cause cause,
                              const char *subject, const char *issuer, bool relay)
{
    if (cause == VERDICT_OK)
        snprintf(f->verify, sizeof f->verify, "SUCCESS");
    else if (cause == VERDICT_NO_CERTIFICATE)
        snprintf(f->verify, sizeof f->verify, "NONE");
    else
        snprintf(f->verify, sizeof f->verify, "FAILED:%.30s", verdict_word(cause));
    set_printable(f->subject, sizeof f->subject, subject);
    set_printable(f->issuer, sizeof f->issuer, issuer);
    f->relay = relay ? 1 : 0;
}

static bool is_client_wrong(const struct session_facts *f)
{
    if (!is_printable(f->verify, sizeof f->verify) || strchr(f->verify, ' ') != NULL ||
        !is_printable(f->subject, sizeof f->subject) || !is_printable(f->issuer, sizeof f->issuer))
        return true;
    return f->relay != 0 && (f->relay != 1 || strcmp(f->verify, "SUCCESS") != 0);
}

static bool is_port(const char port[6])
{
    size_t len = strnlen(port, 6);
    return len > 0 && len < 6 && strspn(port, "0123456789") == len && atol(port) <= UINT16_MAX;
}

static bool is_place(const char ip[46], const char port[6])
{
    struct in6_addr any;
    if (memchr(ip, '\0', 46) == NULL)
        return false;
    if (ip[0] == '\0')
        return port[0] == '\0';
    return is_port(port) &&
           (inet_pton(AF_INET, ip, &any) == 1 || inet_pton(AF_INET6, ip, &any) == 1);
}

const char *session_facts_wrong(const struct session_facts *f)
{
    if (!is_place(f->remote_ip, f->remote_port))
        return "the client's address";
    if (!is_place(f->local_ip, f->local_port))
        return "the local address";
    if (!is_word(f->tls_protocol, sizeof f->tls_protocol) ||
        !is_word(f->cipher, sizeof f->cipher) || (f->resumed != 0 && f->resumed != 1))
        return "what TLS is used";
    if (!is_word(f->server_name, sizeof f->server_name))
        return "the server name";
    if (is_client_wrong(f))
        return "the client's certificate";
    return NULL;
}

/* ---- the variables ---- */

static const char *or_unset(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

void environment_values(const struct session_facts *f, const char *values[VARIABLES])
{
    const char *remote_ip = or_unset(f->remote_ip), *remote_port = or_unset(f->remote_port);
    const char *tls = or_unset(f->tls_protocol);
    values[VARIABLE_PATH] = path;
    values[VARIABLE_PROTO] = remote_ip != NULL ? "TCP" : "UNIX";
    values[VARIABLE_TCPREMOTEIP] = remote_ip;
    values[VARIABLE_TCPREMOTEPORT] = remote_port;
    values[VARIABLE_TCPLOCALIP] = or_unset(f->local_ip);
    values[VARIABLE_TCPLOCALPORT] = or_unset(f->local_port);
    values[VARIABLE_REMOTE_HOST] = remote_ip;
    values[VARIABLE_REMOTE_PORT] = remote_port;
    values[VARIABLE_SSL_PROTOCOL] = tls;
    values[VARIABLE_SSL_CIPHER] = or_unset(f->cipher);
    values[VARIABLE_SSL_TLS_SNI] = or_unset(f->server_name);
    values[VARIABLE_SSL_SESSION_RESUMED] = tls == NULL ? NULL : f->resumed ? "Resumed" : "Initial";
    values[VARIABLE_SSL_CLIENT_VERIFY] = or_unset(f->verify);
    values[VARIABLE_SSL_CLIENT_S_DN] = or_unset(f->subject);
    values[VARIABLE_SSL_CLIENT_I_DN] = or_unset(f->issuer);
    values[VARIABLE_RELAYCLIENT] = f->relay ? "" : NULL;
}

static char *pair(const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 2;
    char *out = memory_alloc(size);
    snprintf(out, size, "%s=%s", name, value);
    return out;
}

char **environment_make(const char *const values[VARIABLES])
{
    char **env = memory_alloc((VARIABLES + 1) * sizeof *env);
    size_t n = 0;
    for (size_t i = 0; i < VARIABLES; i++)
        if (values[i] != NULL)
            env[n++] = pair(environment_names[i], values[i]);
    env[n] = NULL;
    return env;
}

char **environment_make_user(const char *name, const char *home)
{
    const char *const variables[][2] = {
        {"PATH", path}, {"HOME", home}, {"LOGNAME", name}, {"USER", name}};
    enum { COUNT = sizeof variables / sizeof *variables };
    char **env = memory_alloc((COUNT + 1) * sizeof *env);
    size_t n = 0;
    for (size_t i = 0; i < COUNT; i++)
        if (variables[i][1][0] != '\0')
            env[n++] = pair(variables[i][0], variables[i][1]);
    env[n] = NULL;
    return env;
}
