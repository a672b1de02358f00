/* SPDX-License-Identifier: ISC */
#include "proxy/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/child.h"

/* True while the path leads to the open file: somebody may have removed or replaced it. */
static bool is_named(int fd, const char *path)
{
    struct stat open_file, named;
    return fstat(fd, &open_file) == 0 && lstat(path, &named) == 0 &&
           open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

static bool lock(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_SETLK, &whole) == 0;
}

/* A file that its owner removed between our open and our lock is not the one others will see. */
static int open_locked(const char *path, char *error, size_t size)
{
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0) {
            snprintf(error, size, "pid: cannot write %s: %s", path, strerror(errno));
            return -1;
        }
        if (!lock(fd)) {
            if (errno == EAGAIN || errno == EACCES)
                snprintf(error, size, "pid: %s belongs to an ehlock that is running", path);
            else
                snprintf(error, size, "pid: cannot lock %s: %s", path, strerror(errno));
            close(fd);
            return -1;
        }
        if (is_named(fd, path))
            return fd;
        close(fd);
    }
}

int pidfile_write(const char *path, char *error, size_t error_size)
{
    int fd = open_locked(path, error, error_size);
    if (fd < 0 || (ftruncate(fd, 0) == 0 && dprintf(fd, "%d\n", (int)getpid()) > 0))
        return fd;
    snprintf(error, error_size, "pid: cannot write %s: %s", path, strerror(errno));
    pidfile_remove(path, &fd);
    return -1;
}

void pidfile_remove(const char *path, int *fd)
{
    if (*fd >= 0 && is_named(*fd, path))
        unlink(path);
    child_close(fd);
}

pid_t pidfile_find(const char *path, char *error, size_t error_size)
{
    struct flock holder = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        snprintf(error, error_size, "pid: cannot read %s: %s%s", path, strerror(errno),
                 errno == ENOENT ? ": no ehlock runs with it" : "");
        return 0;
    }
    bool known = fcntl(fd, F_GETLK, &holder) == 0;
    close(fd);
    if (known && holder.l_type == F_WRLCK && holder.l_pid > 1)
        return holder.l_pid;
    snprintf(error, error_size, "pid: %s was left behind: no ehlock runs", path);
    return 0;
}
