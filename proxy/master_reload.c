/* SPDX-License-Identifier: ISC */
#include "proxy/master.h"
#include "proxy/master_inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/log.h"

/* ---- the log that a configuration wants ---- */

static struct log_settings log_settings_of(const struct config *c)
{
    return (struct log_settings){
        .level = c->log_level,
        .facility = c->log_facility,
        .ident = c->ident,
        .to_stderr = c->foreground != FOREGROUND_QUIET,
        .to_syslog = c->syslog && !(c->foreground == FOREGROUND_YES && log_stderr_is_journal()),
        .file = c->output,
        .overwrite = c->log_mode == LOG_OVERWRITE};
}

bool master_open_log(const struct config *c)
{
    const struct log_settings s = log_settings_of(c);
    return log_open(&s) == 0;
}

/* The same for a reload: nothing is emptied, and a daemon has no standard error. */
static bool adopt_log(const struct master *m, const struct config *c)
{
    struct log_settings s = log_settings_of(c);
    s.overwrite = false;
    s.to_stderr = s.to_stderr && !m->common.background;
    return log_open(&s) == 0;
}

/* ---- a new generation ---- */

void master_discard_config(struct config *c)
{
    config_finish(c);
    free(c);
}

static struct config *read_config(const char *file, bool sockets)
{
    struct config *c = memory_alloc(sizeof *c);
    config_init(c);
    c->no_accept = sockets ? NO_ACCEPT_FINE : NO_ACCEPT_ERROR;
    if (config_read(c, file) && config_check(c))
        return c;
    master_discard_config(c);
    return NULL;
}

/* Its relative names begin where the program was started. NULL: it has been told why, or `error`
 * says it. */
static struct config *read_config_again(const struct master *m, char *error, size_t size)
{
    if (!master_has_memory(error, size))
        return NULL;
    memory_open_gaps();
    if (fchdir(m->directory_fd) != 0) {
        snprintf(error, size, "the directory of the start: %s", strerror(errno));
        return NULL;
    }
    struct config *c = read_config(m->file, m->common.handed->count > 0);
    if (c != NULL)
        c->foreground = m->current->config->foreground; /* is for the start, and -f goes on */
    if (m->common.background && chdir("/") != 0)
        log_warn_errno("chdir");
    return c;
}

/* From here on the new one is served. */
static void adopt(struct master *m, struct generation *new)
{
    struct generation *old = m->current;
    m->current = new;
    programs_keep(new);
    resolver_keep(new);
    master_keep_spares(m, true);
    generation_close(old);
    old->next = m->retired;
    m->retired = old;
    master_signal_outdated(m, false);
}

/* All that can fail. The log is the new one already, because the keepers inherit it. */
static struct generation *prepare(struct master *m, char *error, size_t size)
{
    struct config *c = read_config_again(m, error, size);
    if (c == NULL)
        return NULL;
    if (!adopt_log(m, c)) {
        snprintf(error, size, "%s: output: cannot open %s: %s", config_where(c, NULL, "output"),
                 c->output, strerror(errno));
        master_discard_config(c);
        return NULL;
    }
    struct tls_memory memory = {0};
    struct generation *g = generation_create(c, &m->common, error, size);
    if (g != NULL && tls_memory_read(&memory, c, FIRST_USE_CLAIMS, &m->tls_memory, error, size) &&
        generation_listen(g, m->current, error, size)) {
        tls_memory_replace(&m->tls_memory, &memory);
        return g;
    }
    tls_memory_finish(&memory, &m->tls_memory);
    generation_destroy(g, true);
    (void)adopt_log(m, m->current->config);
    m->epoch++; /* it may be another file by now, or another syslogd */
    master_signal_outdated(m, false);
    return NULL;
}

void master_reload(struct master *m)
{
    char error[1024] = "";
    if (m->draining) {
        log_notice("not reloaded, because ehlock is stopping");
        return;
    }
    notify_reloading(&m->notify);
    master_remember(m);
    struct generation *g = prepare(m, error, sizeof error);
    if (g == NULL) {
        log_error("not reloaded, the old configuration stays%s%s", error[0] != '\0' ? ": " : "",
                  error);
        notify_ready(&m->notify);
        return;
    }
    keyset_report(g->keys);
    adopt(m, g);
    master_keep_news(m, "reloaded: %zu service%s", g->n_pools, g->n_pools == 1 ? "" : "s");
    notify_ready(&m->notify);
}

/* ---- the old ones ---- */

void master_drop_unused(struct master *m)
{
    for (struct keyset **k = &m->old_keys; *k != NULL;) {
        struct keyset *old = *k;
        if (master_has_workers(m, NULL, old)) {
            k = &old->next;
            continue;
        }
        *k = old->next;
        memory_open_gaps();
        keyset_destroy(old, false);
    }
    for (struct generation **g = &m->retired; *g != NULL;) {
        struct generation *old = *g;
        if (master_has_workers(m, old, NULL)) {
            g = &old->next;
            continue;
        }
        *g = old->next;
        memory_open_gaps();
        generation_destroy(old, false);
    }
}
