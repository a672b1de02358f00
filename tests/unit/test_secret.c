/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/secret.h"

enum { MAX = 8 };

static const struct file_case {
    const char *name;
    struct bytes content;
    const char *want, *why; /* one of them */
} file_cases[] = {
    {"a line", B("sesame\n"), "sesame", NULL},
    {"without an end", B("sesame"), "sesame", NULL},
    {"with CRLF", B("sesame\r\n"), "sesame", NULL},
    {"blanks belong to it", B(" a b \n"), " a b ", NULL},
    {"UTF-8", B("p\xc3\xa4ss\n"), "p\xc3\xa4ss", NULL},
    {"longest", B("12345678"), "12345678", NULL},
    {"longest with CRLF", B("12345678\r\n"), "12345678", NULL},
    {"too long", B("123456789"), NULL, "holds more than 8 bytes"},
    {"too long with CRLF", B("123456789\r\n"), NULL, "holds more than 8 bytes"},
    {"much too long", B("12345678123456781234567812345678"), NULL, "holds more than 8 bytes"},
    {"empty", B(""), NULL, "holds nothing"},
    {"an end alone", B("\r\n"), NULL, "holds nothing"},
    {"two lines", B("a\nb\n"), NULL, "has more than one line"},
    {"two ends", B("a\n\n"), NULL, "has more than one line"},
    {"NUL", B("a\0b\n"), NULL, "control characters"},
    {"tab", B("a\tb\n"), NULL, "control characters"},
    {"DEL", B("a\x7f\n"), NULL, "control characters"},
};

static void file_is_read(void **state)
{
    const struct file_case *c = *state;
    char path[] = "/tmp/test_secret-XXXXXX", error[300] = "";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, c->content.data, c->content.len), (ssize_t)c->content.len);
    close(fd);
    struct secret *s = secret_read(path, MAX, SECRET_LINE, error, sizeof error);
    unlink(path);
    assert_int_equal(s != NULL, c->want != NULL);
    if (s != NULL)
        assert_string_equal(secret_text(s), c->want);
    else
        assert_non_null(strstr(error, c->why));
    assert_null(strstr(error, "1234"));
    secret_destroy(s);
}

static void file_that_is_not_there_is_told(void **state)
{
    char error[300];
    (void)state;
    assert_null(secret_read("/nonexistent", MAX, SECRET_LINE, error, sizeof error));
    assert_string_equal(error, "cannot read /nonexistent: No such file or directory");
    assert_null(secret_read("/", MAX, SECRET_LINE, error, sizeof error));
    assert_string_equal(error, "cannot read /: Is a directory");
}

static void word_has_no_blanks(void **state)
{
    char error[100] = "";
    (void)state;
    assert_null(secret_from_line("a b\n", 4, MAX, SECRET_WORD, error, sizeof error));
    assert_string_equal(error, "has blanks in its line: an access token has none");
    struct secret *s = secret_from_line("a.b\r\n", 5, MAX, SECRET_WORD, error, sizeof error);
    assert_string_equal(secret_text(s), "a.b");
    secret_destroy(s);
}

/* What was not read to its end could have a good beginning. */
static void cut_line_is_too_long(void **state)
{
    static const char text[] = "12345678\r\n\n";
    char error[100] = "";
    (void)state;
    assert_int_equal(secret_line_size(MAX), sizeof text - 1);
    assert_null(secret_from_line(text, sizeof text - 1, MAX, SECRET_LINE, error, sizeof error));
    assert_string_equal(error, "holds more than 8 bytes");
}

/* Looks in a child; the signal that ends it, or 0. */
static int look(const struct secret *s)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(strcmp(secret_text(s), "sesame") == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static void children_have_it_only_when_they_shall(void **state)
{
    struct secret *s = secret_create("sesame", 6);
    (void)state;
    assert_int_equal(look(s), SIGSEGV);
    secret_share(s, true);
    assert_int_equal(look(s), 0);
    secret_share(s, false);
    assert_int_equal(look(s), SIGSEGV);
    secret_destroy(s);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, file_is_read, file_cases);
    unit_add(&u, "no file", file_that_is_not_there_is_told, NULL);
    unit_add(&u, "a word", word_has_no_blanks, NULL);
    unit_add(&u, "a line that was cut", cut_line_is_too_long, NULL);
    unit_add(&u, "children", children_have_it_only_when_they_shall, NULL);
    return unit_run(&u, "secret");
}
