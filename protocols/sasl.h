/* SPDX-License-Identifier: ISC
 *
 * Saying to a server who we are, in the words of SASL (RFC 4422): challenge in, response out, no
 * reading and no writing. Which protocol carries them is not known here.
 *
 * The mechanisms are GNU SASL's, but for OAUTHBEARER (RFC 7628) and XOAUTH2, which it does not have
 * and which are one message.
 */
#ifndef PROTOCOLS_SASL_H
#define PROTOCOLS_SASL_H

#include <stdbool.h>
#include <stddef.h>

enum {
    SASL_LINE_MAX = 12288, /* bytes of a line with its CRLF (RFC 4954 §4) */
    SASL_USERNAME_MAX = 255,
    SASL_PASSWORD_MAX = 1024,
    SASL_TOKEN_MAX = 8192, /* what fits into a line, in base64 and with a name */
};

/* Who we are. Values; everything is borrowed. */
struct sasl_login {
    const char *username;   /* at most SASL_USERNAME_MAX bytes, without control characters */
    const char *secret;     /* a password, or an access token (RFC 6750); there at sasl_begin */
    bool is_token;          /* the latter */
    const char *mechanisms; /* names separated by blanks, the most wanted first */
    struct sasl_library *library;
};

/* False for a build without GNU SASL: then nothing below may be called. */
bool sasl_is_built(void);

/* Loads the library. To be made before the fork: afterwards no file is opened. NULL: `error` says
 * why it cannot be had. The destructor accepts NULL. */
struct sasl_library *sasl_library_create(char *error, size_t error_size);
void sasl_library_destroy(struct sasl_library *l);

/* The mechanism of that name (in any case): its name as the RFCs write it, and whether it is for
 * tokens. NULL: it is not known here. */
const char *sasl_find(const char *name, size_t len, bool *for_tokens);
/* Those there are for passwords, or for tokens; the strongest first. */
const char *sasl_mechanisms(bool for_tokens);

/* The most wanted of those that are offered (names separated by blanks), or NULL. */
const char *sasl_choose(const struct sasl_login *login, const char *offered, size_t len);

/* One attempt. `login` and `mechanism` (as sasl_choose gives it) are borrowed for its life. Dies
 * when memory is out. */
struct sasl *sasl_begin(const struct sasl_login *login, const char *mechanism);
/* Wipes what it has said. Accepts NULL. */
void sasl_end(struct sasl *s);

/* Whether a response comes before any challenge. */
bool sasl_client_begins(const struct sasl *s);

/* That response, in base64. It may be given as initial response, or to an empty challenge. Borrowed
 * until sasl_end; at most SASL_LINE_MAX - 2 bytes. To be asked once and first. NULL: there is none,
 * and `*why` says what is wrong, without anybody's words. */
const char *sasl_first(struct sasl *s, const char **why);

/* The response to a challenge, both in base64; may be empty. Else as above. */
const char *sasl_respond(struct sasl *s, const char *challenge, size_t len, const char **why);

/* Whether all has been said that the mechanism has to say, and the server has proved what it must
 * prove: only then its success may be believed. */
bool sasl_is_complete(const struct sasl *s);

/* Whether the text, which a server has said, holds the secret, or a part of what we have said: it
 * is not for a log then. */
bool sasl_is_repeated(const struct sasl *s, const char *text, size_t len);

#endif
