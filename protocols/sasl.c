/* SPDX-License-Identifier: ISC */
#include "protocols/sasl.h"

#include <assert.h>
#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocols/library.h"
#include "protocols/memory.h"

enum {
    SAID_MAX = SASL_LINE_MAX + 2048, /* bytes of all responses together, each with a NUL */
    ITERATIONS_MAX = 1000000,        /* of SCRAM: half a second or so. No deadline can end a hash */
    TELLTALE = 6,                    /* bytes in a row that cannot be there by accident */
};

enum who_begins { CLIENT_BEGINS, SERVER_BEGINS };

static const struct mechanism {
    const char *name;
    enum who_begins begins;
    bool for_tokens;
    const char *excuse; /* for_tokens: the response to a server that tells why it refuses */
} mechanisms[] = {
    {"SCRAM-SHA-256", CLIENT_BEGINS, false, NULL}, {"SCRAM-SHA-1", CLIENT_BEGINS, false, NULL},
    {"CRAM-MD5", SERVER_BEGINS, false, NULL},      {"PLAIN", CLIENT_BEGINS, false, NULL},
    {"LOGIN", SERVER_BEGINS, false, NULL},         {"OAUTHBEARER", CLIENT_BEGINS, true, "\x01"},
    {"XOAUTH2", CLIENT_BEGINS, true, ""},
};

/* Of libgsasl.so.18, which is what versions from 2.0 on are. */
static struct {
    int (*gsasl_init)(Gsasl **ctx);
    void (*gsasl_done)(Gsasl *ctx);
    int (*gsasl_client_start)(Gsasl *ctx, const char *mech, Gsasl_session **sctx);
    int (*gsasl_step)(Gsasl_session *sctx, const char *input, size_t input_len, char **output,
                      size_t *output_len);
    void (*gsasl_finish)(Gsasl_session *sctx);
    int (*gsasl_property_set)(Gsasl_session *sctx, Gsasl_property prop, const char *data);
    const char *(*gsasl_property_fast)(Gsasl_session *sctx, Gsasl_property prop);
    int (*gsasl_base64_to)(const char *in, size_t inlen, char **out, size_t *outlen);
    int (*gsasl_base64_from)(const char *in, size_t inlen, char **out, size_t *outlen);
    void (*gsasl_free)(void *ptr);
    const char *(*gsasl_strerror)(int err);
} lib;
static const struct library_symbol symbols[] = {
    LIBRARY_SYMBOL(lib, gsasl_init),          LIBRARY_SYMBOL(lib, gsasl_done),
    LIBRARY_SYMBOL(lib, gsasl_client_start),  LIBRARY_SYMBOL(lib, gsasl_step),
    LIBRARY_SYMBOL(lib, gsasl_finish),        LIBRARY_SYMBOL(lib, gsasl_property_set),
    LIBRARY_SYMBOL(lib, gsasl_property_fast), LIBRARY_SYMBOL(lib, gsasl_base64_to),
    LIBRARY_SYMBOL(lib, gsasl_base64_from),   LIBRARY_SYMBOL(lib, gsasl_free),
    LIBRARY_SYMBOL(lib, gsasl_strerror),
};

struct sasl_library {
    Gsasl *gsasl;
};

struct sasl {
    const struct sasl_login *login;
    const struct mechanism *mechanism;
    Gsasl_session *session; /* NULL: a mechanism for tokens */
    bool complete;
    unsigned challenges;
    char said[SAID_MAX]; /* base64, one behind the other */
    size_t said_len;
};

bool sasl_is_built(void)
{
    return true;
}

struct sasl_library *sasl_library_create(char *error, size_t error_size)
{
    if (!library_load("libgsasl.so.18", symbols, sizeof symbols / sizeof *symbols, error,
                      error_size))
        return NULL;
    struct sasl_library *l = memory_alloc(sizeof *l);
    int result = lib.gsasl_init(&l->gsasl);
    if (result == GSASL_OK)
        return l;
    snprintf(error, error_size, "%s", lib.gsasl_strerror(result));
    free(l);
    return NULL;
}

void sasl_library_destroy(struct sasl_library *l)
{
    if (l == NULL)
        return;
    lib.gsasl_done(l->gsasl);
    free(l);
}

/* ---- mechanisms ---- */

static const struct mechanism *find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++)
        if (strlen(mechanisms[i].name) == len && strncasecmp(mechanisms[i].name, name, len) == 0)
            return &mechanisms[i];
    return NULL;
}

const char *sasl_find(const char *name, size_t len, bool *for_tokens)
{
    const struct mechanism *m = find(name, len);
    if (m == NULL)
        return NULL;
    *for_tokens = m->for_tokens;
    return m->name;
}

