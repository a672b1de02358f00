/* SPDX-License-Identifier: ISC
 *
 * The option table: one row an option. Parser, --help, --show-config, the check against the
 * manual page and the tests walk it.
 */
#ifndef PROXY_OPTIONS_H
#define PROXY_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

#include "proxy/config.h"

enum option_type {
    OPTION_TEXT,    /* any text, not empty */
    OPTION_FILE,    /* a path */
    OPTION_NUMBER,  /* decimal, min .. max */
    OPTION_CHOICE,  /* one of the words in `choices`, stored as its index */
    OPTION_SECRET,  /* text that is never shown, and wiped when it goes */
    OPTION_LIST,    /* text, repeatable */
    OPTION_FILES,   /* paths, repeatable */
    OPTION_INCLUDE, /* a directory of further files */
    OPTION_NOTHING, /* stunnel has it, here it is so already: accepted */
    OPTION_GONE,    /* stunnel has it, here it cannot be: an error; `help` says what to write */
};

enum option_scope { SCOPE_GLOBAL, SCOPE_SERVICE };

struct option_row {
    const char *name;
    enum option_type type;
    enum option_scope scope;
    size_t offset;       /* in struct config or struct service */
    const char *initial; /* as it would be written; NULL: not set */
    int min, max;
    const char *choices; /* words separated by blanks */
    const char *help;    /* one line */
};

/* The n-th row in the order of the table, NULL behind the last. */
const struct option_row *option_at(size_t n);
const struct option_row *option_find(const char *name); /* case-insensitive */

/* Sets the option in `base` (a struct config or struct service). Returns NULL, or what is wrong
 * with the value. `where` is copied for lists. */
const char *option_set(const struct option_row *row, void *base, const char *value,
                       const char *where);

/* Writes "name = value" lines for all rows of the scope that have a value; of a secret a
 * placeholder, which option_set refuses. */
void options_show(const void *base, enum option_scope scope, FILE *out);

/* Sets all defaults of the scope; frees what option_set has allocated; copies one service's
 * options to another, lists as inherited. */
void options_init(void *base, enum option_scope scope);
void options_finish(void *base, enum option_scope scope);
void options_inherit(struct service *to, const struct service *from);

/* Puts the directory in front of every path that does not begin with '/'. */
void options_make_absolute(void *base, enum option_scope scope, const char *directory);

/* --help: every option with its default and its line. */
void options_help(FILE *out);

#endif
