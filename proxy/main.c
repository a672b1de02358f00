/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "certs/tls.h"
#include "protocols/memory.h"
#include "proxy/activation.h"
#include "proxy/config.h"
#include "proxy/config_rules.h"
#include "proxy/log.h"
#include "proxy/master.h"
#include "proxy/oneshot.h"
#include "proxy/options.h"
#include "proxy/pidfile.h"
#include "proxy/probe.h"
#include "proxy/title.h"

enum mode {
    MODE_RUN,
    MODE_CHECK,
    MODE_SHOW,
    MODE_RELOAD,
    MODE_STOP,
    MODE_ONESHOT,
    MODE_TEST_RULE,
};

struct arguments {
    enum mode mode;
    bool foreground;
    const char *file;
    const char *service; /* of a single session (NULL: not named), or of a rule */
    const char *key;     /* of MODE_TEST_RULE */
};

static const char usage[] =
    "usage: ehlock [-f] FILE            run the services of the configuration\n"
    "       ehlock --inetd FILE [SERVICE]   serve the one client that is connected already\n"
    "       ehlock --check FILE         say what is wrong with it; exit 0 or 78\n"
    "       ehlock --show-config FILE   print it with all defaults\n"
    "       ehlock --reload FILE        check it, and have the running ehlock read it again\n"
    "       ehlock --stop FILE          end the running ehlock, and wait until it has ended\n"
    "       ehlock --test-rule FILE SERVICE KEY\n"
    "                                   say which rule matches addr:ADDRESS, sni:NAME, helo:NAME,\n"
    "                                   or name:NAME and the like of a certificate; exit 0, or 1\n"
    "                                   if none does\n"
    "       ehlock probe HOST[:PORT] [...]\n"
    "                                   look at a server's TLS and certificates; see ehlock probe "
    "--help\n"
    "       ehlock --help | --version\n";

static void print_help(void)
{
    printf("%s\n  -f, --foreground   stay in the foreground and log to standard error\n", usage);
    options_help(stdout);
}

static bool parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"check", no_argument, NULL, 'c'},       {"foreground", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},        {"inetd", no_argument, NULL, 'i'},
        {"show-config", no_argument, NULL, 's'}, {"version", no_argument, NULL, 'v'},
        {"reload", no_argument, NULL, 'r'},      {"stop", no_argument, NULL, 't'},
        {"test-rule", no_argument, NULL, 'T'},   {0}};
    int o;
    *a = (struct arguments){.mode = MODE_RUN};
    while ((o = getopt_long(argc, argv, "fh", options, NULL)) != -1) {
        switch (o) {
        case 'c':
            a->mode = MODE_CHECK;
            break;
        case 'f':
            a->foreground = true;
            break;
        case 'h':
            print_help();
            exit(0);
        case 'i':
            a->mode = MODE_ONESHOT;
            break;
        case 'r':
            a->mode = MODE_RELOAD;
            break;
        case 's':
            a->mode = MODE_SHOW;
            break;
        case 't':
            a->mode = MODE_STOP;
            break;
        case 'T':
            a->mode = MODE_TEST_RULE;
            break;
        case 'v':
            printf("ehlock %s, GnuTLS %s\n", EHLOCK_VERSION, tls_library_version());
            exit(0);
        default:
            return false;
        }
    }
    int n = argc - optind;
    a->file = argv[optind];
    if (a->mode == MODE_TEST_RULE && n == 3)
        a->key = argv[optind + 2];
    if (n == 3 || (n == 2 && a->mode == MODE_ONESHOT))
        a->service = argv[optind + 1];
    return n == (a->mode == MODE_TEST_RULE ? 3 : 1) || (n == 2 && a->mode == MODE_ONESHOT);
}

/* The parent stays until the services run, so that its exit status tells whether they do. The
 * child has the terminal for its complaints until then. */
static int go_to_background(void)
{
    int ready[2];
    char byte;
    int status;
    if (pipe2(ready, O_CLOEXEC) != 0)
        die(EX_OSERR, "pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        die(EX_OSERR, "fork: %s", strerror(errno));
    if (pid > 0) {
        close(ready[1]);
        if (read(ready[0], &byte, 1) == 1)
            _exit(0);
        _exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                   : EX_UNAVAILABLE);
    }
    close(ready[0]);
    setsid();
    return ready[1];
}

static int check(struct config *c, const char *file)
{
    size_t services = c->n_services;
    unsigned warnings = c->warnings;
    if (!master_check(c))
        return EX_CONFIG;
    printf("%s: %zu service%s, no errors, %u warning%s\n", file, services, services == 1 ? "" : "s",
           warnings, warnings == 1 ? "" : "s");
    return 0;
}