const char *sasl_mechanisms(bool for_tokens)
{
    return for_tokens ? "OAUTHBEARER XOAUTH2" : "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN";
}

/* The next word of *text; false behind the last. */
static bool next_word(const char **text, size_t *left, const char **word, size_t *len)
{
    while (*left > 0 && (**text == ' ' || **text == '\t')) {
        ++*text;
        --*left;
    }
    *word = *text;
    for (*len = 0; *left > 0 && **text != ' ' && **text != '\t'; ++*len) {
        ++*text;
        --*left;
    }
    return *len > 0;
}

static bool is_offered(const struct mechanism *m, const char *offered, size_t len)
{
    const char *word;
    size_t n;
    while (next_word(&offered, &len, &word, &n))
        if (find(word, n) == m)
            return true;
    return false;
}

const char *sasl_choose(const struct sasl_login *login, const char *offered, size_t len)
{
    const char *word, *wanted = login->mechanisms;
    size_t n, left = strlen(wanted);
    while (next_word(&wanted, &left, &word, &n)) {
        const struct mechanism *m = find(word, n);
        if (m != NULL && m->for_tokens == login->is_token && is_offered(m, offered, len))
            return m->name;
    }
    return NULL;
}

/* ---- one attempt ---- */

struct sasl *sasl_begin(const struct sasl_login *login, const char *mechanism)
{
    struct sasl *s = memory_alloc(sizeof *s);
    s->login = login;
    s->mechanism = find(mechanism, strlen(mechanism));
    s->session = NULL;
    s->complete = false;
    s->challenges = 0;
    s->said_len = 0;
    assert(s->mechanism != NULL && s->mechanism->for_tokens == login->is_token);
    if (login->is_token)
        return s;
    /* without memory it cannot start; the first step tells */
    if (lib.gsasl_client_start(login->library->gsasl, s->mechanism->name, &s->session) ==
        GSASL_OK) {
        (void)lib.gsasl_property_set(s->session, GSASL_AUTHID, login->username);
        (void)lib.gsasl_property_set(s->session, GSASL_PASSWORD, login->secret);
    }
    return s;
}

/* The library frees its copies as they are. */
static void wipe_property(Gsasl_session *session, Gsasl_property property)
{
    char *copy = (char *)lib.gsasl_property_fast(session, property);
    if (copy != NULL)
        explicit_bzero(copy, strlen(copy));
}

void sasl_end(struct sasl *s)
{
    if (s == NULL)
        return;
    if (s->session != NULL) {
        wipe_property(s->session, GSASL_PASSWORD);
        lib.gsasl_finish(s->session);
    }
    explicit_bzero(s, sizeof *s);
    free(s);
}

/* Puts it behind what has been said before, in base64. NULL: it is too long. */
static const char *say(struct sasl *s, const char *data, size_t len)
{
    char *base64 = NULL, *out = s->said + s->said_len;
    size_t n = 0;
    if (lib.gsasl_base64_to(data, len, &base64, &n) != GSASL_OK)
        return NULL;
    bool fits = n <= SASL_LINE_MAX - 2 && n < sizeof s->said - s->said_len;
    if (fits) {
        memcpy(out, base64, n);
        out[n] = '\0';
        s->said_len += n + 1;
    }
    explicit_bzero(base64, n);
    lib.gsasl_free(base64);
    return fits ? out : NULL;
}

static const char *step(struct sasl *s, const char *challenge, size_t len, const char **why)
{
    char *data = NULL;
    size_t n = 0;
    int result = s->session != NULL ? lib.gsasl_step(s->session, challenge, len, &data, &n)
                                    : GSASL_MALLOC_ERROR;
    if (result == GSASL_SASLPREP_ERROR)
        *why = "the name or the password has characters that the mechanism does not take";
    const char *out = result == GSASL_OK || result == GSASL_NEEDS_MORE ? say(s, data, n) : NULL;
    if (data != NULL)
        explicit_bzero(data, n);
    lib.gsasl_free(data);
    s->complete = result == GSASL_OK && out != NULL;
    return out;
}

/* ---- tokens ---- */

/* RFC 5801 §4: what would end a name is written otherwise. */
static size_t write_saslname(const char *name, char *out)
{
    size_t n = 0;
    for (; *name != '\0'; name++) {
        const char *escaped = *name == ',' ? "=2C" : *name == '=' ? "=3D" : NULL;
        if (escaped != NULL) {
            memcpy(out + n, escaped, 3);
            n += 3;
        } else {
            out[n++] = *name;
        }
    }
    out[n] = '\0';
    return n;
}

