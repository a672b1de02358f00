/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "certs/tls.h"
#include "proxy/activation.h"
#include "proxy/config.h"
#include "proxy/log.h"
#include "proxy/master.h"
#include "proxy/options.h"
#include "proxy/oneshot.h"
#include "proxy/title.h"

enum mode { MODE_RUN, MODE_CHECK, MODE_SHOW, MODE_ONESHOT };

struct arguments {
    enum mode mode;
    bool foreground;
    const char *file;
    const char *service; /* of a single session; NULL: not named */
};

static const char usage[] =
    "usage: ehlock [-f] FILE            run the services of the configuration\n"
    "       ehlock --inetd FILE [SERVICE]   serve the one client that is connected already\n"
    "       ehlock --check FILE         say what is wrong with it; exit 0 or 78\n"
    "       ehlock --show-config FILE   print it with all defaults\n"
    "       ehlock --help | --version\n";

static void print_help(void)
{
    printf("%s\n  -f, --foreground   stay in the foreground and log to standard error\n", usage);
    options_help(stdout);
}

static bool parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {{"check", no_argument, NULL, 'c'},
                                            {"foreground", no_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"inetd", no_argument, NULL, 'i'},
                                            {"show-config", no_argument, NULL, 's'},
                                            {"version", no_argument, NULL, 'v'},
                                            {0}};
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
        case 's':
            a->mode = MODE_SHOW;
            break;
        case 'v':
            printf("ehlock %s, GnuTLS %s\n", EHLOCK_VERSION, tls_library_version());
            exit(0);
        default:
            return false;
        }
    }
    a->file = argv[optind];
    if (a->mode == MODE_ONESHOT && optind == argc - 2)
        a->service = argv[optind + 1];
    return a->file != NULL && optind + 1 + (a->service != NULL) == argc;
}

static void open_log(const struct config *c)
{
    const struct log_settings s = {
        .level = c->log_level,
        .facility = c->log_facility,
        .ident = c->ident,
        .to_stderr = c->foreground != FOREGROUND_QUIET,
        .to_syslog = c->syslog && !(c->foreground != FOREGROUND_QUIET && log_stderr_is_journal()),
        .file = c->output,
        .overwrite = c->log_mode == LOG_OVERWRITE};
    if (log_open(&s) != 0)
        die(EX_CONFIG, "output: cannot open %s: %s", c->output, strerror(errno));
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
    if (!master_check(c))
        return EX_CONFIG;
    printf("%s: %zu service%s, no errors, %u warning%s\n", file, c->n_services,
           c->n_services == 1 ? "" : "s", c->warnings, c->warnings == 1 ? "" : "s");
    return 0;
}

static int run(struct config *c, struct activation *sockets, bool foreground)
{
    int ready_fd = -1;
    if (foreground)
        c->foreground = FOREGROUND_YES;
    open_log(c);
    if (c->foreground == FOREGROUND_NO)
        ready_fd = go_to_background();
    return master_run(c, sockets, ready_fd);
}

static enum no_accept without_accept(enum mode mode, const struct activation *sockets)
{
    if (mode != MODE_RUN)
        return NO_ACCEPT_WARNING;
    return sockets->count > 0 ? NO_ACCEPT_FINE : NO_ACCEPT_ERROR;
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

int main(int argc, char **argv)
{
    struct arguments a;
    struct activation sockets = {0};
    struct config c;
    char error[256];
    int status = EX_CONFIG;

    title_init(argc, argv);
    bool understood = parse(argc, argv, &a);
    if (a.mode == MODE_ONESHOT) /* standard error may be the client */
        return oneshot_run(understood ? a.file : NULL, a.service);
    if (!understood) {
        fputs(usage, stderr);
        return EX_USAGE;
    }
    if (a.mode == MODE_RUN) {
        bind_libraries(argv);
        if (!activation_take(&sockets, error, sizeof error))
            die(EX_CONFIG, "%s", error);
    }
    config_init(&c);
    c.no_accept = without_accept(a.mode, &sockets);
    if (config_read(&c, a.file) && config_check(&c)) {
        switch (a.mode) {
        case MODE_RUN:
            status = run(&c, &sockets, a.foreground);
            break;
        case MODE_CHECK:
            status = check(&c, a.file);
            break;
        case MODE_SHOW:
            config_show(&c, stdout);
            status = 0;
            break;
        case MODE_ONESHOT:
            break; /* has returned */
        }
    }
    config_finish(&c);
    activation_finish(&sockets);
    return status;
}
