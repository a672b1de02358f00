/* SPDX-License-Identifier: ISC */
#include "proxy/tlsrule.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocols/match.h"
#include "protocols/memory.h"

static const char *const level_words[] = {
    [LEVEL_NONE] = "none",       [LEVEL_MAY] = "may",
    [LEVEL_ENCRYPT] = "encrypt", [LEVEL_FINGERPRINT] = "fingerprint",
    [LEVEL_VERIFY] = "verify",   [LEVEL_SECURE] = "secure",
    [LEVEL_DANE] = "dane",       [LEVEL_DANE_ONLY] = "dane-only",
};

const char *server_level_word(enum server_level level)
{
    return level_words[level];
}

bool server_level_verifies(enum server_level level)
{
    return level >= LEVEL_FINGERPRINT && level <= LEVEL_SECURE;
}

bool server_level_is_dane(enum server_level level)
{
    return level == LEVEL_DANE || level == LEVEL_DANE_ONLY;
}

/* ---- lists ---- */

static char *copy(const char *text, size_t len)
{
    char *out = memory_alloc(len + 1);
    memcpy(out, text, len);
    out[len] = '\0';
    return out;
}

void texts_add(struct texts *list, const char *text, size_t len)
{
    list->items = memory_resize(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = copy(text, len);
}

void texts_finish(struct texts *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct texts){0};
}

void pins_add(struct pins *list, const struct pin *pin)
{
    list->items = memory_resize(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = *pin;
}

/* ---- a rule ---- */

struct reading {
    struct tls_rule *rule;
    char *error;
    size_t error_size;
};

__attribute__((format(printf, 2, 3))) static bool complain(struct reading *r, const char *format,
                                                           ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(r->error, r->error_size, format, ap);
    va_end(ap);
    return false;
}

/* Bytes of /expression/flags: up to the blank behind the second delimiter that no backslash
 * hides. 0: there is none. */
static size_t pattern_length(const char *text)
{
    size_t i = 1;
    if (text[0] == '\0')
        return 0;
    while (text[i] != '\0' && text[i] != text[0])
        i += text[i] == '\\' && text[i + 1] != '\0' ? 2 : 1;
    return text[i] == '\0' ? 0 : i + strcspn(text + i, " \t");
}

/* As in clientRule: a network begins with a digit, a letter or a colon. */
static bool begins_network(const char *text)
{
    return isalnum((unsigned char)text[0]) || (text[0] == ':' && text[1] == ':');
}

static bool set_network(struct reading *r, const char *text)
{
    const char *wrong = network_parse(text, &r->rule->network);
    r->rule->by_network = wrong == NULL;
    return wrong == NULL ||
           complain(r, "write /pattern/ LEVEL or ADDRESS/BITS LEVEL: \"%.64s\" %s", text, wrong);
}

static bool set_subject(struct reading *r, const char *text, size_t len)
{
    char *subject = copy(text, len);
    bool network = begins_network(subject);
    if (!network)
        r->rule->pattern = pattern_create(subject, r->error, r->error_size);
    bool ok = network ? set_network(r, subject) : r->rule->pattern != NULL;
    free(subject);
    return ok;
}

static bool set_level(struct reading *r, const char *word)
{
    for (size_t i = 0; i < sizeof level_words / sizeof *level_words; i++) {
        if (strcasecmp(level_words[i], word) != 0)
            continue;
        r->rule->level = (enum server_level)i;
        return true;
    }
    return complain(r,
                    "\"%.32s\" behind the pattern is no level: write none, may, encrypt, "
                    "fingerprint, verify, secure, dane or dane-only",
                    word);
}

static bool set_once(struct reading *r, char **place, const char *key, const char *value)
{
    if (*place != NULL)
        return complain(r, "%s= is there twice", key);
    *place = memory_strdup(value);
    return true;
}

static bool set_match(struct reading *r, const char *key, const char *value)
{
    (void)key;
    for (;;) {
        size_t len = strcspn(value, ":");
        if (len == 0)
            return complain(r, "match= has an empty name in it");
        texts_add(&r->rule->names, value, len);
        if (value[len] == '\0')
            return true;
        value += len + 1;
    }
}

static bool set_minimum(struct reading *r, const char *key, const char *value)
{
    (void)key;
    if (strcasecmp(value, "TLS1.2") == 0)
        r->rule->minimum = MINIMUM_TLS12;
    else if (strcasecmp(value, "TLS1.3") == 0)
        r->rule->minimum = MINIMUM_TLS13;
    else
        return complain(r, "minimum=%.32s: write TLS1.2 or TLS1.3", value);
    return true;
}

static bool set_priority(struct reading *r, const char *key, const char *value)
{
    return set_once(r, &r->rule->priority, key, value);
}

static bool set_ca_file(struct reading *r, const char *key, const char *value)
{
    if (value[0] != '/')
        return complain(r, "CAfile=%.200s: the path must begin with /", value);
    return set_once(r, &r->rule->ca_file, key, value);
}

static bool set_pin(struct reading *r, const char *key, const char *value)
{
    struct pin pin;
    const char *wrong = pin_parse(value, &pin);
    if (wrong != NULL)
        return complain(r, "%s=%.110s is not a pin: %s", key, value, wrong);
    pins_add(&r->rule->pins, &pin);
    return true;
}

static bool set_server_name(struct reading *r, const char *key, const char *value)
{
    return set_once(r, &r->rule->server_name, key, value);
}

static bool set_yes(struct reading *r, const char *key, const char *value, bool *said, bool *yes)
{
    *said = true;
    *yes = strcasecmp(value, "yes") == 0;
    return *yes || strcasecmp(value, "no") == 0 ||
           complain(r, "%s=%.32s: write yes or no", key, value);
}

static bool set_fall_back(struct reading *r, const char *key, const char *value)
{
    return set_yes(r, key, value, &r->rule->says_fall_back, &r->rule->fall_back);
}

static bool set_first_use(struct reading *r, const char *key, const char *value)
{
    return set_yes(r, key, value, &r->rule->says_first_use, &r->rule->first_use);
}

static const struct rule_key {
    const char *name;
    bool (*set)(struct reading *r, const char *key, const char *value);
    bool to_verify; /* means nothing to a level that verifies nobody, or by DNS alone */
} keys[] = {
    {"match", set_match, true},
    {"minimum", set_minimum, false},
    {"priority", set_priority, false},
    {"CAfile", set_ca_file, true},
    {"pin", set_pin, true},
    {"servername", set_server_name, false},
    {"fallBack", set_fall_back, false},
    {"trustOnFirstUse", set_first_use, true},
};

static bool set_key(struct reading *r, char *word)
{
    char *equals = strchr(word, '=');
    if (equals == NULL || equals[1] == '\0')
        return complain(r, "\"%.64s\" behind the level is not key=value", word);
    *equals = '\0';
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct rule_key *k = &keys[i];
        if (strcasecmp(k->name, word) != 0)
            continue;
        if (k->to_verify && !server_level_verifies(r->rule->level))
            return complain(r, "%s= means nothing at level %s, which verifies %s", k->name,
                            server_level_word(r->rule->level),
                            server_level_is_dane(r->rule->level) ? "by TLSA records" : "nobody");
        if (k->set == set_server_name && server_level_is_dane(r->rule->level))
            return complain(r,
                            "%s= means nothing at level %s: the TLSA records say which name is "
                            "asked for",
                            k->name, server_level_word(r->rule->level));
        return k->set(r, k->name, equals + 1);
    }
    return complain(r,
                    "there is no key \"%.32s\": write match, minimum, priority, CAfile, pin, "
                    "servername, fallBack or trustOnFirstUse",
                    word);
}