/* RFC 7628 §3.1, without host and port, which are optional and mean nothing to a server of mail. */
static const char *present_token(struct sasl *s)
{
    char name[3 * SASL_USERNAME_MAX + 1], message[sizeof name + SASL_TOKEN_MAX + 64];
    const struct sasl_login *l = s->login;
    int n;
    if (strcmp(s->mechanism->name, "XOAUTH2") == 0) {
        n = snprintf(message, sizeof message,
                     "user=%s\x01"
                     "auth=Bearer %s\x01\x01",
                     l->username, l->secret);
    } else {
        write_saslname(l->username, name);
        n = snprintf(message, sizeof message,
                     "n,a=%s,\x01"
                     "auth=Bearer %s\x01\x01",
                     name, l->secret);
    }
    const char *out = n > 0 && (size_t)n < sizeof message ? say(s, message, (size_t)n) : NULL;
    explicit_bzero(message, sizeof message);
    s->complete = out != NULL;
    return out;
}

/* There is one challenge: a JSON text that says why the token is refused. It wants an answer before
 * the refusal itself comes (RFC 7628 §3.2.3), and no success may follow. */
static const char *excuse(struct sasl *s, const char **why)
{
    bool was_complete = s->complete;
    s->complete = false;
    *why = "server goes on asking after the token was presented";
    return was_complete ? say(s, s->mechanism->excuse, strlen(s->mechanism->excuse)) : NULL;
}

/* ---- challenges ---- */

static bool is_scram(const struct sasl *s)
{
    return strncmp(s->mechanism->name, "SCRAM-", 6) == 0;
}

/* RFC 5802 §5.1: "r=nonce,s=salt,i=count". */
static bool asks_for_endless_hashing(const char *challenge, size_t len)
{
    const char *count = memmem(challenge, len, ",i=", 3);
    const char *end = challenge + len;
    unsigned long n = 0;
    for (count = count != NULL ? count + 3 : end; count < end && *count >= '0' && *count <= '9';
         count++) {
        n = 10 * n + (unsigned long)(*count - '0');
        if (n > ITERATIONS_MAX)
            return true;
    }
    return false;
}

static const char *answer(struct sasl *s, const char *challenge, size_t len, const char **why)
{
    if (s->login->is_token)
        return excuse(s, why);
    *why = "server goes on asking after everything was said";
    if (s->complete)
        return NULL;
    *why = "server wants a password to be hashed more often than is sensible";
    if (is_scram(s) && len > 1 && memcmp(challenge, "e=", 2) == 0)
        return say(s, "", 0); /* RFC 5802 §5.1: why it refuses; the refusal itself comes now */
    if (is_scram(s) && s->challenges == 1 && asks_for_endless_hashing(challenge, len))
        return NULL;
    *why = is_scram(s) && s->challenges > 1
               ? "server could not prove that it knows the password"
               : "server sent a challenge that the mechanism does not have";
    return step(s, challenge, len, why);
}

bool sasl_client_begins(const struct sasl *s)
{
    return s->mechanism->begins == CLIENT_BEGINS;
}

const char *sasl_first(struct sasl *s, const char **why)
{
    *why = "what is to be said does not fit into a line, or not into the mechanism";
    return s->login->is_token ? present_token(s) : step(s, NULL, 0, why);
}

const char *sasl_respond(struct sasl *s, const char *challenge, size_t len, const char **why)
{
    char *data = NULL;
    size_t n = 0;
    *why = "server sent a challenge that is not base64";
    if (lib.gsasl_base64_from(challenge, len, &data, &n) != GSASL_OK)
        return NULL;
    s->challenges++;
    const char *out = answer(s, data, n, why);
    lib.gsasl_free(data);
    return out;
}

bool sasl_is_complete(const struct sasl *s)
{
    return s->complete;
}

/* ---- what is not for a log ---- */

/* Whether some bytes in a row are in both; the whole of `ours` if that is short. */
static bool shares(const char *text, size_t len, const char *ours, size_t ours_len)
{
    size_t n = ours_len < TELLTALE ? ours_len : TELLTALE;
    for (size_t i = 0; n > 0 && i + n <= ours_len; i++)
        if (memmem(text, len, ours + i, n) != NULL)
            return true;
    return false;
}

bool sasl_is_repeated(const struct sasl *s, const char *text, size_t len)
{
    if (shares(text, len, s->login->secret, strlen(s->login->secret)))
        return true;
    for (size_t i = 0; i < s->said_len; i += strlen(s->said + i) + 1)
        if (shares(text, len, s->said + i, strlen(s->said + i)))
            return true;
    return false;
}
