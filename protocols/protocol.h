/* SPDX-License-Identifier: ISC
 *
 * What a protocol is: a few files and one small constant struct. A dialogue is ordinary blocking
 * code that runs from the greeting to the end (or to the point where no more words need to be
 * understood) in a process of its own.
 */
#ifndef PROTOCOLS_PROTOCOL_H
#define PROTOCOLS_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "protocols/enddata.h"
#include "protocols/match.h"
#include "protocols/reply.h"
#include "protocols/sasl.h"
#include "protocols/trace.h"
#include "protocols/wire.h"
#include "protocols/xclient.h"

/* How a dialogue ended. */
enum dialogue_end {
    DIALOGUE_GO_ON = 0, /* it has not: only inside a protocol's own files */
    DIALOGUE_PUMP,      /* no more words need understanding: flush what is buffered, then pump */
    DIALOGUE_DONE,      /* ended politely */
    DIALOGUE_REFUSED,   /* policy or violation; the peer has been told */
    DIALOGUE_LOST,      /* deadline, end of file or I/O error at `step` */
};

/* Whether TLS is wanted, and whether it is needed: Postfix's words. To `serve` it is the client's,
 * to `request` the server's. */
enum tls_level {
    TLS_LEVEL_NONE,    /* not offered, not asked for; nothing is refused for the lack of it */
    TLS_LEVEL_MAY,     /* offered; asked for if offered; who does not want it goes on in clear */
    TLS_LEVEL_ENCRYPT, /* offered and needed before anything else (RFC 3207 §4: 530); asked for
                        * whatever is offered, and there is no session without */
};

/* What became of a handshake that we began. */
enum tls_outcome {
    OUTCOME_SECURED,   /* TLS is up, and the peer is whom the policy wants */
    OUTCOME_UNTRUSTED, /* TLS is up, but the peer is not: it may be told goodbye, no more */
    OUTCOME_BROKEN,    /* there is no TLS, and the wire is of no use any more */
};

/* What a client is told in place of being served. */
struct refusal {
    int code;             /* 0: it is served */
    const char *enhanced; /* RFC 3463 */
    const char *text;     /* one sentence without line end */
    const char *reason;   /* for the log */
};

/* What the administrator decided, as values; the configuration stays above. */
struct policy {
    enum tls_level tls_level;
    bool hide_starttls;   /* serve, MAY: STARTTLS is not offered, and AUTH still needs it */
    bool fall_back;       /* request, MAY: in clear where TLS was offered but fails */
    bool auth_before_tls; /* let AUTH be seen and used in clear */
    enum bare_newline bare_newline; /* what happens to bare CR and LF from the client */
    bool reconnect;                 /* serve: the backend after TLS is another connection */
    bool trace;                     /* serve: a Received header in front of each message */
    bool xclient;                   /* serve: the backend is told who the client is by XCLIENT */
    struct pattern_list hide;       /* capabilities that the client is not shown */
    struct capability_edits edits;  /* rules about capabilities */
    struct refusal refusal;         /* the answer to the next command but QUIT */
    const char *hostname;           /* who speaks in replies that the backend did not write, and
                                     * in our EHLO to a server */
    size_t max_command;             /* bytes of a command line with CRLF; <= WIRE_BUFFER */
    size_t max_reply;               /* bytes of a whole reply of the backend */
    unsigned max_useless;           /* commands that bring no mail nearer, in a row */
    unsigned idle_seconds;          /* the client is silent */
    unsigned busy_seconds;          /* the backend is silent */
};

/* What is worth a number in the log line. */
struct tally {
    unsigned senders;    /* accepted MAIL */
    unsigned recipients; /* accepted RCPT */
    unsigned messages;   /* accepted at the end of data */
};

struct dialogue {
    struct wire *client, *backend;
    const struct policy *policy; /* another one after `hello` and `start_tls`, perhaps */
    const char *step;       /* what we are doing, for the log: "reading the backend's greeting" */
    char reason[256];       /* why it ended as it did; empty when there is nothing to say */
    bool tls_active;        /* on the client's wire */
    bool server_tls_active; /* on the backend's wire; true at once: TLS from the first byte */
    bool server_verified; /* request: it is known whose TLS that is. Set by `secure`, or at once */
    bool offered_tls;     /* request: the server has named its upgrade, in clear */
    bool heard_offer;     /* request: it has had the opportunity to */
    bool said_quit;       /* request: to the server, which has answered, but does not do */
    bool logging_in;      /* request: it has come to the login, well or badly */
    bool others_left;     /* request: `next_backend` may be called, and lead to another server */
    /* TLS, or a decision to do without, is due by then. request: of each server another */
    int64_t pretls_deadline;
    /* request: as whom we log in, so that the client need not. NULL: it does so itself. */
    const struct sasl_login *login;
    const char *logged_in; /* by which mechanism we have; NULL: not (yet) */
    struct tally tally;
    /* serve, for the trace header: who the client is, kept up to date by the session, and time(2)
     */
    struct trace_client client_facts;
    time_t (*clock)(time_t *);
    /* serve, for XCLIENT: the same client, and where it came to; `login` is set by start_tls */
    struct xclient_facts xclient;
    /* serve: TLS is up, but the client did not show the certificate that is demanded: why, as a
     * sentence without a peer's words in it. Set by start_tls; NULL: all is well. */
    const char *unwelcome;
    /* Set by both: nothing is wrong with the client, but with how the backend is set up: what to
     * write there. NULL: nothing. */
    const char *remedy;

