/* SPDX-License-Identifier: ISC */
#include "proxy/program.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/lookup.h"

struct question {
    const char *path;
    const char *user; /* NULL: */
    uid_t uid;
    bool change;
    bool by_name; /* also of who we stay its name is asked for */
};

struct answer {
    bool user_found, too_many_groups;
    uid_t uid;
    gid_t gid;
    gid_t groups[PROGRAM_GROUPS_MAX];
    int n_groups;
    char name[PROGRAM_NAME_MAX], home[PROGRAM_HOME_MAX];
    int error; /* why the program cannot be run by that user; 0: it can */
};

/* ---- before the fork ---- */

/* The real user counts for access(2). */
static int try_access(const struct question *q, const struct answer *a)
{
    struct stat st;
    if (q->change && (setgroups((size_t)a->n_groups, a->groups) != 0 || setgid(a->gid) != 0 ||
                      setuid(a->uid) != 0))
        return errno;
    if (stat(q->path, &st) != 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? EISDIR : EACCES;
    return access(q->path, X_OK) == 0 ? 0 : errno;
}

/* What does not fit is left out rather than cut. */
static void note_names(struct answer *out, const struct passwd *pw)
{
    if (strlen(pw->pw_name) < sizeof out->name)
        snprintf(out->name, sizeof out->name, "%s", pw->pw_name);
    if (strlen(pw->pw_dir) < sizeof out->home)
        snprintf(out->home, sizeof out->home, "%s", pw->pw_dir);
}

static void find(const void *ctx, void *result)
{
    const struct question *q = ctx;
    struct answer *out = result;
    if (!q->change && q->user == NULL) { /* we stay who we are, known by name or not */
        const struct passwd *self = q->by_name ? getpwuid(q->uid) : NULL;
        *out = (struct answer){.user_found = true, .uid = q->uid};
        if (self != NULL)
            note_names(out, self);
        out->error = try_access(q, out);
        return;
    }
    const struct passwd *pw = q->user != NULL ? getpwnam(q->user) : getpwuid(q->uid);
    if (pw == NULL)
        return;
    *out = (struct answer){.user_found = true, .uid = pw->pw_uid, .gid = pw->pw_gid};
    note_names(out, pw);
    out->n_groups = PROGRAM_GROUPS_MAX;
    out->too_many_groups = getgrouplist(pw->pw_name, pw->pw_gid, out->groups, &out->n_groups) < 0;
    if (!out->too_many_groups)
        out->error = try_access(q, out);
}

static const char *judge(const struct question *q, const struct answer *a, const char *option,
                         char *error, size_t size)
{
    const char *user = q->user != NULL ? q->user : "this user";
    if (!a->user_found) {
        if (q->user != NULL)
            snprintf(error, size, "there is no user \"%s\"", q->user);
        else
            snprintf(error, size, "there is no user with the number %u: write execUser = NAME",
                     (unsigned)q->uid);
        return "execUser";
    }
    if (a->too_many_groups) {
        snprintf(error, size, "%s is in more than %d groups", user, PROGRAM_GROUPS_MAX);
        return "execUser";
    }
    if (q->change && a->uid == 0 && (q->user == NULL || strcmp(q->user, "root") != 0)) {
        snprintf(error, size, "%s is root: if the program needs that, write execUser = root", user);
        return "execUser";
    }
    if (!q->change && a->uid != q->uid) {
        snprintf(error, size, "only root can start a program as %s: leave it out, or start as root",
                 user);
        return "execUser";
    }
    if (a->error == 0)
        return NULL;
    snprintf(error, size, "%s cannot be started by %s: %s", q->path,
             q->user != NULL ? q->user : "the user of setuid (see execUser)", strerror(a->error));
    return option;
}

/* False: the service has none. */
static bool choose(struct program *p, const struct service *s)
{
    *p = (struct program){.path = s->exec, .arguments = &s->exec_arguments};
    if (s->login_token_program != NULL) {
        p->path = arguments_first(&s->token_arguments);
        p->arguments = &s->token_arguments;
        p->purpose = PROGRAM_TOKEN;
    }
    return p->path != NULL;
}

const char *program_prepare(struct program *p, const struct service *s, const struct jail *jail,
                            char *error, size_t size)
{
    if (!choose(p, s))
        return NULL;
    bool is_token = p->purpose == PROGRAM_TOKEN;
    p->change = jail->root;
    const struct question q = {.path = p->path,
                               .user = s->exec_user,
                               .uid = jail->uid,
                               .change = p->change,
                               .by_name = is_token};
    struct answer found = {0};
    if (!lookup_apart(find, &q, &found, sizeof found)) {
        snprintf(error, size, "the user could not be looked up");
        return "execUser";
    }
    p->uid = found.uid;
    p->gid = found.gid;
    p->n_groups = found.n_groups;
    memcpy(p->groups, found.groups, sizeof p->groups);
    memcpy(p->name, found.name, sizeof p->name);
    memcpy(p->home, found.home, sizeof p->home);
    return judge(&q, &found, is_token ? "protocolTokenProgram" : "exec", error, size);
}

/* ---- behind the fork ---- */

static const char *change_user(const struct program *p)
{
    if (setgroups((size_t)p->n_groups, p->groups) != 0)
        return "setgroups";
    if (setresgid(p->gid, p->gid, p->gid) != 0)
        return "setresgid";
    if (setresuid(p->uid, p->uid, p->uid) != 0)
        return "setresuid";
    if (p->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)) {
        errno = EPERM;
        return "proof: root was regained";
    }
    return NULL;
}

const char *program_become(const struct program *p, const struct session_facts *facts)
{
    const char *values[VARIABLES] = {0};
    const char *failed = p->change ? change_user(p) : NULL;
    if (failed != NULL)
        return failed;
    if (p->purpose == PROGRAM_BACKEND)
        environment_values(facts, values);
    execve(p->path, arguments_fill(p->arguments, values),
           p->purpose == PROGRAM_BACKEND ? environment_make(values)
                                         : environment_make_user(p->name, p->home));
    return p->path;
}
