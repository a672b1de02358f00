/* SPDX-License-Identifier: ISC */
#include "proxy/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy/lookup.h"

struct names {
    const char *user, *group;
};

struct numbers {
    int error; /* why nothing could be found out; 0: it could */
    bool user_found, group_found;
    uid_t uid;
    gid_t gid;
};

/* Other values of errno are getpwnam's ways to say that there is no such user. */
static bool is_lack(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM;
}

static void find_numbers(const void *ctx, void *result)
{
    const struct names *names = ctx;
    struct numbers *out = result;
    errno = 0;
    const struct passwd *pw = getpwnam(names->user != NULL ? names->user : "ehlock");
    if (pw == NULL && names->user == NULL && !is_lack(errno))
        pw = getpwnam("nobody");
    if (pw == NULL) {
        out->error = is_lack(errno) ? errno : 0;
        return;
    }
    *out = (struct numbers){
        .user_found = true, .group_found = true, .uid = pw->pw_uid, .gid = pw->pw_gid};
    if (names->group == NULL)
        return;
    const struct group *gr = getgrnam(names->group);
    out->group_found = gr != NULL;
    if (gr != NULL)
        out->gid = gr->gr_gid;
}

/* Most users are in the file, and reading that needs no libraries, no network and no process of its
 * own, which counts where every session is a new start. */
static bool find_in_files(const struct names *names, struct numbers *out)
{
    const char *user = names->user != NULL ? names->user : "ehlock";
    struct passwd *pw = NULL;
    FILE *f = names->group == NULL ? fopen("/etc/passwd", "re") : NULL;
    while (f != NULL && (pw = fgetpwent(f)) != NULL && strcmp(pw->pw_name, user) != 0)
        continue;
    if (f != NULL)
        fclose(f);
    if (pw != NULL)
        *out = (struct numbers){
            .user_found = true, .group_found = true, .uid = pw->pw_uid, .gid = pw->pw_gid};
    return pw != NULL;
}

static const char *find_user(struct jail *j, const char *user, const char *group, char *error,
                             size_t size)
{
    const struct names names = {.user = user, .group = group};
    struct numbers found = {0};
    errno = 0;
    if (!find_in_files(&names, &found) && !lookup_apart(find_numbers, &names, &found, sizeof found))
        found.error = errno;
    if (found.error != 0) {
        snprintf(error, size, "the user cannot be looked up: %s", strerror(found.error));
        return "setuid";
    }
    if (!found.user_found) {
        snprintf(error, size, "there is no user \"%s\"", user != NULL ? user : "nobody");
        return "setuid";
    }
    if (!found.group_found) {
        snprintf(error, size, "there is no group \"%s\"", group);
        return "setgid";
    }
    if (found.uid == 0) {
        snprintf(error, size, "processes that talk to strangers must not be root");
        return "setuid";
    }
    j->uid = found.uid;
    j->gid = found.gid;
    return NULL;
}

