/* SPDX-License-Identifier: ISC
 *
 * The arguments of a program as the configuration writes them: words with the quotes of a shell,
 * and ${NAME} for what is known only when a session begins. Nothing else of a shell is here: no
 * commands, no patterns, no other variables. Pure.
 */
#ifndef PROXY_ARGUMENTS_H
#define PROXY_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

struct argument_part {
    char *text;   /* as it is; NULL: a value, */
    size_t value; /* that of names[value] */
};

struct argument {
    struct argument_part *parts;
    size_t count; /* 0: the empty word */
};

struct argument_list {
    struct argument *items;
    size_t count;
};

/* Splits the text into words. Blanks and tabs part them; '...' keeps everything, "..." everything
 * but \", \\, \$, \` and ${NAME}; a backslash elsewhere keeps the byte behind it. ${NAME} must be
 * one of `names` (NULL behind the last); a $ without braces is an error, so that nobody takes it
 * for a variable. False: `error` says what is wrong, and there is nothing to finish. */
bool arguments_parse(struct argument_list *a, const char *text, const char *const *names,
                     char *error, size_t error_size);

/* One word, exactly as it is. */
void arguments_set(struct argument_list *a, const char *word);

/* The first word, if it is not empty and no value is in it; NULL: it is otherwise. Borrowed. */
const char *arguments_first(const struct argument_list *a);

/* True when ${names[value]} occurs. */
bool arguments_use(const struct argument_list *a, size_t value);

/* The vector for execve(2): values[n] stands for names[n], NULL for the empty text. A value is
 * never split, and a ${...} in it is nothing special. For arguments_release. */
char **arguments_fill(const struct argument_list *a, const char *const *values);
void arguments_release(char **argv);

void arguments_finish(struct argument_list *a);

#endif
