/* SPDX-License-Identifier: ISC
 *
 * The configuration: stunnel.conf syntax, read whole and checked whole before anything happens.
 */
#ifndef PROXY_CONFIG_H
#define PROXY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "protocols/protocol.h"
#include "proxy/address.h"
#include "proxy/arguments.h"
#include "proxy/rates.h"
#include "proxy/rules.h"

struct demand;
struct tls_rule;
struct client_demand;
struct option_row;

/* What a repeatable option was given, each with "file:line". */
struct value {
    char *text, *where;
};
struct values {
    struct value *items;
    size_t count;
    bool inherited; /* from the part before the sections: the first own value replaces all */
};

enum foreground { FOREGROUND_NO, FOREGROUND_QUIET, FOREGROUND_YES };
enum failover { FAILOVER_PRIO, FAILOVER_RR };
enum implicit_tls { IMPLICIT_NO, IMPLICIT_YES, IMPLICIT_AUTO };
/* The words of `identity`, in the order of its row. */
enum identity_kind {
    IDENTITY_NONE,
    IDENTITY_PROXY,
    IDENTITY_PROXY2,
    IDENTITY_TRANSPARENT,
    IDENTITY_XCLIENT,
    IDENTITY_ENV, /* by the environment of a program */
};
/* The words of `transparent`, in the order of its row; only two mean something here. */
enum redirection {
    REDIRECTION_NONE,
    REDIRECTION_SOURCE,
    REDIRECTION_DESTINATION, /* the backend is where the connection was going */
    REDIRECTION_BOTH,
};
enum verify_client { VERIFY_CLIENT_NO, VERIFY_CLIENT_ASK, VERIFY_CLIENT_REQUIRE };
enum log_mode { LOG_APPEND, LOG_OVERWRITE };

/* What a service without `accept` is: it may get its sockets from a service manager. */
enum no_accept { NO_ACCEPT_ERROR, NO_ACCEPT_WARNING, NO_ACCEPT_FINE };

/* One [section]. Times in seconds unless they say otherwise, sizes in bytes. */
struct service {
    char *name, *where;
    struct values accept, connect, cert, key, ocsp_staple, hide_capability, accept_proxy;
    struct values check_host, check_ip, check_email, verify_peer, tls_policy, relay_as;
    char *protocol_name, *ca_file, *ca_path, *crl_file, *priority, *local, *sni;
    char *verify, *verify_chain, *require_cert; /* stunnel's; see demand.c, clientcert.c */
    char *exec, *exec_args, *exec_user;
    char *login_username, *login_password, *login_password_file, *login_token_file,
        *login_token_program, *login_mechanisms;  /* protocolUsername and so on; see login.h */
    char *via, *via_username, *via_password_file; /* see via.h */
    struct values add_capability, client_rule;
    char *client_rules, *max_connections_rate, *max_handshakes_rate;
    int client, failover, tls_level, implicit_tls, auth_before_tls, bare_newline, session_resume;
    int trace, fall_back, trust_on_first_use, delay;
    int implicit_tls_wait_ms;
    int identity, reconnect, verify_client, redirection;
    int spare_workers, max_connections, max_connections_per_client, connections_per_worker;
    int max_command_length, max_reply_size, max_useless_commands;
    int timeout_connect, timeout_busy, timeout_idle, timeout_close, timeout_handshake,
        timeout_pretls;

    const struct protocol *protocol;      /* NULL: bytes only */
    const char *sni_pattern;              /* of sni, behind the colon; NULL: a service of its own */
    struct service *sni_service;          /* the one it belongs to */
    struct pattern_list hide;             /* hide_capability, compiled */
    struct argument_list exec_arguments;  /* exec_args, split; the program's path without them */
    struct argument_list token_arguments; /* login_token_program, split */
    struct network_list balancers;        /* accept_proxy, parsed */
    bool level_given;                     /* tls_level was said, for services of this side */
    struct demand *demands;               /* client = yes (demand.h) */
    size_t n_demands;
    struct tls_rule *destination_rules; /* of redirected connections: tls_policy, parsed */
    struct rules rules;                 /* client_rule, then those of the file client_rules */
    struct capability_edit added;       /* add_capability */
    struct rate connections_rate, handshakes_rate; /* parsed */
    struct client_demand *client_demand; /* NULL: clients are not asked for certificates */
    struct secret *login_secret;         /* login_password, which is empty then; NULL: not given */
};

/* Where an option was set. */
struct origin {
    int service; /* its number; -1: before the first section */
    const struct option_row *row;
    char *where;
};

struct config {
    char *setuid_name, *setgid_name, *chroot_dir, *pid_file, *output, *ident, *hostname, *debug,
        *tls_memory, *dnssec_anchor;
    struct values resolver;
    int foreground, syslog, log_mode, timeout_drain, keepers;

    int log_level, log_facility; /* from debug */
    struct service defaults;     /* service options before the first section */
    struct service *services;
    size_t n_services;
    struct origin *origins;
    size_t n_origins;

    /* How the program was started, not options: */
    int no_accept;              /* enum no_accept */
    const struct service *only; /* the one that is set up, for a single session; NULL: all */

    /* Where complaints go, each "file:line: sentence"; NULL: the log. */
    void (*complain)(void *ctx, bool is_error, const char *sentence);
    void *complain_ctx;
    unsigned errors, warnings;
};

/* Sets every option to its default. */
void config_init(struct config *c);
void config_finish(struct config *c);

/* Reads a file, and those it includes. False when anything was wrong; all of it has been told. */
bool config_read(struct config *c, const char *path);

/* The same for text in memory (for tests); `include` works as in a file. */
bool config_parse(struct config *c, const char *text, size_t len, const char *name);

/* Checks what only the whole can show, compiles the patterns, finds the protocols. */
bool config_check(struct config *c);

/* Prints everything with its effective value, in a form that config_read takes. */
void config_show(const struct config *c, FILE *out);

/* Where the option of that name was set for the service. */
enum config_origin { ORIGIN_NOWHERE, ORIGIN_DEFAULTS, ORIGIN_SECTION };
enum config_origin config_origin(const struct config *c, const struct service *s,
                                 const char *option);

/* True for a section that only adds certificates to another (sni = SERVICE:PATTERN). */
bool service_is_bundle(const struct service *s);

/* "file:line" where the option of that name was set for the service (NULL: for the program), or
 * where its section begins. Borrowed. */
const char *config_where(const struct config *c, const struct service *s, const char *option);

/* Whether messages are handed in by its protocol, which a backend may relay. */
bool config_speaks_mail(const struct service *s);

/* Tells a complaint as config_read does; `where` may be NULL, if the text says it.  */
void config_error(struct config *c, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void config_warn(struct config *c, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
