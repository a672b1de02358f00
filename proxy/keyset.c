/* SPDX-License-Identifier: ISC */
#include "proxy/keyset.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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
#include "proxy/backend.h"
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
                               .for_client = from->client,
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

/* Of servers, and what we log in with; or of clients. In a directory it is the files that come and
 * go that count. */
static uint64_t stamp_trust(uint64_t hash, const struct service *s)
{
    for (size_t i = 0; i < s->n_demands; i++) {
        hash = stamp_file(hash, s->demands[i].ca_file);
        hash = stamp_file(hash, s->demands[i].ca_path);
        hash = stamp_file(hash, s->demands[i].crl_file);
    }
    hash = stamp_file(hash, s->login_password_file);
    hash = stamp_file(hash, s->login_token_file);
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

static void tell_master(const struct keyset *k, pid_t pid)
{
    if (pid != 0 && write(k->plan.accuse_fd, &pid, sizeof pid) < 0)
        log_error_errno("keeper: the master cannot be told");
}

/* The master ends the asker: we have no right to. */
static void accuse(void *ctx, pid_t asker, const char *sentence)
{
    const struct keyset *k = ctx;
    tell_master(k, asker);
    log_error("keeper: process %d was refused %s: it has gone astray", (int)asker, sentence);
}

/* Sooner or later every keeper does so. What it tells is its own number, and negative: workers can
 * have a keeper accuse another, by sending its answer where the requests go. */
static void report_shut_door(void *ctx)
{
    tell_master(ctx, -getpid());
    log_error("keeper: a worker has gone astray and has shut the way to the keys of its service");
}

static void enter_jail(const struct keyset *k, const struct key_group *groups, int report_fd)
{
    int *keep = memory_alloc((k->n_services + 6) * sizeof *keep);
    size_t n = 0;
    log_part();
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
    title_set("keeper", NULL);
    child_default_signals();
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* while it loads, it has descriptors of the master's */
    prctl(PR_SET_DUMPABLE, 0); /* from here on: no debugger, no core: this memory has the keys */
    struct keeper *keeper = keeper_load(groups, k->n_services, report_fd);
    if (keeper == NULL)
        _exit(EX_CONFIG);
    child_detach(k->plan.background);
    enter_jail(k, groups, report_fd);
    if (read(report_fd, &go, 1) != 1) /* the master did not like what we have loaded */
        _exit(0);
    close(report_fd);
    const struct keeper_alarm alarm = {
        .refused = accuse, .shut_out = report_shut_door, .ctx = (void *)k};
    keeper_serve(keeper, k->stop_fds[0], &alarm);
    keeper_destroy(keeper);
    _exit(0);
}

/* The one that was started last is not wanted after all, whatever it is doing. */
static void discard_newest(struct keyset *k)
{
    pid_t pid = k->keepers[--k->n_keepers];
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* A handshake takes one signature, or two when a keeper died over the first; see the window. A
 * client's session may go from one server to the next. */
static unsigned most_requests(const struct service *s)
{
    unsigned handshakes = s->client ? BACKENDS_MAX : 1;
    return 2 * handshakes * (unsigned)s->connections_per_worker + 4;
}

/* A keeper that has been forked and has not yet reported. */
struct loading {
    struct sources *sources; /* one for each service */
    struct key_group *groups;
    struct keeper_door *doors;
    int report_fd; /* both ways: it begins to serve when it gets a byte; -1 */
};

static struct loading *loading_create(const struct keyset *k)
{
    struct loading *l = memory_alloc(sizeof *l);
    *l = (struct loading){.sources = memory_alloc(k->n_services * sizeof *l->sources),
                          .groups = memory_alloc(k->n_services * sizeof *l->groups),
                          .doors = memory_alloc(k->n_services * sizeof *l->doors),
                          .report_fd = -1};
    for (size_t i = 0; i < k->n_services; i++) {
        const struct service_keys *s = &k->services[i];
        l->sources[i] = collect_sources(k->plan.config, s->service);
        l->groups[i] = (struct key_group){.sources = l->sources[i].items,
                                          .count = l->sources[i].count,
                                          .request_fd = s->request_fds[1],
                                          .max_requests = most_requests(s->service)};
        l->doors[i] = (struct keeper_door){.request_fd = s->request_fds[0],
                                           .seconds = (unsigned)s->service->timeout_handshake};
    }
    return l;
}

static void loading_destroy(struct loading *l, size_t n_services)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < n_services; i++) {
        free(l->sources[i].items);
        free(l->sources[i].patterns);
    }
    child_close(&l->report_fd);
    free(l->sources);
    free(l->groups);
    free(l->doors);
    free(l);
}

static bool fork_keeper(struct keyset *k, struct loading *l, char *error, size_t size)
{
    int report[2] = {-1, -1};
    pid_t pid = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, report) == 0 ? fork() : -1;
    if (pid == 0) {
        close(report[0]);
        close(k->stop_fds[1]);
        keeper_main(k, l->groups, report[1]);
    }
    if (pid < 0)
        snprintf(error, size, "no keeper can be started: %s", strerror(errno));
    else
        k->keepers[k->n_keepers++] = pid;
    child_close(&report[1]);
    l->report_fd = report[0];
    return pid > 0;
}

