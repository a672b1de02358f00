/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/log.h"

struct place {
    char directory[64], file[96], moved[96];
};

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    strcpy(p->directory, "/tmp/ehlock-test-log-XXXXXX");
    if (mkdtemp(p->directory) == NULL)
        return -1;
    snprintf(p->file, sizeof p->file, "%s/log", p->directory);
    snprintf(p->moved, sizeof p->moved, "%s/log.1", p->directory);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    const struct log_settings quiet = {.level = LOG_NOTICE, .ident = "ehlock"};
    log_open(&quiet); /* closes the file */
    unlink(p->file);
    unlink(p->moved);
    rmdir(p->directory);
    free(p);
    return 0;
}

static struct log_settings to_file(const struct place *p, int level)
{
    return (struct log_settings){
        .level = level, .facility = LOG_MAIL, .ident = "test", .file = p->file};
}

/* The whole file; the caller frees. */
static char *content(const char *file)
{
    char *text = calloc(1, 16384);
    int fd = open(file, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, text, 16383) >= 0);
    close(fd);
    return text;
}

/* The text behind time, name, process number and level of the only line. */
static char *only_line(const struct place *p, const char *level)
{
    char prefix[64];
    char *all = content(p->file);
    snprintf(prefix, sizeof prefix, " test[%d]: %s: ", (int)getpid(), level);
    char *text = strstr(all, prefix);
    if (text == NULL)
        fail_msg("no \"%s\" in \"%s\"", prefix, all);
    char *out = strdup(text + strlen(prefix));
    char *lf = strchr(out, '\n');
    assert_non_null(lf);
    assert_string_equal(lf, "\n"); /* one line, and its end */
    *lf = '\0';
    free(all);
    return out;
}

static const struct print_case {
    const char *name, *text, *want;
} print_cases[] = {
    {"plain", "client=192.0.2.1:25 outcome=done", "client=192.0.2.1:25 outcome=done"},
    {"line feed cannot begin a line of its own", "a\nerror: b", "a?error: b"},
    {"carriage return", "a\rb", "a?b"},
    {"tab", "a\tb", "a?b"},
    {"escape sequence", "\x1b[31mred", "?[31mred"},
    {"delete", "a\x7f", "a?"},
    {"bytes above 127", "\xc3\xa4\x9b", "???"},
    {"percent is no format", "%s%n%%", "%s%n%%"},
    {"printable ends", " ~", " ~"},
};

static void text_is_made_printable(void **state)
{
    const struct print_case *c = *state;
    struct place *p = NULL;
    assert_int_equal(set_up((void **)&p), 0);
    const struct log_settings s = to_file(p, LOG_INFO);
    assert_int_equal(log_open(&s), 0);
    log_info("%s", c->text);
    char *line = only_line(p, "info");
    assert_string_equal(line, c->want);
    free(line);
    tear_down((void **)&p);
}

static void what_is_above_the_level_is_dropped(void **state)
{
    struct place *p = *state;
    const struct log_settings s = to_file(p, LOG_WARNING);
    assert_int_equal(log_open(&s), 0);
    log_debug("no");
    log_info("no");
    log_notice("no");
    log_warn("yes");
    char *line = only_line(p, "warning");
    assert_string_equal(line, "yes");
    free(line);
}

static void errno_is_told_and_kept(void **state)
{
    struct place *p = *state;
    const struct log_settings s = to_file(p, LOG_INFO);
    assert_int_equal(log_open(&s), 0);
    errno = ENOENT;
    log_error_errno("open %s", "x");
    assert_int_equal(errno, ENOENT);
    char *line = only_line(p, "error");
    assert_string_equal(line, "open x: No such file or directory");
    free(line);
}

static void long_text_is_cut_to_one_line(void **state)
{
    struct place *p = *state;
    const struct log_settings s = to_file(p, LOG_INFO);
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(log_open(&s), 0);
    errno = EIO;
    log_error_errno("%s", text);
    char *line = only_line(p, "error");
    assert_in_range(strlen(line), 2000, 2047);
    free(line);
}

static void file_is_appended_to_or_emptied(void **state)
{
    struct place *p = *state;
    struct log_settings s = to_file(p, LOG_INFO);
    assert_int_equal(log_open(&s), 0);
    log_info("first");
    assert_int_equal(log_open(&s), 0);
    log_info("second");
    char *all = content(p->file);
    assert_non_null(strstr(all, "first\n"));
    assert_non_null(strstr(all, "second\n"));
    free(all);
    s.overwrite = true;
    assert_int_equal(log_open(&s), 0);
    log_info("third");
    char *line = only_line(p, "info");
    assert_string_equal(line, "third");
    free(line);
}

static void file_that_cannot_be_opened_changes_nothing(void **state)
{
    struct place *p = *state;
    struct log_settings s = to_file(p, LOG_INFO), bad = {.file = "/nonexistent/log", .ident = "x"};
    assert_int_equal(log_open(&s), 0);
    assert_int_equal(log_open(&bad), -1);
    assert_int_equal(errno, ENOENT);
    log_info("still here");
    char *line = only_line(p, "info");
    assert_string_equal(line, "still here");
    free(line);
}

static void reopening_follows_a_rotation(void **state)
{
    struct place *p = *state;
    const struct log_settings s = to_file(p, LOG_INFO);
    assert_int_equal(log_open(&s), 0);
    log_info("old");
    assert_int_equal(rename(p->file, p->moved), 0);
    log_info("still old");
    assert_int_equal(log_reopen(), 0);
    log_info("new");
    char *line = only_line(p, "info"), *moved = content(p->moved);
    assert_string_equal(line, "new");
    assert_non_null(strstr(moved, "still old\n"));
    free(line);
    free(moved);
}

static void log_file_is_not_for_everybody(void **state)
{
    struct place *p = *state;
    const struct log_settings s = to_file(p, LOG_INFO);
    struct stat st;
    mode_t old = umask(0);
    assert_int_equal(log_open(&s), 0);
    umask(old);
    assert_int_equal(stat(p->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_true(log_fd() > STDERR_FILENO);
    assert_int_equal(log_syslog_fd(), -1);
}

static void die_logs_and_exits(void **state)
{
    struct place *p = *state;
    const struct log_settings s = to_file(p, LOG_INFO);
    int status;
    assert_int_equal(log_open(&s), 0);
    pid_t pid = fork();
    if (pid == 0)
        die(78, "wrong: %d", 7);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 78);
    char *all = content(p->file);
    assert_non_null(strstr(all, "error: wrong: 7\n"));
    free(all);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, text_is_made_printable, print_cases);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_above_the_level_is_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errno_is_told_and_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_text_is_cut_to_one_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(file_is_appended_to_or_emptied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(file_that_cannot_be_opened_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(reopening_follows_a_rotation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(log_file_is_not_for_everybody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(die_logs_and_exits, set_up, tear_down),
    };
    int failed = unit_run(&u, "log: printable");
    return failed + cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
