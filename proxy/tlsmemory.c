/* SPDX-License-Identifier: ISC */
#include "proxy/tlsmemory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/demand.h"
#include "proxy/log.h"

struct remembered {
    char name[TLS_MEMORY_NAME_MAX + 1]; /* as in `connect` */
    bool offers;
    long long since; /* seconds since 1970: of the last change */
};

static struct remembered *find(const struct tls_memory *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->items[i].name, name) == 0)
            return &m->items[i];
    return NULL;
}

static bool is_name(const char *name)
{
    size_t len = strlen(name);
    for (const char *c = name; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return len > 0 && len <= TLS_MEMORY_NAME_MAX;
}

static void add(struct tls_memory *m, const char *name, bool offers, long long since)
{
    if (m->count == TLS_MEMORY_MAX || !is_name(name) || find(m, name) != NULL)
        return;
    m->items = memory_resize(m->items, (m->count + 1) * sizeof *m->items);
    struct remembered *r = &m->items[m->count++];
    *r = (struct remembered){.offers = offers, .since = since};
    snprintf(r->name, sizeof r->name, "%s", name);
}

/* ---- the file ---- */

/* NAME yes|no SECONDS. */
static bool read_offer(struct tls_memory *m, const char *line)
{
    char name[TLS_MEMORY_NAME_MAX + 1], word[4], end;
    long long since;
    _Static_assert(TLS_MEMORY_NAME_MAX == 300, "the width below");
    if (sscanf(line, "%300s %3s %lld%c", name, word, &since, &end) != 4 || end != '\n')
        return false;
    bool yes = strcmp(word, "yes") == 0;
    if (!yes && strcmp(word, "no") != 0)
        return false;
    add(m, name, yes, since);
    return true;
}

/* NULL, or what is wrong with it. Editors leave CRLF, empty lines, and no end at the last one. */
static const char *read_line(struct tls_memory *m, const char *text, size_t len)
{
    char line[FIRST_USE_LINE];
    bool is_other;
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    if (len == 0 || text[0] == '#')
        return NULL;
    if (len + 2 > sizeof line || memchr(text, '\0', len) != NULL)
        return "is too long, or not a text";
    snprintf(line, sizeof line, "%.*s\n", (int)len, text);
    const char *wrong = first_uses_read(&m->firsts, line, &is_other);
    if (!is_other)
        return wrong;
    return read_offer(m, line) ? NULL : "is not NAME yes|no SECONDS";
}

static bool read_all(struct tls_memory *m, FILE *f, char *error, size_t size)
{
    char *line = NULL;
    const char *wrong = NULL;
    size_t room = 0;
    ssize_t len;
    for (unsigned n = 1; wrong == NULL && (len = getline(&line, &room, f)) >= 0; n++)
        if ((wrong = read_line(m, line, (size_t)len)) != NULL)
            snprintf(error, size, "tlsMemory: %s:%u %s: mend the line or take it out", m->path, n,
                     wrong);
    free(line);
    return wrong == NULL;
}

static bool load(struct tls_memory *m, char *error, size_t size)
{
    int fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 && errno == ENOENT)
        return true;
    FILE *f = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;
    if (f == NULL) {
        snprintf(error, size, "tlsMemory: cannot read %s: %s", m->path,
                 fd < 0 ? strerror(errno) : "not a file");
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = read_all(m, f, error, size);
    if (ok && ferror(f)) {
        snprintf(error, size, "tlsMemory: cannot read all of %s: %s", m->path, strerror(errno));
        ok = false;
    }
    fclose(f);
    return ok;
}

/* ---- another memory in the place of the old one ---- */

static void keep_offers(struct tls_memory *m, const struct tls_memory *old)
{
    if (!old->dirty || m->path == NULL || old->path == NULL || strcmp(m->path, old->path) != 0)
        return;
    m->items = memory_resize(m->items, (old->count + 1) * sizeof *m->items);
    if (old->count > 0)
        memcpy(m->items, old->items, old->count * sizeof *m->items);
    m->count = old->count;
    m->dirty = true;
}

/* What is not in the file because it could not be written has not been taken out by anybody. */
static void keep_unwritten(struct tls_memory *m, const struct first_uses *old)
{
    for (size_t i = 0; i < old->count; i++) {
        const struct first_use *f = &old->items[i];
        if (!f->known || f->written || first_uses_find(&m->firsts, f->service, f->name) != NULL)
            continue;
        *first_uses_add(&m->firsts, f->service, f->name) = *f;
        m->dirty = true;
    }
}

/* Sessions that began with the old memory, and those that begin with this one, are to have one
 * first key between them. */
static bool expect(struct tls_memory *m, const char *service, const char *name,
                   const struct tls_memory *old, char *error, size_t size)
{
    if (first_uses_find(&m->firsts, service, name) != NULL)
        return true;
    if (m->firsts.count == FIRST_USE_MAX) {
        snprintf(error, size, "tlsMemory: %s has no place for one more of %d pins: take some out",
                 m->path, FIRST_USE_MAX);
        return false;
    }
    struct first_use *same = old != NULL ? first_uses_find(&old->firsts, service, name) : NULL;
    struct first_use *f = first_uses_add(&m->firsts, service, name);
    f->claim = same != NULL && same->claim != NULL ? same->claim : claim_create();
    if (f->claim == NULL)
        snprintf(error, size, "[%s]: shared memory: %s", service, strerror(errno));
    return f->claim != NULL;
}

/* A key that could not be remembered would be the first one again and again. */
static bool check_writable(const struct tls_memory *m, char *error, size_t size)
{
    char directory[4096];
    const char *slash = strrchr(m->path, '/');
    int len = slash == NULL || slash == m->path ? 1 : (int)(slash - m->path);
    snprintf(directory, sizeof directory, "%.*s", len, slash == NULL ? "." : m->path);
    if (access(directory, W_OK | X_OK) == 0)
        return true;
    snprintf(error, size,
             "tlsMemory: %s cannot be written, and trustOnFirstUse has to remember the keys it has "
             "seen: %s: %s",
             m->path, directory, strerror(errno));
    return false;
}

static bool expect_all(struct tls_memory *m, const struct config *c, const struct tls_memory *old,
                       char *error, size_t size)
{
    bool any = false;
    for (size_t i = 0; i < c->n_services; i++) {
        const struct service *s = &c->services[i];
        for (size_t n = 0; n < s->n_demands; n++) {
            if (!s->demands[n].first_use)
                continue;
            if (!expect(m, s->name, s->connect.items[n].text, old, error, size))
                return false;
            any = true;
        }
    }
    return !any || check_writable(m, error, size);
}

/* A process that serves one session notes no offers. */
static bool is_needed(const struct config *c, enum first_use_asker asker)
{
    for (size_t i = 0; c->only != NULL && i < c->only->n_demands; i++)
        if (c->only->demands[i].first_use)
            return true;
    return asker == FIRST_USE_CLAIMS;
}

bool tls_memory_read(struct tls_memory *m, const struct config *c, enum first_use_asker asker,
                     const struct tls_memory *old, char *error, size_t error_size)
{
    *m = (struct tls_memory){.path = c->tls_memory != NULL ? memory_strdup(c->tls_memory) : NULL,
                             .asker = asker};
    bool ok = m->path == NULL || !is_needed(c, asker) || load(m, error, error_size);
    if (ok && old != NULL) {
        keep_offers(m, old);
        keep_unwritten(m, &old->firsts);
    }
    if (ok && (asker != FIRST_USE_CLAIMS || expect_all(m, c, old, error, error_size)))
        return true;
    tls_memory_finish(m, old);
    return false;
}

static void tell_forgotten(const struct tls_memory *m, const struct tls_memory *by)
{
    for (size_t i = 0; i < by->firsts.count; i++) {
        const struct first_use *f = &by->firsts.items[i];
        const struct first_use *before = first_uses_find(&m->firsts, f->service, f->name);
        if (!f->known && before != NULL && before->known)
            log_notice("service=%s server=%s is no longer in %s: the next key that is seen is the "
                       "first",
                       f->service, f->name, by->path);
    }
}

void tls_memory_replace(struct tls_memory *m, struct tls_memory *by)
{
    tell_forgotten(m, by);
    tls_memory_finish(m, by);
    *m = *by;
    *by = (struct tls_memory){0};
}

void tls_memory_finish(struct tls_memory *m, const struct tls_memory *old)
{
    first_uses_finish(&m->firsts, old != NULL ? &old->firsts : NULL);
    free(m->path);
    free(m->items);
    *m = (struct tls_memory){0};
}

/* ---- writing ---- */

static bool write_all(const struct tls_memory *m, const struct first_uses *pins, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    fprintf(f, "# servers that have offered TLS: name, whether they do, since when; and the keys "
               "they showed first (ehlock)\n");
    for (size_t i = 0; i < m->count; i++)
        fprintf(f, "%s %s %lld\n", m->items[i].name, m->items[i].offers ? "yes" : "no",
                m->items[i].since);
    for (size_t i = 0; i < pins->count; i++)
        first_use_write(&pins->items[i], f);
    bool ok = fflush(f) == 0 && fsync(fd) == 0;
    return fclose(f) == 0 && ok;
}

/* The pins that the file has, and those that it lacks because they are new. */
static void collect_pins(const struct first_uses *known, struct first_uses *in_file)
{
    for (size_t i = 0; i < known->count; i++) {
        const struct first_use *f = &known->items[i];
        if (f->known && !f->written && first_uses_find(in_file, f->service, f->name) == NULL)
            *first_uses_add(in_file, f->service, f->name) = *f;
    }
}

static bool replace_file(const struct tls_memory *m, char *error, size_t size)
{
    char path[4096];
    struct tls_memory in_file = {.path = m->path};
    bool ok = load(&in_file, error, size);
    if (ok) {
        collect_pins(&m->firsts, &in_file.firsts);
        ok = (size_t)snprintf(path, sizeof path, "%s.new", m->path) < sizeof path &&
             write_all(m, &in_file.firsts, path) && rename(path, m->path) == 0;
        if (!ok)
            snprintf(error, size, "tlsMemory: cannot write %s: %s", m->path, strerror(errno));
    }
    in_file.path = NULL;
    tls_memory_finish(&in_file, NULL);
    return ok;
}

void tls_memory_save(struct tls_memory *m)
{
    char error[512];
    if (!m->dirty || m->path == NULL)
        return;
    if (!replace_file(m, error, sizeof error)) {
        if (!m->failing)
            log_error("%s (it is tried again)", error);
        m->failing = true;
        return;
    }
    m->dirty = m->failing = false;
    for (size_t i = 0; i < m->firsts.count; i++)
        m->firsts.items[i].written = m->firsts.items[i].known;
}

bool tls_memory_learn(struct tls_memory *m, time_t now)
{
    bool any = first_uses_learn(&m->firsts, now);
    m->dirty = m->dirty || any;
    return any;
}

/* ---- noting ---- */

static void note_offered(struct tls_memory *m, const char *service, const char *name, time_t now)
{
    struct remembered *r = find(m, name);
    if (r != NULL && r->offers)
        return;
    if (r == NULL) {
        add(m, name, true, now);
    } else {
        log_notice("service=%s server=%s offers TLS again", service, name);
        r->offers = true;
        r->since = now;
    }
    m->dirty = true;
}

static void note_missing(struct tls_memory *m, const char *service, const char *name, time_t now)
{
    struct remembered *r = find(m, name);
    if (r == NULL || !r->offers)
        return;
    log_warn("service=%s server=%s has offered TLS for %lld days and no longer does: ask who runs "
             "it, and whether somebody is between",
             service, name, ((long long)now - r->since) / 86400);
    r->offers = false;
    r->since = now;
    m->dirty = true;
}

void tls_memory_note(struct tls_memory *m, const char *service, const char *destination,
                     enum offer offer, time_t now)
{
    if (m->path == NULL)
        return;
    switch (offer) {
    case OFFER_UNKNOWN:
        break;
    case OFFER_MADE:
        note_offered(m, service, destination, now);
        break;
    case OFFER_MISSING:
        note_missing(m, service, destination, now);
        break;
    }
}
