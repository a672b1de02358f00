/* SPDX-License-Identifier: ISC
 *
 * Rules of the administrator about clients, one a line, the first that matches wins:
 *
 *   # remark
 *   /pattern/flags    ACTION [ARGUMENTS]    looked for in the key of a moment
 *   192.0.2.0/24      ACTION [ARGUMENTS]    the client's address is one of these
 *
 * A session has four moments, each with a key: when the client connects, `addr:192.0.2.1`
 * (`addr:unix` for a Unix socket); when TLS begins, `sni:mx.example.org` (`sni:` alone: no name was
 * asked for); then, if its certificate is good, the several keys of that (certkeys.h); when it says
 * EHLO, HELO or LHLO, `helo:name`. Rules are read, and their patterns compiled, before the fork;
 * here is no state of a session.
 */
#ifndef PROXY_RULES_H
#define PROXY_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "protocols/protocol.h"
#include "proxy/address.h"
#include "proxy/certkeys.h"

enum rule_moment { MOMENT_ADDRESS, MOMENT_SNI, MOMENT_CERTIFICATE, MOMENT_HELO };
enum { RULE_MOMENTS = 4 };

enum rule_action {
    RULE_PASS,          /* nothing, and no further rule of this moment is asked */
    RULE_REFUSE,        /* [CODE] [TEXT] */
    RULE_REQUIRE_TLS,   /* tlsLevel = encrypt */
    RULE_NO_STARTTLS,   /* tlsLevel = may, and not offered; has no effect where TLS is required */
    RULE_AUTH_IN_CLEAR, /* authBeforeTls = yes */
    RULE_HIDE,          /* KEYWORD... */
    RULE_ADD,           /* KEYWORD [PARAMETERS] */
    RULE_LOG,           /* LEVEL, if it is more than that of debug */
};

struct rule {
    char *text, *where, *reason; /* as it was written, its "file:line", and that in a sentence */
    struct pattern *pattern;     /* NULL: the network */
    struct network network;
    enum rule_action action;
    char *words;                 /* what the members below borrow from */
    struct refusal refusal;      /* of RULE_REFUSE */
    struct capability_edit edit; /* of RULE_HIDE, RULE_ADD */
    int log_level;               /* of RULE_LOG */
};

struct rules {
    struct rule *items;
    size_t count;
};

/* Whom to tell about a line that is no rule. */
struct rules_complaint {
    void (*tell)(void *ctx, const char *where, const char *sentence);
    void *ctx;
};

/* Adds the rule that stands in a line (without its end; NULs must not be in it). Blank lines and
 * remarks add none. False: `error` says what is wrong, and nothing was added. */
bool rules_add(struct rules *r, const char *line, const char *where, char *error,
               size_t error_size);

/* Adds all rules of a text or a file; `name` and the line's number are where they are. False when
 * anything was wrong: all of it has been told, what was good has been added. */
bool rules_add_text(struct rules *r, const char *text, size_t len, const char *name,
                    const struct rules_complaint *complaint);
bool rules_add_file(struct rules *r, const char *path, const char *where,
                    const struct rules_complaint *complaint);

void rules_finish(struct rules *r);

/* The first rule that matches, or NULL. `text` is what stands in the key behind its colon, and of a
 * certificate the whole key. A pattern that runs into its limit matches if its rule refuses,
 * requires or hides something, and does not if its rule grants something, adds something, or ends
 * the search. */
const struct rule *rules_find(const struct rules *r, enum rule_moment moment, const char *text,
                              size_t len);

/* The first rule that matches any of the keys, whatever their order. Those that are not whole count
 * only for rules that refuse, require or hide something. */
const struct rule *rules_find_certificate(const struct rules *r, const struct cert_keys *keys);

/* Whether the pattern begins, behind a '^', as keys of certificates do, and so can match nothing
 * else. */
bool rule_is_about_certificates(const struct rule *rule);

/* The moment of a key, and where its text begins as rules_find takes it; false: it is no key. */
bool rules_parse_key(const char *key, enum rule_moment *moment, const char **text);

/* The action's name as it is written. */
const char *rule_action_name(enum rule_action action);

/* Writes in a line what follows from the rule at that moment. */
void rule_explain(const struct rule *rule, enum rule_moment moment, FILE *out);

/* Changes the policy as the rule says. It borrows from the rule. */
void rule_apply(const struct rule *rule, struct policy *policy);

#endif
