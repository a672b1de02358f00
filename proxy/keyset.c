/* SPDX-License-Identifier: ISC */
#include "proxy/keyset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "certs/keeper.h"
#include "certs/remotekey.h"
#include "certs/trust.h"
#include "protocols/memory.h"
#include "proxy/child.h"
#include "proxy/clientcert.h"
#include "proxy/log.h"
#include "proxy/title.h"

enum {
    REPORT_SECONDS = 30, /* for a keeper to load all keys */
    PRESSURE_MAX = 16,   /* sights of waiting requests that make one keeper more */
    EXPIRY_WARNING_DAYS = 14,
};

/* ---- what is to be read ---- */

struct sources {
    struct key_source *items;
    const char **patterns; /* of sni sections, or NULL */
    size_t count;
};

static struct key_source source_of(const struct service *from, size_t i)
{
    bool has_key = i < from->key.count, has_staple = i < from->ocsp_staple.count;
    return (struct key_source){.cert_file = from->cert.items[i].text,
                               .key_file = has_key ? from->key.items[i].text : NULL,
                               .ocsp_file = has_staple ? from->ocsp_staple.items[i].text : NULL,
                               .cert_where = from->cert.items[i].where,
                               .key_where =
                                   has_key ? from->key.items[i].where : from->cert.items[i].where,
                               .ocsp_where = has_staple ? from->ocsp_staple.items[i].where : NULL};
}

/* The sources of a service: its own, then those of its sni sections. */
static struct sources collect_sources(const struct config *c, const struct service *s)
{
    struct sources out = {0};
    for (size_t k = 0; k < c->n_services + 1; k++) {
        const struct service *from = k == 0 ? s : &c->services[k - 1];
        if (k > 0 && from->sni_service != s)
            continue;
        size_t n = out.count + from->cert.count;
        out.items = memory_resize(out.items, n * sizeof *out.items);
        out.patterns = memory_resize(out.patterns, n * sizeof *out.patterns);
        for (size_t i = 0; i < from->cert.count; i++) {
            out.items[out.count] = source_of(from, i);
            out.patterns[out.count++] = from->sni_pattern;
        }
    }
    return out;
}

/* ---- noticing changes ---- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x100000001b3ULL;
}

static uint64_t stamp_file(uint64_t hash, const char *path)
{
    struct stat st = {0};
    if (path == NULL)
        return hash;
    if (stat(path, &st) != 0)
        return mix(hash, (uint64_t)errno);
    hash = mix(hash, (uint64_t)st.st_ino);
    hash = mix(hash, (uint64_t)st.st_size);
    hash = mix(hash, (uint64_t)st.st_mtim.tv_sec);
    return mix(hash, (uint64_t)st.st_mtim.tv_nsec);
}

/* In a directory it is the files that come and go that count. */
static uint64_t stamp_trust(uint64_t hash, const struct service *s)
{
    if (s->client_demand == NULL)
        return hash;
    hash = stamp_file(hash, s->ca_file);
    hash = stamp_file(hash, s->ca_path);
    return stamp_file(hash, s->crl_file);
}

/* A number that differs when any of the files was written or replaced. */
static uint64_t stamp_all(const struct keyset *k)
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < k->n_services; i++) {
        struct sources s = collect_sources(k->plan.config, k->services[i].service);
        for (size_t n = 0; n < s.count; n++) {
            hash = stamp_file(hash, s.items[n].cert_file);
            hash = stamp_file(hash, s.items[n].key_file);
            hash = stamp_file(hash, s.items[n].ocsp_file);
        }
        free(s.items);
        free(s.patterns);
        hash = stamp_trust(hash, k->services[i].service);
    }
    return hash;
}

bool keyset_is_stale(struct keyset *k)
{
    uint64_t stamp = stamp_all(k);
    bool settled = stamp == k->other_stamp;
    k->other_stamp = stamp;
    if (stamp == k->stamp || !settled)
        return false;
    k->stamp = stamp; /* whatever comes of it: the same files are not tried again */
    return true;
}