static int show(struct config *c)
{
    config_show(c, stdout);
    config_finish(c);
    free(c);
    return 0;
}

static int test_rule(struct config *c, const char *service, const char *key)
{
    int status = config_test_rule(c, service, key);
    config_finish(c);
    free(c);
    return status;
}

static int run(struct config *c, const char *file, struct activation *handed, bool foreground)
{
    int ready_fd = -1;
    if (foreground)
        c->foreground = FOREGROUND_YES;
    if (!master_open_log(c))
        die(EX_CONFIG, "output: cannot open %s: %s", c->output, strerror(errno));
    if (c->foreground == FOREGROUND_NO)
        ready_fd = go_to_background();
    return master_run(c, file, handed, ready_fd);
}

/* The process that runs this configuration, by its pid file. */
static pid_t find_running(const struct config *c, const char *file)
{
    char error[512];
    if (c->pid_file == NULL)
        die(EX_CONFIG,
            "%s has no pid = FILE, by which the running ehlock could be found: write it, or send "
            "SIGHUP or "
            "SIGTERM to the master",
            file);
    pid_t pid = pidfile_find(c->pid_file, error, sizeof error);
    if (pid == 0)
        die(EX_UNAVAILABLE, "%s", error);
    return pid;
}

/* What is wrong is told here, where somebody reads it. */
static int reload(struct config *c, const char *file)
{
    pid_t pid = find_running(c, file);
    if (!master_check(c))
        return EX_CONFIG;
    if (kill(pid, SIGHUP) != 0)
        die(EX_NOPERM, "process %d: %s", (int)pid, strerror(errno));
    return 0;
}

/* Returns when it has ended. */
static int stop(struct config *c, const char *file)
{
    const struct timespec moment = {.tv_nsec = 50000000};
    pid_t pid = find_running(c, file);
    char error[512];
    if (kill(pid, SIGTERM) != 0)
        die(EX_NOPERM, "process %d: %s", (int)pid, strerror(errno));
    while (pidfile_find(c->pid_file, error, sizeof error) == pid)
        nanosleep(&moment, NULL);
    config_finish(c);
    free(c);
    return 0;
}

/* Libraries look their functions up at the first call, which would be in every worker anew. Bound
 * at once, here, they are bound for all, and their tables can be made read-only. */
static void bind_libraries(char **argv)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || getenv("LD_BIND_NOW") != NULL || setenv("LD_BIND_NOW", "1", 1) != 0)
        return;
    path[n] = '\0';
    execv(path, argv); /* if this fails we go on as we are */
}

static enum no_accept without_accept(enum mode mode, const struct activation *handed)
{
    if (mode != MODE_RUN)
        return NO_ACCEPT_WARNING;
    return handed->count > 0 ? NO_ACCEPT_FINE : NO_ACCEPT_ERROR;
}

static int do_as_told(const struct arguments *a, struct config *c, struct activation *handed)
{
    switch (a->mode) {
    case MODE_RUN:
        return run(c, a->file, handed, a->foreground);
    case MODE_CHECK:
        return check(c, a->file);
    case MODE_SHOW:
        return show(c);
    case MODE_RELOAD:
        return reload(c, a->file);
    case MODE_STOP:
        return stop(c, a->file);
    case MODE_ONESHOT:
        break; /* has returned */
    case MODE_TEST_RULE:
        return test_rule(c, a->service, a->key);
    }
    return EX_USAGE;
}

int main(int argc, char **argv)
{
    struct arguments a;

    struct activation handed = {0};
    char error[256];

    title_init(argc, argv);
    signal(SIGCHLD, SIG_DFL); /* whoever starts us may ignore it, and we would hear of no death */
    if (argc > 1 && strcmp(argv[1], "probe") == 0)
        return probe_run(argc - 1, argv + 1);
    bool understood = parse(argc, argv, &a);
    if (a.mode == MODE_ONESHOT) /* standard error may be the client */
        return oneshot_run(understood ? a.file : NULL, a.service);
    if (!understood) {
        fputs(usage, stderr);
        return EX_USAGE;
    }
    if (a.mode == MODE_RUN) {
        bind_libraries(argv);
        if (!activation_take(&handed, error, sizeof error))
            die(EX_CONFIG, "%s", error);
    }
    struct config *c = memory_alloc(sizeof *c);
    int status = EX_CONFIG;
    config_init(c);
    c->no_accept = without_accept(a.mode, &handed);
    if (config_read(c, a.file) && config_check(c)) {
        status = do_as_told(&a, c, &handed); /* which takes it */
    } else {
        config_finish(c);
        free(c);
    }
    activation_finish(&handed);
    return status;
}
