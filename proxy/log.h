/* SPDX-License-Identifier: ISC
 *
 * The only sink. One line a call; whatever peers may have put into it is made printable here.
 * Nothing here waits for long: what syslogd, a full disk, or the reader of a pipe does not take is
 * lost.
 */
#ifndef PROXY_LOG_H
#define PROXY_LOG_H

#include <stdbool.h>
#include <syslog.h>

struct log_settings {
    int level;         /* LOG_EMERG .. LOG_DEBUG: what is more than this is dropped */
    int facility;      /* LOG_DAEMON, ... */
    const char *ident; /* copied, as is `file` */
    bool to_stderr;    /* with the process id and the word for the level */
    bool to_syslog;    /* the connection is made at once, before any chroot */
    const char *file;  /* appended to; NULL: none */
    bool overwrite;    /* empty the file first */
};

/* Until this is called everything up to LOG_NOTICE goes to standard error. Returns 0, or -1 and
 * errno when the file cannot be opened (nothing has changed then). */
int log_open(const struct log_settings *settings);

/* Opens the file anew, after a rotation. Returns as log_open. */
int log_reopen(void);

/* For the master, about once a second: connects to syslogd if it was not there, or is a new one.
 * True: the connection is new, and processes that were forked before do not have it. */
bool log_follow_syslog(void);

/* For a process that is about to be jailed: a connection to syslogd that the others do not have.
 * Whoever has one can shut it for all who have the same. */
void log_part(void);

/* Standard error is no longer there for us: a daemon is on its own from here. */
void log_leave_stderr(void);

/* Standard error is the system's journal (JOURNAL_STREAM, systemd.exec(5)): what is also sent to
 * syslog would be there twice. */
bool log_stderr_is_journal(void);
/* How much is logged from here on; returns how much it was. */
int log_set_level(int level);
int log_level(void);

/* Descriptor of the log file or of standard error, so that a jailed process can keep it; -1. */
int log_fd(void);
/* The descriptor of the connection to syslogd, or -1. */
int log_syslog_fd(void);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same with ": " and the system's text for errno behind it; errno is kept. */
void log_error_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* log_error, then exit(status). For the world being wrong at start. */
_Noreturn void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
