/* SPDX-License-Identifier: ISC
 *
 * Inside a session: what its files know together, and what they do for each other. For nobody else.
 */
#ifndef PROXY_SESSION_INNER_H
#define PROXY_SESSION_INNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/dialogue.h"
#include "protocols/protocol.h"
#include "proxy/clientcert.h"
#include "proxy/credentials.h"
#include "proxy/identity.h"
#include "proxy/pool.h"
#include "proxy/ruling.h"
#include "proxy/session.h"
#include "proxy/turns.h"
#include "proxy/upstream.h"

enum { HEADER_SECONDS = 10 }; /* for a balancer to say who the client is, and for us */

struct session {
    struct pool *pool;
    const struct address *peer; /* the client */
    const struct address *via;  /* the balancer that has said so; NULL: there is none */
    struct address server;      /* where the client connected to */
    struct identity announced;  /* by the balancer */
    char id[IDENTITY_ID_MAX + 1];
    size_t id_len;                         /* 0: the session needs none */
    const struct address *backend_address; /* NULL until there is one */
    struct address original;               /* where a redirected client was going */
    int client_fd, backend_fd;             /* -1: none */
    int line_fd;                           /* to the spawner, until the session is over; -1 */
    const struct admission *admission;
    struct wire client, backend;
    struct tls *tls;                 /* the client's */
    struct client_standing standing; /* what its certificate has come to */
    struct upstream upstream;        /* client = yes: TLS of the server */
    struct credentials credentials;  /* as whom we log in there, for dialogue.login */
    struct turns turns;              /* the same: which servers have been tried */
    unsigned first;                  /* the same: with which it began */
    struct policy policy;
    struct dialogue dialogue;
    struct ruling ruling;
    int log_level;                     /* that of the configuration */
    bool told_handshake_rate;          /* in the log */
    struct session_facts facts;        /* its addresses, for dialogue.xclient */
    char literal[ADDRESS_LITERAL_MAX]; /* the client's address, for dialogue.client_facts */
    enum dialogue_end end;
    bool refused; /* never served: there were too many, or nobody knows who it is */
    int64_t began;
};

/* ---- session.c ---- */

/* It is to end so, for this reason. */
void session_finish_with(struct session *s, enum dialogue_end end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A name that a peer sent, as one word without surprises. */
const char *session_word(const char *text, char *out, size_t size);

/* ---- session_client.c: who the client is, and its TLS ---- */

/* The calls of a dialogue that are about the client. */
void session_set_client_calls(struct dialogue *d);

/* Whose session it is: the peer's, or that of whom a balancer names. False: nobody knows, and it is
 * over. */
bool session_identify_client(struct session *s);
void session_heed_address_rules(struct session *s);
bool session_shakes_hands_too_often(const struct session *s);

/* Whether TLS comes first; implicitTls = auto waits for that. */
bool session_begins_with_tls(const struct session *s);
/* Begins TLS on the client's wire: what that still holds belongs to the handshake. False: it is
 * over. */
bool session_start_tls(struct session *s);

/* In the protocol's words; who speaks no protocol is just closed. */
void session_tell_sorry(struct session *s, const char *text);
/* The same in place of a greeting, and the end. */
void session_turn_away(struct session *s, const struct refusal *r);

/* ---- session_server.c: the other side ---- */

/* The calls of a dialogue that are about the server. */
void session_set_server_calls(struct dialogue *d);

/* Connects to it, or to the next one. False: it is over, and the client has been told. */
bool session_reach_server(struct session *s);
/* client = yes: TLS, where it is from the first byte. False: as above. */
bool session_secure_at_once(struct session *s);

/* For the memory of the master (tlsmemory.h): whether it has offered TLS. */
void session_note_offer(const struct session *s);

#endif
