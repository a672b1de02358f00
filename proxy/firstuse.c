/* SPDX-License-Identifier: ISC */
#include "proxy/firstuse.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "certs/pin.h"
#include "protocols/memory.h"
#include "proxy/log.h"

/* ---- the list ---- */

void first_uses_finish(struct first_uses *list, const struct first_uses *other)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct first_use *f = &list->items[i];
        const struct first_use *same =
            other != NULL ? first_uses_find(other, f->service, f->name) : NULL;
        if (same == NULL || same->claim != f->claim)
            claim_destroy(f->claim);
    }
    free(list->items);
    *list = (struct first_uses){0};
}

/* Names of services are compared as the configuration compares them. */
struct first_use *first_uses_find(const struct first_uses *list, const char *service,
                                  const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0 &&
            strcasecmp(list->items[i].service, service) == 0)
            return &list->items[i];
    return NULL;
}

struct first_use *first_uses_add(struct first_uses *list, const char *service, const char *name)
{
    list->items = memory_resize(list->items, (list->count + 1) * sizeof *list->items);
    struct first_use *f = &list->items[list->count++];
    *f = (struct first_use){0};
    snprintf(f->service, sizeof f->service, "%s", service);
    snprintf(f->name, sizeof f->name, "%s", name);
    return f;
}

static bool is_word(const char *text, size_t max)
{
    size_t len = strlen(text);
    for (const char *c = text; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return len > 0 && len <= max;
}

/* A line that begins with '#' is a comment. */
bool first_use_can_be(const char *service, const char *name)
{
    return is_word(service, FIRST_USE_SERVICE_MAX) && is_word(name, FIRST_USE_NAME_MAX) &&
           name[0] != '#';
}

/* ---- the file ---- */

static void put_pin(const unsigned char key[CLAIM_BYTES], char out[FIRST_USE_PIN])
{
    size_t n = (size_t)snprintf(out, FIRST_USE_PIN, "spki-sha256:");
    for (size_t i = 0; i < CLAIM_BYTES; i++, n += 2)
        snprintf(out + n, FIRST_USE_PIN - n, "%02x", key[i]);
}

const char *first_uses_read(struct first_uses *list, const char *line, bool *is_other)
{
    char name[FIRST_USE_NAME_MAX + 1], service[FIRST_USE_SERVICE_MAX + 1], text[108], end;
    long long since;
    struct pin pin;
    _Static_assert(FIRST_USE_NAME_MAX == 300 && FIRST_USE_SERVICE_MAX == 100, "the widths below");
    int n = sscanf(line, "%300s pin %107s %lld %100s%c", name, text, &since, service, &end);
    *is_other = n < 2;
    if (n != 5 || end != '\n' || since < 0 || !first_use_can_be(service, name))
        return "is not NAME pin spki-sha256:DIGEST SECONDS SERVICE";
    if (pin_parse(text, &pin) != NULL || !pin.of_key)
        return "has no pin of a public key, spki-sha256:DIGEST";
    if (first_uses_find(list, service, name) != NULL)
        return "is there twice";
    if (list->count == FIRST_USE_MAX)
        return "is one pin too many (of 1000)";
    struct first_use *f = first_uses_add(list, service, name);
    f->known = f->written = true;
    f->since = since;
    memcpy(f->key, pin.sha256, sizeof f->key);
    return NULL;
}

void first_use_write(const struct first_use *f, FILE *out)
{
    char pin[FIRST_USE_PIN];
    put_pin(f->key, pin);
    fprintf(out, "%s pin %s %lld %s\n", f->name, pin, f->since, f->service);
}

/* ---- what the master does ---- */

bool first_uses_learn(struct first_uses *list, time_t now)
{
    bool any = false;
    char pin[FIRST_USE_PIN];
    for (size_t i = 0; i < list->count; i++) {
        struct first_use *f = &list->items[i];
        if (f->claim == NULL || !claim_read(f->claim, f->key))
            continue;
        claim_destroy(f->claim);
        f->claim = NULL;
        f->known = any = true;
        f->since = now;
        put_pin(f->key, pin);
        log_notice("service=%s server=%s first-use=%s: this key is the first that was seen, and no "
                   "other one is trusted from now on",
                   f->service, f->name, pin);
    }
    return any;
}

void first_uses_share(const struct first_uses *list, const char *service, bool with_children)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].claim != NULL && strcasecmp(list->items[i].service, service) == 0)
            claim_share(list->items[i].claim, with_children);
}

void first_uses_bury(const struct first_uses *list, pid_t dead)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].claim != NULL)
            claim_release(list->items[i].claim, dead);
}

void first_uses_release(const struct first_uses *list, bool (*lives)(void *ctx, pid_t pid),
                        void *ctx)
{
    for (size_t i = 0; i < list->count; i++) {
        struct claim *c = list->items[i].claim;
        pid_t writer = c != NULL ? claim_writer(c) : 0;
        if (writer != 0 && !lives(ctx, writer))
            claim_release(c, writer);
    }
}

/* ---- judging ---- */

__attribute__((format(printf, 3, 4))) static bool
refuse(struct verdict *v, enum verdict_cause cause, const char *format, ...)
{
    va_list ap;
    v->cause = cause;
    va_start(ap, format);
    vsnprintf(v->sentence, sizeof v->sentence, format, ap);
    va_end(ap);
    return false;
}

static bool accept(struct verdict *v, const char *how)
{
    snprintf(v->matched, sizeof v->matched, "%s", how);
    return true;
}

static bool refuse_other(struct verdict *v, const unsigned char first[CLAIM_BYTES], time_t since,
                         const unsigned char key[CLAIM_BYTES])
{
    char old[FIRST_USE_PIN], new[FIRST_USE_PIN], date[16];
    struct tm tm;
    if (gmtime_r(&since, &tm) == NULL || strftime(date, sizeof date, "%Y-%m-%d", &tm) == 0)
        snprintf(date, sizeof date, "?");
    put_pin(first, old);
    put_pin(key, new);
    return refuse(v, VERDICT_KEY_MISMATCH, "key is not the one seen first on %s (%s) but %s", date,
                  old, new);
}

static bool judge_by_claim(struct claim *c, const unsigned char key[CLAIM_BYTES], struct verdict *v)
{
    unsigned char held[CLAIM_BYTES];
    switch (claim_make(c, key, held)) {
    case CLAIM_FIRST:
        return accept(v, "first-use");
    case CLAIM_SAME:
        return accept(v, "known-key");
    case CLAIM_OTHER:
        return refuse_other(v, held, time(NULL), key);
    case CLAIM_UNDECIDED:
        break;
    }
    return refuse(v, VERDICT_KEY_UNKNOWN, "another session is about to see the first key");
}

bool first_use_judge(const struct first_use *f, enum first_use_asker asker,
                     const unsigned char key[CLAIM_BYTES], struct verdict *verdict)
{
    if (f != NULL && f->known)
        return memcmp(f->key, key, CLAIM_BYTES) == 0
                   ? accept(verdict, "known-key")
                   : refuse_other(verdict, f->key, (time_t)f->since, key);
    if (asker == FIRST_USE_LOOKS)
        return accept(verdict, "first-use");
    if (asker == FIRST_USE_CLAIMS && f != NULL && f->claim != NULL)
        return judge_by_claim(f->claim, key, verdict);
    return refuse(verdict, VERDICT_KEY_UNKNOWN,
                  "no key has been seen before, and this process cannot remember one");
}
