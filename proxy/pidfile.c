/* SPDX-License-Identifier: ISC */
#include "proxy/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "proxy/child.h"

int pidfile_write(const char *path, char *error, size_t error_size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) {
        snprintf(error, error_size, "pid: cannot write %s: %s", path, strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        snprintf(error, error_size, "pid: %s belongs to an ehlock that is running", path);
    else if (ftruncate(fd, 0) != 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
        snprintf(error, error_size, "pid: cannot write %s: %s", path, strerror(errno));
    else
        return fd;
    close(fd);
    return -1;
}

void pidfile_remove(const char *path, int *fd)
{
    unlink(path);
    child_close(fd);
}

pid_t pidfile_find(const char *path, char *error, size_t error_size)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        snprintf(error, error_size, "pid: cannot read %s: %s", path, strerror(errno));
        return 0;
    }
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    if (held && pid > 1)
        return (pid_t)pid;
    snprintf(error, error_size, "pid: %s was left behind: no ehlock runs", path);
    return 0;
}
