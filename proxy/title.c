/* SPDX-License-Identifier: ISC */
#include "proxy/title.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "protocols/memory.h"

extern char **environ;

static char *start;
static size_t room;

/* Arguments and environment lie behind each other in one piece that ps(1) reads. */
void title_init(int argc, char **argv)
{
    char *end = argv[0];
    for (int i = 0; i < argc; i++)
        if (argv[i] == end)
            end += strlen(end) + 1;
    for (int i = 0; environ[i] != NULL; i++) {
        if (environ[i] == end)
            end += strlen(end) + 1;
        environ[i] = memory_strdup(environ[i]);
    }
    for (int i = 1; i < argc; i++)
        argv[i] = memory_strdup(argv[i]);
    start = argv[0];
    room = (size_t)(end - start);
}

void title_set(const char *role, const char *service)
{
    if (room < 2)
        return;
    memset(start, 0, room);
    snprintf(start, room, "ehlock: %s%s%s", role, service != NULL ? " " : "",
             service != NULL ? service : "");
}