/* ---- the keeper's process ---- */

/* The master ends the asker: we have no right to. */
static void accuse(void *ctx, pid_t asker, const char *sentence)
{
    const struct keyset *k = ctx;
    log_error("keeper: process %d was refused %s: it has gone astray", (int)asker, sentence);
    if (asker > 0 && write(k->plan.accuse_fd, &asker, sizeof asker) < 0)
        log_error_errno("keeper: the master cannot be told");
}

static void enter_jail(const struct keyset *k, const struct key_group *groups, int report_fd)
{
    int *keep = memory_alloc((k->n_services + 6) * sizeof *keep);
    size_t n = 0;
    for (size_t i = 0; i < k->n_services; i++)
        keep[n++] = groups[i].request_fd;
    keep[n++] = k->stop_fds[0];
    keep[n++] = report_fd;
    keep[n++] = k->plan.accuse_fd;
    keep[n++] = log_fd();
    keep[n++] = log_syslog_fd();
    keep[n++] = k->plan.walls->landlock_fd;
    const struct descent descent = {
        .keep = keep, .n_keep = n, .max_fds = 64 + (unsigned)k->n_services, .walls = k->plan.walls};
    const char *failed = jail_enter(k->plan.jail, &descent);
    free(keep);
    if (failed == NULL)
        return;
    log_error_errno("the keeper could not be jailed and does not serve: %s", failed);
    _exit(JAIL_EXIT_OPEN);
}

_Noreturn static void keeper_main(const struct keyset *k, const struct key_group *groups,
                                  int report_fd)
{
    char go;
    title_set("keeper");
    child_default_signals();
    prctl(PR_SET_DUMPABLE, 0); /* from here on: no debugger, no core: this memory has the keys */
    struct keeper *keeper = keeper_load(groups, k->n_services, report_fd);
    if (keeper == NULL)
        _exit(EX_CONFIG);
    child_detach(k->plan.background);
    enter_jail(k, groups, report_fd);
    if (read(report_fd, &go, 1) != 1) /* the master did not like what we have loaded */
        _exit(0);
    close(report_fd);
    keeper_serve(keeper, k->stop_fds[0], accuse, (void *)k);
    keeper_destroy(keeper);
    _exit(0);
}

/* A handshake takes one signature, or two when a keeper died over the first; see the window. */
static unsigned most_requests(const struct service *s)
{
    return 2 * (unsigned)s->connections_per_worker + 4;
}

/* Forks one and reads what it reports into `creds`, one for each service. It begins to serve when
 * it gets a byte on *go_fd, which is the caller's to close. */
static bool start_keeper(struct keyset *k, struct creds **creds, int *go_fd, char *error,
                         size_t size)
{
    struct sources *sources = memory_alloc(k->n_services * sizeof *sources);
    struct key_group *groups = memory_alloc(k->n_services * sizeof *groups);
    struct keeper_door *doors = memory_alloc(k->n_services * sizeof *doors);
    int report[2] = {-1, -1};
    bool ok = false;

    for (size_t i = 0; i < k->n_services; i++) {
        struct service_keys *s = &k->services[i];
        sources[i] = collect_sources(k->plan.config, s->service);
        groups[i] = (struct key_group){.sources = sources[i].items,
                                       .count = sources[i].count,
                                       .request_fd = s->request_fds[1],
                                       .max_requests = most_requests(s->service)};
        doors[i] = (struct keeper_door){.request_fd = s->request_fds[0],
                                        .seconds = (unsigned)s->service->timeout_handshake};
    }
    pid_t pid = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, report) == 0 ? fork() : -1;
    if (pid == 0) {
        close(report[0]);
        close(k->stop_fds[1]);
        keeper_main(k, groups, report[1]);
    }
    if (pid > 0) {
        k->keepers[k->n_keepers++] = pid;
        child_close(&report[1]);
        ok = creds_read_report(report[0], doors, k->n_services, creds, REPORT_SECONDS, error, size);
    } else {
        snprintf(error, size, "no keeper can be started: %s", strerror(errno));
        child_close(&report[1]);
    }
    if (!ok)
        child_close(&report[0]);
    *go_fd = report[0];
    for (size_t i = 0; i < k->n_services; i++) {
        for (size_t n = 0; ok && n < sources[i].count; n++)
            if (sources[i].patterns[n] != NULL)
                creds_set_pattern(creds[i], n, sources[i].patterns[n]);
        free(sources[i].items);
        free(sources[i].patterns);
    }
    free(sources);
    free(groups);
    free(doors);
    return ok;
}

