/* SPDX-License-Identifier: ISC */
#include "proxy/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/child.h"
#include "proxy/generation.h"
#include "proxy/log.h"
#include "proxy/spawner.h"
#include "proxy/title.h"

enum {
    AGAIN_MS = 1000, /* between two attempts to start it */
    STOP_MS = 6000,  /* for the spawner to end its programs */
};

static bool prepare_one(struct generation *g, struct pool *p, char *error, size_t size)
{
    char reason[400];
    const char *wrong = program_prepare(&p->program, p->service, &g->jail, reason, sizeof reason);
    if (wrong != NULL) {
        snprintf(error, size, "%s: %s: %s", config_where(g->config, p->service, wrong), wrong,
                 reason);
        return false;
    }
    if (p->program.path == NULL ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p->spawn_fds) == 0)
        return true;
    snprintf(error, size, "[%s]: %s", p->service->name, strerror(errno));
    return false;
}

bool programs_prepare(struct generation *g, char *error, size_t error_size)
{
    for (size_t i = 0; i < g->n_pools; i++)
        if (!prepare_one(g, &g->pools[i], error, error_size))
            return false;
    return true;
}

/* Who is still asked for a token when nobody waits for it has nothing to bring to an end. */
static unsigned end_seconds_of(const struct pool *p)
{
    return p->program.purpose == PROGRAM_TOKEN ? 1 : (unsigned)p->service->timeout_close;
}

/* What the spawner serves; `out` may be NULL. */
static size_t collect(const struct generation *g, struct spawner_service *out)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_pools; i++) {
        const struct pool *p = &g->pools[i];
        if (p->program.path == NULL)
            continue;
        if (out != NULL)
            out[n] = (struct spawner_service){.name = p->service->name,
                                              .program = &p->program,
                                              .request_fd = p->spawn_fds[1],
                                              .may_relay = p->service->relay_as.count > 0,
                                              .limit = (size_t)p->service->max_connections,
                                              .end_seconds = end_seconds_of(p)};
        n++;
    }
    return n;
}

_Noreturn static void spawner_main(const struct generation *g, size_t n, int stop_fd)
{
    struct spawner_service *services = memory_alloc(n * sizeof *services);
    title_set("spawner", NULL);
    prctl(PR_SET_DUMPABLE, 0); /* it has our rights: no other process may look into it */
    child_detach(g->common->background);
    collect(g, services);
    spawner_serve(services, n, stop_fd, g->common->single);
    free(services);
    _exit(0);
}

void programs_keep(struct generation *g)
{
    struct spawner_child *c = &g->spawner;
    int stop[2];
    size_t n = c->pid > 0 ? 0 : collect(g, NULL);
    if (n == 0 || wire_now() < c->not_before)
        return;
    c->not_before = wire_now() + AGAIN_MS;
    child_close(&c->stop_fd);
    if (pipe2(stop, O_CLOEXEC) != 0) {
        log_error_errno("the spawner cannot be started");
        return;
    }
    c->pid = fork();
    if (c->pid == 0) {
        close(stop[1]);
        spawner_main(g, n, stop[0]);
    }
    close(stop[0]);
    c->stop_fd = stop[1];
    if (c->pid < 0) {
        log_error_errno("the spawner cannot be started");
        c->pid = 0;
    }
}

bool programs_bury(struct generation *g, pid_t pid)
{
    if (pid != g->spawner.pid)
        return false;
    log_error("the spawner died: it is started again");
    g->spawner.pid = 0;
    return true;
}

void programs_reopen_log(const struct generation *g)
{
    if (g->spawner.pid > 0)
        kill(g->spawner.pid, SIGUSR1);
}

void programs_stop(struct generation *g, bool wait)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    int64_t deadline = wire_now() + STOP_MS;
    struct spawner_child *c = &g->spawner;
    child_close(&c->stop_fd);
    while (wait && c->pid > 0 && waitpid(c->pid, NULL, WNOHANG) == 0) {
        if (wire_now() >= deadline) {
            log_error("the spawner does not end, and is killed");
            kill(c->pid, SIGKILL);
            waitpid(c->pid, NULL, 0);
            break;
        }
        nanosleep(&moment, NULL);
    }
    c->pid = 0;
}
