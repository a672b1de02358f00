/* SPDX-License-Identifier: ISC
 *
 * What a program that is started for one session is told of it: facts that a worker knows, and
 * the variables they become. The names are those of UCSPI, of stunnel, and of mod_ssl.
 */
#ifndef PROXY_ENVIRONMENT_H
#define PROXY_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "certs/tls.h"
#include "certs/verify.h"
#include "proxy/address.h"

/* Texts end with a NUL; "" where there is nothing to say. Goes over a socket as it is. */
struct session_facts {
    char remote_ip[46], remote_port[6]; /* the client; "" for a Unix socket */
    char local_ip[46], local_port[6];   /* where it came to */
    char tls_protocol[16];              /* "TLSv1.3"; "": no TLS so far */
    char cipher[32];                    /* "AES-128-GCM" */
    char server_name[256];              /* that the client asked for */
    char resumed;                       /* 0 or 1 */
    /* Of the client's certificate, if one was asked for: */
    char verify[40];                /* "SUCCESS", "NONE", "FAILED:expired" */
    char subject[256], issuer[256]; /* RFC 4514, if it was good */
    char relay;                     /* 0 or 1: it may relay */
};

enum variable {
    VARIABLE_PATH,
    VARIABLE_PROTO, /* TCP (whatever the version of IP) or UNIX */
    VARIABLE_TCPREMOTEIP,
    VARIABLE_TCPREMOTEPORT,
    VARIABLE_TCPLOCALIP,
    VARIABLE_TCPLOCALPORT,
    VARIABLE_REMOTE_HOST, /* the address again, as stunnel has it */
    VARIABLE_REMOTE_PORT,
    VARIABLE_SSL_PROTOCOL, /* these only after TLS has begun */
    VARIABLE_SSL_CIPHER,
    VARIABLE_SSL_TLS_SNI,
    VARIABLE_SSL_SESSION_RESUMED, /* Initial or Resumed */
    VARIABLE_SSL_CLIENT_VERIFY,   /* these only if a certificate is asked for */
    VARIABLE_SSL_CLIENT_S_DN,
    VARIABLE_SSL_CLIENT_I_DN,
    VARIABLE_RELAYCLIENT, /* empty: the client may relay, as qmail-smtpd and its kin have it */
    VARIABLES,
};

/* The name of each, NULL behind the last. */
extern const char *const environment_names[VARIABLES + 1];

/* `tls` is NULL in clear. A server name that cannot be the name of a host is left out: a program
 * is given it as it is, perhaps as an argument. */
void session_facts_set(struct session_facts *f, const struct address *client,
                       const struct address *local, const struct tls_info *tls);

/* Afterwards, if the client was asked for a certificate: what it has come to; subject and issuer,
 * "" or "-" if they are not to be told; whether the client may relay. */
void session_facts_set_client(struct session_facts *f, enum verdict_cause cause,
                              const char *subject, const char *issuer, bool relay);

/* NULL when everything is as session_facts_set makes it, or what is not: addresses are numeric
 * ones, ports are numbers, names have letters, digits, '-', '.' and '_' and do not begin with
 * '-', subjects and issuers are printable and do not begin with it either. For who is given the
 * facts by somebody else. */
const char *session_facts_wrong(const struct session_facts *f);

/* The value of each name, NULL where the variable is not set. They borrow from `f`. */
void environment_values(const struct session_facts *f, const char *values[VARIABLES]);

/* The vector for execve(2): these variables and no others. For arguments_release. */
char **environment_make(const char *const values[VARIABLES]);

/* The same for a program that has nothing to do with a session, as cron(8) has it: PATH, and HOME,
 * LOGNAME and USER of who it runs as; "" where nobody knows them, and then they are not set. */
char **environment_make_user(const char *name, const char *home);

#endif