/* What it has found, into `creds`, one for each service. */
static bool read_report(const struct keyset *k, const struct loading *l, struct creds **creds,
                        char *error, size_t size)
{
    if (!creds_read_report(l->report_fd, l->doors, k->n_services, creds, REPORT_SECONDS, error,
                           size))
        return false;
    for (size_t i = 0; i < k->n_services; i++)
        for (size_t n = 0; n < l->sources[i].count; n++)
            if (l->sources[i].patterns[n] != NULL)
                creds_set_pattern(creds[i], n, l->sources[i].patterns[n]);
    return true;
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
    s->trust = client_demand_find_trust(s->service, k->trusts, reason, sizeof reason);
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

static bool make_tls(struct keyset *k, char *error, size_t size)
{
    for (size_t i = 0; i < k->n_services; i++) {
        struct service_keys *s = &k->services[i];
        char reason[256];
        if (s->service->client) {
            s->destinations =
                destinations_create(k->plan.config, s->service, s->creds, k->trusts, error, size);
            if (s->destinations == NULL)
                return false;
            continue;
        }
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
            .ticket_key = s->service->session_resume ? k->plan.ticket_key : NULL};
        s->tls = tls_setup_create(&params, reason, sizeof reason);
        if (s->tls == NULL) {
            snprintf(error, size, "%s: priority: %s",
                     config_where(k->plan.config, s->service, "priority"), reason);
            return false;
        }
    }
    return true;
}

int keyset_report_fd(const struct keyset *k)
{
    return k->loading->report_fd;
}

bool keyset_finish(struct keyset *k, char *error, size_t error_size)
{
    struct creds **creds = memory_alloc((k->n_services + 1) * sizeof(struct creds *));
    struct loading *l = k->loading;
    bool ok = read_report(k, l, creds, error, error_size);
    for (size_t i = 0; ok && i < k->n_services; i++)
        k->services[i].creds = creds[i];
    free(creds);
    ok = ok && make_tls(k, error, error_size);
    if (ok && !let_serve(l->report_fd)) {
        snprintf(error, error_size, "the keeper died");
        ok = false;
    }
    loading_destroy(l, k->n_services);
    k->loading = NULL;
    return ok;
}

/* The kernel is to say who asks. */
static bool make_request_socket(struct service_keys *s)
{
    const int on = 1;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->request_fds) == 0 &&
           setsockopt(s->request_fds[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0;
}

static unsigned most_keepers(const struct config *c)
{
    long n = c->keepers > 0 ? c->keepers : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n < KEEPERS_MAX ? (unsigned)n : KEEPERS_MAX;
}

/* Before the keeper is forked, which does not get them. */
static bool read_logins(struct keyset *k, char *error, size_t size)
{
    for (size_t i = 0; i < k->n_services; i++)
        if (!login_read(k->plan.config, k->services[i].service, &k->services[i].login, error, size))
            return false;
    return true;
}

struct keyset *keyset_begin(const struct keyset_plan *plan, char *error, size_t error_size)
{
    struct keyset *k = memory_alloc(sizeof *k);
    *k = (struct keyset){.plan = *plan,
                         .services = memory_alloc(plan->n_services * sizeof *k->services),
                         .n_services = plan->n_services,
                         .trusts = trusts_create(),
                         .most_keepers = most_keepers(plan->config),
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
    k->loading = loading_create(k);
    if (ok && read_logins(k, error, error_size) && fork_keeper(k, k->loading, error, error_size))
        return k;
    keyset_destroy(k, true);
    return NULL;
}

void keyset_destroy(struct keyset *k, bool wait)
{
    if (k == NULL)
        return;
    loading_destroy(k->loading, k->n_services);
    child_close(&k->stop_fds[0]);
    child_close(&k->stop_fds[1]);
    while (wait && k->n_keepers > 0)
        discard_newest(k);
    for (size_t i = 0; i < k->n_services; i++) {
        struct service_keys *s = &k->services[i];
        tls_setup_destroy(s->tls);
        destinations_destroy(s->destinations);
        login_destroy(s->login);
        creds_destroy(s->creds);
        child_close(&s->request_fds[0]);
        child_close(&s->request_fds[1]);
    }
    trusts_destroy(k->trusts);
    free(k->services);
    free(k);
}

/* It reads the files anew, and must have found what the others found: workers have the
 * certificates already. */
bool keyset_add_keeper(struct keyset *k, char *error, size_t error_size)
{
    struct creds **creds = memory_alloc((k->n_services + 1) * sizeof(struct creds *));
    struct loading *l = loading_create(k);
    snprintf(error, error_size, "there are %zu already", k->n_keepers);
    bool forked = k->n_keepers < KEEPERS_MAX && fork_keeper(k, l, error, error_size);
    bool loaded = forked && read_report(k, l, creds, error, error_size);
    bool ok = loaded;
    for (size_t i = 0; loaded && i < k->n_services; i++) {
        ok = ok && creds_are_same(k->services[i].creds, creds[i]);
        creds_destroy(creds[i]);
    }
    free(creds);
    if (loaded && !ok)
        snprintf(error, error_size, "the key files have changed");
    if (ok && !(ok = let_serve(l->report_fd)))
        snprintf(error, error_size, "the keeper died");
    loading_destroy(l, k->n_services);
    if (forked && !ok)
        discard_newest(k);
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

void keyset_hear_shut_door(struct keyset *k, pid_t pid)
{
    for (size_t i = 0; i < k->n_keepers; i++)
        k->door_is_shut = k->door_is_shut || k->keepers[i] == pid;
}

bool keyset_is_asked(const struct keyset *k)
{
    for (size_t i = 0; i < k->n_services; i++) {
        int bytes = 0;
        if (ioctl(k->services[i].request_fds[1], FIONREAD, &bytes) == 0 && bytes > 0)
            return true;
    }
    return false;
}

bool keyset_feel_pressure(struct keyset *k)
{
    if (!keyset_is_asked(k)) {
        k->pressure -= k->pressure > 0;
        return false;
    }
    if (++k->pressure < PRESSURE_MAX || k->n_keepers >= k->most_keepers)
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