    /* Given by the session to `serve`. tls_ready: can we promise a handshake now? start_tls: does
     * it, swaps the transport under `client`, sets tls_active; false: `reason` is set, the client
     * is gone. */
    bool (*tls_ready)(struct dialogue *d);
    bool (*start_tls)(struct dialogue *d);
    /* Given to both, or NULL: how the client calls itself, `len` bytes as they came. Called before
     * the backend hears it; `policy` may be another one after it. */
    void (*hello)(struct dialogue *d, const char *name, size_t len);
    /* Given by the session to `request`: begins TLS on the backend's wire and judges the peer. What
     * that wire still holds behind the go-ahead is fed to the handshake, which it breaks. SECURED,
     * UNTRUSTED: the transport under `backend` is swapped, server_tls_active set; server_verified,
     * if the policy verifies and the server is whom it wants. UNTRUSTED,
     * BROKEN: `reason` is a sentence that begins with one of the result types of RFC 8460 §4.3
     * ("certificate-expired: ..."); BROKEN at the latest by pretls_deadline. */
    enum tls_outcome (*secure)(struct dialogue *d);
    /* Given to both: closes the backend's connection and makes another, in clear, with nothing
     * buffered in either direction, whose greeting has not been read; clears server_tls_active.
     * False (also when this process is to end): `reason` is set, and nothing is sent to `backend`
     * any more. */
    bool (*renew_backend)(struct dialogue *d);
    /* Given to `request`: the same, but to another server, which has its own pretls_deadline and
     * level, and of which nothing is known yet; where TLS is from the first byte it is up. Only as
     * long as the client has heard nothing. False (also when the client is gone): there is no
     * other, and `reason` is that of the last one that was reached. */
    bool (*next_backend)(struct dialogue *d);
    /* Given to `request` where `login` has no secret until it is asked for: has it there, for one
     * attempt to log in. False: `reason` is set, and `remedy`, perhaps. */
    bool (*take_secret)(struct dialogue *d);
    /* Wipes it, after the attempt. */
    void (*drop_secret)(struct dialogue *d);
    void *session;
};

struct protocol {
    const char *name; /* as in `protocol = name` */
    const char *rfc;
    uint16_t port;     /* where it starts in clear */
    uint16_t tls_port; /* where it starts with TLS; 0: nowhere in particular */
    bool server_first; /* the server speaks first: implicitTls = auto must wait */
    const char *alpn;  /* names a client may send (RFC 7301), separated by blanks */

    /* We face the client, who may have TLS of us; the plaintext backend is behind us. */
    enum dialogue_end (*serve)(struct dialogue *d);
    /* We face the server as its client, and ask it for TLS; `client` speaks in clear. */
    enum dialogue_end (*request)(struct dialogue *d);
    /* Says that there will be no service (a temporary failure), in the protocol's words; `text`
     * is one sentence without line end. Does not flush. */
    void (*sorry)(struct wire *client, const char *hostname, const char *text, int64_t deadline);
    /* Says it in place of a greeting. Does not flush. NULL: `sorry` is all there is. */
    void (*refuse)(struct wire *client, const char *hostname, const struct refusal *refusal,
                   int64_t deadline);
    /* Says to `server` all that a client says who only wants to look (hello and goodbye), in one
     * piece: it is what `request` finds on the wire of such a client. Does not flush. NULL: such a
     * client says nothing and goes. */
    void (*visit)(struct wire *server, const char *hostname, int64_t deadline);
    /* How many bytes of a line that a client says may be shown to onlookers: nothing that is, or
     * may be, a secret. NULL: none. */
    size_t (*may_show)(const char *line, size_t len);
    /* NULL, or what is wrong with a line that the administrator adds to a list of capabilities. */
    const char *(*may_add)(const char *text);
};

/* The protocol of that name (case-insensitive), or NULL. */
const struct protocol *protocol_find(const char *name);
/* The n-th protocol in the order of their names, or NULL behind the last. */
const struct protocol *protocol_at(size_t n);

extern const struct protocol protocol_smtp;
extern const struct protocol protocol_lmtp;
extern const struct protocol protocol_managesieve;
extern const struct protocol protocol_pop3;

#endif