static bool let_serve(int go_fd)
{
    return send(go_fd, "", 1, MSG_NOSIGNAL) == 1;
}

/* ---- the set ---- */

/* For a service that asks its clients for certificates; of others the trust stays NULL. */
static bool read_trust(const struct keyset *k, struct service_keys *s, char *error, size_t size)
{
    char reason[512];
    if (s->service->client_demand == NULL)
        return true;
    s->trust = client_demand_read_trust(s->service, reason, sizeof reason);
    if (s->trust != NULL && s->trust->n_anchors > 0 && !creds_announce(s->creds, s->trust)) {
        snprintf(error, size, "out of memory");
        return false;
    }
    if (s->trust == NULL)
        snprintf(error, size, "%s: [%s] %s",
                 config_where(k->plan.config, s->service, "verifyClient"), s->service->name,
                 reason);
    return s->trust != NULL;
}

static bool make_tls(struct keyset *k, const struct ticket_key *ticket_key, char *error,
                     size_t size)
{
    for (size_t i = 0; i < k->n_services; i++) {
        struct service_keys *s = &k->services[i];
        char reason[256];
        if (creds_count(s->creds) == 0)
            continue;
        if (!read_trust(k, s, error, size))
            return false;
        const struct tls_params params = {
            .priority = s->service->priority,
            .alpn = s->service->protocol != NULL ? s->service->protocol->alpn : NULL,
            .creds = s->creds,
            .trust = s->trust,
            .ask_client_cert = s->service->client_demand != NULL,
            .ticket_key = s->service->session_resume ? ticket_key : NULL};
        s->tls = tls_setup_create(&params, reason, sizeof reason);
        if (s->tls == NULL) {
            snprintf(error, size, "%s: priority: %s",
                     config_where(k->plan.config, s->service, "priority"), reason);
            return false;
        }
    }
    return true;
}

static bool load(struct keyset *k, const struct ticket_key *ticket_key, char *error, size_t size)
{
    struct creds **creds = memory_alloc((k->n_services + 1) * sizeof(struct creds *));
    int go_fd;
    bool ok = start_keeper(k, creds, &go_fd, error, size);
    for (size_t i = 0; ok && i < k->n_services; i++)
        k->services[i].creds = creds[i];
    free(creds);
    ok = ok && make_tls(k, ticket_key, error, size);
    if (ok && !let_serve(go_fd)) {
        snprintf(error, size, "the keeper died");
        ok = false;
    }
    child_close(&go_fd);
    return ok;
}

