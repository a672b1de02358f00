/* SPDX-License-Identifier: ISC */
#include "proxy/child.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "proxy/log.h"

void child_default_signals(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t none;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], signals[i] == SIGTERM ? SIG_DFL : SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void child_detach(bool background)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (background) {
        log_leave_stderr();
        if (chdir("/") != 0)
            log_warn_errno("chdir");
    }
    for (int i = STDIN_FILENO; fd >= 0 && i <= (background ? STDERR_FILENO : STDOUT_FILENO); i++)
        dup2(fd, i);
    if (fd > STDERR_FILENO)
        close(fd);
}

void child_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