static bool set_words(struct reading *r, char *text)
{
    char *save, *word = strtok_r(text, " \t", &save);
    if (word == NULL)
        return complain(r, "a level must follow the pattern: none, may, encrypt, fingerprint, "
                           "verify, secure, dane or dane-only");
    bool ok = set_level(r, word);
    while (ok && (word = strtok_r(NULL, " \t", &save)) != NULL)
        ok = set_key(r, word);
    return ok;
}

bool tls_rule_parse(const char *text, struct tls_rule *out, char *error, size_t error_size)
{
    struct reading r = {.rule = out, .error = error, .error_size = error_size};
    size_t len = begins_network(text) ? strcspn(text, " \t") : pattern_length(text);
    *out = (struct tls_rule){0};
    if (len == 0 || (!begins_network(text) && !ispunct((unsigned char)text[0])))
        return complain(&r, "write /pattern/ LEVEL or ADDRESS/BITS LEVEL, and key=value behind it "
                            "if needed");
    char *words = memory_strdup(text + len);
    bool ok = set_subject(&r, text, len) && set_words(&r, words);
    free(words);
    if (!ok)
        tls_rule_finish(out);
    return ok;
}

void tls_rule_finish(struct tls_rule *r)
{
    if (r->pattern != NULL)
        pattern_destroy(r->pattern);
    free(r->ca_file);
    free(r->priority);
    free(r->server_name);
    texts_finish(&r->names);
    free(r->pins.items);
    *r = (struct tls_rule){0};
}

/* A pattern that runs into its limits is for nobody; then the rules behind it decide, and in the
 * end the options of the service. */
static bool is_found(const struct tls_rule *r, const char *destination)
{
    return pattern_matches(r->pattern, destination, strlen(destination), false);
}

static bool has_network(const struct tls_rule *r, const struct address *a)
{
    const struct network_list one = {.items = (struct network *)&r->network, .count = 1};
    return network_list_has(&one, a);
}

bool tls_rule_is_for(const struct tls_rule *r, const char *destination)
{
    struct address a;
    char host[ADDRESS_HOST_MAX];
    if (r->pattern != NULL)
        return is_found(r, destination);
    return r->by_network && address_host(destination, host, sizeof host) &&
           address_read(host, 0, &a) && has_network(r, &a);
}

bool tls_rule_is_for_address(const struct tls_rule *r, const struct address *destination)
{
    char host[ADDRESS_HOST_MAX];
    if (r->pattern == NULL)
        return r->by_network && has_network(r, destination);
    address_numeric(destination, host);
    return is_found(r, host) || is_found(r, destination->text);
}