/* The kernel is to say who asks. */
static bool make_request_socket(struct service_keys *s)
{
    const int on = 1;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->request_fds) == 0 &&
           setsockopt(s->request_fds[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0;
}

struct keyset *keyset_create(const struct keyset_plan *plan, char *error, size_t error_size)
{
    struct keyset *k = memory_alloc(sizeof *k);
    *k = (struct keyset){.plan = *plan,
                         .services = memory_alloc(plan->n_services * sizeof *k->services),
                         .n_services = plan->n_services,
                         .stop_fds = {-1, -1}};
    for (size_t i = 0; i < k->n_services; i++)
        k->services[i] =
            (struct service_keys){.service = plan->services[i], .request_fds = {-1, -1}};
    bool ok = pipe2(k->stop_fds, O_CLOEXEC) == 0;
    for (size_t i = 0; ok && i < k->n_services; i++)
        ok = make_request_socket(&k->services[i]);
    if (!ok)
        snprintf(error, error_size, "sockets to the keeper: %s", strerror(errno));
    k->stamp = k->other_stamp = stamp_all(k); /* before they are read */
    if (ok && load(k, plan->ticket_key, error, error_size))
        return k;
    keyset_destroy(k, true);
    return NULL;
}

void keyset_destroy(struct keyset *k, bool wait)
{
    if (k == NULL)
        return;
    child_close(&k->stop_fds[0]);
    child_close(&k->stop_fds[1]);
    for (size_t i = 0; wait && i < k->n_keepers; i++)
        waitpid(k->keepers[i], NULL, 0);
    for (size_t i = 0; i < k->n_services; i++) {
        struct service_keys *s = &k->services[i];
        tls_setup_destroy(s->tls);
        trust_destroy(s->trust);
        creds_destroy(s->creds);
        child_close(&s->request_fds[0]);
        child_close(&s->request_fds[1]);
    }
    free(k->services);
    free(k);
}

/* It reads the files anew, and must have found what the others found: workers have the
 * certificates already. */
bool keyset_add_keeper(struct keyset *k, char *error, size_t error_size)
{
    struct creds **creds = memory_alloc((k->n_services + 1) * sizeof(struct creds *));
    int go_fd;
    bool ok = k->n_keepers < KEEPERS_MAX && start_keeper(k, creds, &go_fd, error, error_size);
    if (!ok) {
        free(creds);
        return false;
    }
    for (size_t i = 0; i < k->n_services; i++) {
        ok = ok && creds_are_same(k->services[i].creds, creds[i]);
        creds_destroy(creds[i]);
    }
    free(creds);
    if (!ok)
        snprintf(error, error_size, "the key files have changed");
    else if (!(ok = let_serve(go_fd)))
        snprintf(error, error_size, "the keeper died");
    child_close(&go_fd); /* without the byte it ends by itself */
    return ok;
}

bool keyset_bury(struct keyset *k, pid_t pid)
{
    for (size_t i = 0; i < k->n_keepers; i++) {
        if (k->keepers[i] != pid)
            continue;
        k->keepers[i] = k->keepers[--k->n_keepers];
        return true;
    }
    return false;
}

bool keyset_feel_pressure(struct keyset *k, unsigned most)
{
    bool waiting = false;
    for (size_t i = 0; i < k->n_services; i++) {
        int bytes = 0;
        if (ioctl(k->services[i].request_fds[1], FIONREAD, &bytes) == 0 && bytes > 0)
            waiting = true;
    }
    if (!waiting) {
        k->pressure -= k->pressure > 0;
        return false;
    }
    if (++k->pressure < PRESSURE_MAX || k->n_keepers >= most)
        return false;
    k->pressure = 0;
    return true;
}

static void report_one(const struct service *service, const struct creds *creds, size_t n)
{
    char name[256];
    const char *algorithm;
    time_t end, now = time(NULL);
    creds_describe(creds, n, name, sizeof name, &algorithm, &end);
    long days = (long)((end - now) / 86400);
    if (end < now)
        log_error("service=%s the certificate for %s (%s) has expired", service->name, name,
                  algorithm);
    else if (days < EXPIRY_WARNING_DAYS)
        log_warn("service=%s the certificate for %s (%s) expires in %ld days", service->name, name,
                 algorithm, days);
    else
        log_info("service=%s certificate for %s (%s), %ld days left", service->name, name,
                 algorithm, days);
}

void keyset_report(const struct keyset *k)
{
    for (size_t i = 0; i < k->n_services; i++)
        for (size_t n = 0; n < creds_count(k->services[i].creds); n++)
            report_one(k->services[i].service, k->services[i].creds, n);
}
