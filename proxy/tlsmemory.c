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
static bool read_line(struct tls_memory *m, const char *line)
{
    char name[TLS_MEMORY_NAME_MAX + 1], word[4], end;
    long long since;
    _Static_assert(TLS_MEMORY_NAME_MAX == 300, "the width below");
    if (line[0] == '#')
        return true;
    if (sscanf(line, "%300s %3s %lld%c", name, word, &since, &end) != 4 || end != '\n')
        return false;
    bool yes = strcmp(word, "yes") == 0;
    if (!yes && strcmp(word, "no") != 0)
        return false;
    add(m, name, yes, since);
    return true;
}

static bool read_all(struct tls_memory *m, FILE *f, char *error, size_t size)
{
    char line[TLS_MEMORY_NAME_MAX + 64];
    for (unsigned n = 1; fgets(line, sizeof line, f) != NULL; n++) {
        if (read_line(m, line))
            continue;
        snprintf(error, size,
                 "tlsMemory: %s:%u is not NAME yes|no SECONDS: mend the line or remove the file",
                 m->path, n);
        return false;
    }
    return true;
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
    fclose(f);
    return ok;
}

bool tls_memory_use(struct tls_memory *m, const char *path, char *error, size_t error_size)
{
    struct tls_memory fresh = {.path = path != NULL ? memory_strdup(path) : NULL};
    bool is_same = path != NULL && m->path != NULL && strcmp(path, m->path) == 0;
    if (is_same || (fresh.path != NULL && !load(&fresh, error, error_size))) {
        tls_memory_finish(&fresh);
        return is_same;
    }
    tls_memory_finish(m);
    *m = fresh;
    return true;
}

void tls_memory_finish(struct tls_memory *m)
{
    free(m->path);
    free(m->items);
    *m = (struct tls_memory){0};
}

static bool write_all(const struct tls_memory *m, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    fprintf(f, "# servers that have offered TLS: name, whether they do, since when (ehlock)\n");
    for (size_t i = 0; i < m->count; i++)
        fprintf(f, "%s %s %lld\n", m->items[i].name, m->items[i].offers ? "yes" : "no",
                m->items[i].since);
    bool ok = fflush(f) == 0 && fsync(fd) == 0;
    return fclose(f) == 0 && ok;
}

void tls_memory_save(struct tls_memory *m)
{
    char path[4096];
    if (!m->dirty || m->path == NULL)
        return;
    m->dirty = false;
    if ((size_t)snprintf(path, sizeof path, "%s.new", m->path) >= sizeof path ||
        !write_all(m, path) || rename(path, m->path) != 0)
        log_error_errno("tlsMemory: cannot write %s", m->path);
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
