/* SPDX-License-Identifier: ISC */
#include "proxy/lookup.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

bool lookup_apart(void (*work)(const void *ctx, void *result), const void *ctx, void *result,
                  size_t size)
{
    int status = -1;
    void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        work(ctx, shared);
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    bool ok = pid > 0 && status == 0;
    if (ok)
        memcpy(result, shared, size);
    munmap(shared, size);
    return ok;
}
