/* SPDX-License-Identifier: ISC */
#include "proxy/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "protocols/memory.h"

enum {
    LINE_SIZE = 2048,
    PATIENCE_MS = 200, /* for somebody who does not read what we write */
};

static const char syslog_path[] = "/dev/log";

static struct log_settings settings = {
    .level = LOG_NOTICE, .facility = LOG_DAEMON, .ident = "ehlock", .to_stderr = true};
static int file_fd = -1;
static int syslog_fd = -1;
static struct stat syslog_seen; /* what syslog_path was when we connected */

/* What became of the last line that went to a descriptor. */
struct sink {
    bool stuck; /* it would have blocked */
    bool torn;  /* a part of it was written, and then the disk was full */
};
static struct sink stderr_sink, file_sink;

/* The settings' strings: a configuration that is reloaded goes, and these stay. */
static char ident[64], *file_name;

/* O_NONBLOCK is for pipes with a name. */
static int open_file(bool overwrite)
{
    const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    return open(settings.file, flags | (overwrite ? O_TRUNC : 0), 0640);
}

/* A socket of our own rather than syslog(3): it is open before the chroot and never blocks. */
static int open_syslog(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, syslog_path, sizeof syslog_path);
    if (stat(syslog_path, &syslog_seen) != 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* False: what there was stays. */
static bool renew_syslog(void)
{
    int fd = open_syslog();
    if (fd < 0)
        return false;
    if (syslog_fd >= 0)
        close(syslog_fd);
    syslog_fd = fd;
    return true;
}

int log_open(const struct log_settings *s)
{
    struct log_settings old = settings;
    int fd = -1;
    tzset(); /* gmtime(3) reads a file at its first call, and a jail has none */
    settings = *s;
    if (s->file != NULL) {
        fd = open_file(s->overwrite);
        if (fd < 0) {
            settings = old;
            return -1;
        }
    }
    if (file_fd >= 0)
        close(file_fd);
    file_fd = fd;
    if (syslog_fd >= 0)
        close(syslog_fd);
    syslog_fd = s->to_syslog ? open_syslog() : -1;
    snprintf(ident, sizeof ident, "%s", s->ident);
    free(file_name);
    file_name = s->file != NULL ? memory_strdup(s->file) : NULL;
    settings.ident = ident;
    settings.file = file_name;
    return 0;
}

int log_reopen(void)
{
    if (settings.file == NULL)
        return 0;
    int fd = open_file(false);
    if (fd < 0)
        return -1;
    close(file_fd);
    file_fd = fd;
    return 0;
}

static bool is_same_socket(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && /* numbers are used again */
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool log_follow_syslog(void)
{
    struct stat st;
    if (!settings.to_syslog || stat(syslog_path, &st) != 0 ||
        (syslog_fd >= 0 && is_same_socket(&st, &syslog_seen)))
        return false;
    return renew_syslog();
}

void log_part(void)
{
    if (syslog_fd >= 0)
        (void)renew_syslog();
}

void log_leave_stderr(void)
{
    settings.to_stderr = false;
}

bool log_stderr_is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    uintmax_t device, inode;
    struct stat st;
    return text != NULL && sscanf(text, "%ju:%ju", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

int log_level(void)
{
    return settings.level;
}

int log_set_level(int level)
{
    int old = settings.level;
    if (level != old) /* every process would have a copy of the page */
        settings.level = level;
    return old;
}

int log_fd(void)
{
    return file_fd >= 0 ? file_fd : settings.to_stderr ? STDERR_FILENO : -1;
}

int log_syslog_fd(void)
{
    return syslog_fd;
}

static const char *word(int level)
{
    static const char *const words[] = {"emerg",   "alert",  "crit", "error",
                                        "warning", "notice", "info", "debug"};
    return words[level];
}

/* Bytes that a terminal or a log reader could take for something else. */
static void make_printable(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            *text = '?';
}

/* False: a write would wait for somebody who has not read for a while, perhaps never will. */
static bool has_room(int fd, const struct sink *sink)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int ready;
    do
        ready = poll(&p, 1, sink->stuck ? 0 : PATIENCE_MS);
    while (ready < 0 && errno == EINTR);
    return ready > 0;
}

/* One write a line, so that lines of several processes do not mix. What cannot be written is lost:
 * nobody is left to be told. */
static void write_line(int fd, struct sink *sink, const char *prefix, const char *text)
{
    char line[LINE_SIZE + 136];
    int n = snprintf(line, sizeof line, "%s%s%s\n", sink->torn ? "\n" : "", prefix, text);
    sink->stuck = !has_room(fd, sink);
    if (sink->stuck || n < 0)
        return;
    ssize_t written = write(fd, line, (size_t)n);
    if (written >= 0)
        sink->torn = written < n;
}

static void write_stderr(int level, const char *text)
{
    char prefix[96];
    snprintf(prefix, sizeof prefix, "%.40s[%d]: %s: ", settings.ident, (int)getpid(), word(level));
    write_line(STDERR_FILENO, &stderr_sink, prefix, text);
}

static void write_file(int level, const char *text)
{
    char prefix[128], when[32];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm); /* local time would need files that a jail does not have */
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(prefix, sizeof prefix, "%s.%03ldZ %.40s[%d]: %s: ", when, now.tv_nsec / 1000000,
             settings.ident, (int)getpid(), word(level));
    write_line(file_fd, &file_sink, prefix, text);
}

/* RFC 3164 without the time, which syslogd knows as well. When nobody listens the line is lost, and
 * log_follow_syslog looks for a new syslogd: from inside a jail it cannot be reached. */
static void send_syslog(int level, const char *text)
{
    char line[LINE_SIZE + 128];
    int n = snprintf(line, sizeof line, "<%d>%.40s[%d]: %s", settings.facility | level,
                     settings.ident, (int)getpid(), text);
    if (n > 0 && send(syslog_fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
}

__attribute__((format(printf, 3, 0))) static void write_log(int level, int error,
                                                            const char *format, va_list ap)
{
    char text[LINE_SIZE];
    int keep = errno;
    if (level > settings.level)
        return;
    int n = vsnprintf(text, sizeof text, format, ap);
    if (n >= 0 && (size_t)n < sizeof text && error != 0)
        snprintf(text + n, sizeof text - (size_t)n, ": %s", strerror(error));
    make_printable(text);
    if (settings.to_stderr)
        write_stderr(level, text);
    if (file_fd >= 0)
        write_file(level, text);
    if (syslog_fd >= 0)
        send_syslog(level, text);
    errno = keep;
}

#define LOG_VERB(name, level, error)                                                               \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, format);                                                                      \
        write_log(level, error, format, ap);                                                       \
        va_end(ap);                                                                                \
    }

LOG_VERB(log_error, LOG_ERR, 0)
LOG_VERB(log_warn, LOG_WARNING, 0)
LOG_VERB(log_notice, LOG_NOTICE, 0)
LOG_VERB(log_info, LOG_INFO, 0)
LOG_VERB(log_debug, LOG_DEBUG, 0)
LOG_VERB(log_error_errno, LOG_ERR, errno)
LOG_VERB(log_warn_errno, LOG_WARNING, errno)
#undef LOG_VERB

_Noreturn void die(int status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    write_log(LOG_ERR, 0, format, ap);
    va_end(ap);
    exit(status);
}
