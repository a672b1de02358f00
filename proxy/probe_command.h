/* SPDX-License-Identifier: ISC
 *
 * The command line of ehlock probe, and the service that is made from it: line by line, so that
 * every word is understood, checked and decided upon by the code that does it for a file. With
 * --config the service is there already, and only its `connect` is replaced.
 */
#ifndef PROXY_PROBE_COMMAND_H
#define PROXY_PROBE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/config.h"

enum {
    PROBE_LINES_MAX = 64, /* options of one command */
    PROBE_HOST_MAX = 512, /* bytes of HOST:PORT, with the NUL */
};

/* One line of the configuration, and who has said it. What stands before the section may go unused:
 * a level that verifies nobody has no use for it, but we have (measure.h). */
struct probe_said {
    const char *flag, *option, *value;
    bool before_section;
};

/* Texts are borrowed from argv. */
struct probe_command {
    const char *host;             /* NULL: what the service has in connect */
    const char *config, *service; /* NULL: none */
    const char *seconds;          /* NULL: those of the service */
    struct probe_said lines[PROBE_LINES_MAX];
    size_t n_lines;
    const char *protocol; /* NULL: the default */
    bool all, brief, login;
    char destination[PROBE_HOST_MAX]; /* HOST with its port; known when it is configured */
    bool skips_login; /* the service would log in, and we do not; known when it is configured */
    int family;       /* AF_UNSPEC: both */
    unsigned days;    /* that the certificates have to be valid for */
};

/* 0, or the exit status: the command cannot be understood, which has been told. Exits after --help.
 */
int probe_command_parse(int argc, char **argv, struct probe_command *out);

/* 0: `c`, which has been initialised, is read and checked, and its `only` is the service. Otherwise
 * the exit status, and everything has been told. */
int probe_command_configure(struct config *c, struct probe_command *command);

#endif