/* A directory that has been removed stays usable, and can hold nothing for ever. */
static int open_empty_directory(void)
{
    char path[] = "/tmp/ehlock-XXXXXX";
    if (mkdtemp(path) == NULL)
        return -1;
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (chmod(path, 0555) != 0 || rmdir(path) != 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

const char *jail_prepare(struct jail *j, const char *user, const char *group, const char *directory,
                         char *error, size_t size)
{
    *j = (struct jail){.root = geteuid() == 0, .uid = getuid(), .gid = getgid(), .root_fd = -1};
    if (!j->root) {
        if (user == NULL && group == NULL && directory == NULL)
            return NULL;
        snprintf(error, size, "setuid, setgid and chroot need root");
        return user != NULL ? "setuid" : group != NULL ? "setgid" : "chroot";
    }
    const char *wrong = find_user(j, user, group, error, size);
    if (wrong != NULL)
        return wrong;
    j->given = directory != NULL;
    j->root_fd = directory != NULL ? open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC)
                                   : open_empty_directory();
    if (j->root_fd < 0)
        snprintf(error, size, "%s: %s", directory != NULL ? directory : "/tmp", strerror(errno));
    return j->root_fd >= 0 ? NULL : "chroot";
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

void jail_close_others(int *keep, size_t n)
{
    unsigned from = 3;
    qsort(keep, n, sizeof *keep, by_number);
    for (size_t i = 0; i < n; i++) {
        if (keep[i] < (int)from)
            continue;
        if (keep[i] > (int)from)
            (void)close_range(from, (unsigned)keep[i] - 1, 0);
        from = (unsigned)keep[i] + 1;
    }
    (void)close_range(from, ~0U, 0);
}

/* ---- walls ---- */

void walls_create(struct walls *w, const struct sandbox_needs *needs, char *missing,
                  size_t missing_size)
{
    char landlock[128], seccomp[128];
    w->landlock_fd = landlock_create(needs, landlock, sizeof landlock);
    w->filter = filter_create(needs, seccomp, sizeof seccomp);
    snprintf(missing, missing_size, "%s%s%s", landlock,
             landlock[0] != '\0' && seccomp[0] != '\0' ? ", " : "", seccomp);
}

void walls_destroy(struct walls *w)
{
    if (w->landlock_fd >= 0)
        close(w->landlock_fd);
    filter_destroy(w->filter);
    *w = (struct walls){.landlock_fd = -1};
}

/* ---- the descent ---- */

static bool limit(int what, rlim_t n)
{
    const struct rlimit r = {.rlim_cur = n, .rlim_max = n};
    return setrlimit(what, &r) == 0;
}

/* Who may not raise the limit has to live with the one that was set for the whole program. */
static bool limit_fds(rlim_t n)
{
    struct rlimit r;
    return limit(RLIMIT_NOFILE, n) || (errno == EPERM && getrlimit(RLIMIT_NOFILE, &r) == 0 &&
                                       limit(RLIMIT_NOFILE, r.rlim_max));
}

/* Children of an ordinary user count with all processes of that user, and a user of many services
 * may have some. Where root may not lift that, it stays. */
static bool set_limits(const struct descent *d)
{
    if (d->forks)
        (void)limit(RLIMIT_NPROC, RLIM_INFINITY);
    return limit(RLIMIT_CORE, 0) && limit_fds(d->max_fds) &&
           (d->max_memory == 0 || limit(RLIMIT_DATA, d->max_memory));
}

static const char *become(const struct jail *j)
{
    if (setgroups(0, NULL) != 0)
        return "setgroups";
    if (setresgid(j->gid, j->gid, j->gid) != 0)
        return "setresgid";
    if (setresuid(j->uid, j->uid, j->uid) != 0)
        return "setresuid";
    if (setuid(0) == 0 || setgid(0) == 0 || seteuid(0) == 0 || chroot("/") == 0)
        return "proof: root was regained";
    return NULL;
}

/* Without root there may still be rights that a service manager has lent (AmbientCapabilities=). */
static bool give_back_capabilities(void)
{
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {0};
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
           syscall(SYS_capset, &h, none) == 0;
}

static bool can_read_directories(void)
{
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* `forks`: its children use the rules again. */
static const char *enter_walls(const struct walls *w, bool forks)
{
    if (!landlock_enter(w->landlock_fd))
        return "Landlock";
    if (w->landlock_fd >= 0) {
        if (can_read_directories())
            return "proof: Landlock does not hold";
        if (!forks)
            close(w->landlock_fd);
    }
    if (!filter_enter(w->filter, JAIL_EXIT_ASTRAY))
        return "seccomp";
    return filter_prove(w->filter);
}

const char *jail_enter(const struct jail *j, const struct descent *d)
{
    bool chrooted = (!d->no_chroot || j->given) && j->root_fd >= 0;
    if (chrooted && (fchdir(j->root_fd) != 0 || chroot(".") != 0))
        return "chroot";
    jail_close_others(d->keep, d->n_keep); /* the way back through root_fd goes here */
    if (!set_limits(d))
        return "setrlimit";
    if (j->root) {
        const char *failed = become(j);
        if (failed != NULL)
            return failed;
    }
    if (!give_back_capabilities())
        return "capset";
    if (chrooted && !j->given && access("/etc/passwd", F_OK) == 0)
        return "proof: files are still there";
    /* Behind setresuid(2), which would undo the first two. */
    if (prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || (!d->forks && !limit(RLIMIT_NPROC, 0)))
        return "prctl";
    return enter_walls(d->walls, d->forks);
}

static bool can_have_children(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid > 0;
}

/* Siblings in one domain of Landlock could send each other signals, so each has one of its own. */
const char *jail_inherit(const struct walls *w)
{
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || !limit(RLIMIT_NPROC, 0))
        return "prctl";
    if (!landlock_enter(w->landlock_fd))
        return "Landlock";
    if (w->landlock_fd >= 0)
        close(w->landlock_fd);
    return can_have_children() ? "proof: there can be children" : NULL;
}
