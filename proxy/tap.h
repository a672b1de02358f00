/* SPDX-License-Identifier: ISC
 *
 * A transport that shows what passes through it, line by line, to somebody who looks on. What is
 * shown is printable ASCII, and of bounded length whatever the two sides say.
 */
#ifndef PROXY_TAP_H
#define PROXY_TAP_H

#include <stdbool.h>
#include <stdio.h>

#include "protocols/wire.h"

enum {
    TAP_LINE_MAX = 512,  /* bytes of a line that are shown */
    TAP_LINES_MAX = 250, /* lines that are shown */
};

struct tap {
    FILE *out;                                        /* NULL: nobody looks on */
    size_t (*may_show)(const char *line, size_t len); /* of what we say; see struct protocol */
    struct transport inner;
    struct tap_line {
        char text[TAP_LINE_MAX];
        size_t len, left_out; /* bytes kept, and beyond them */
    } said, heard;            /* the lines that have begun */
    unsigned lines;
    bool told_secret; /* something has been said that may not be shown */
};

/* "C: " is what `may_show` permits of what is written, "S: " what is read. Whoever has been told
 * what may not be shown may repeat it: of what is read from there on only the code is shown. */
void tap_init(struct tap *t, FILE *out, size_t (*may_show)(const char *line, size_t len));

/* Puts itself between the wire and its transport, which may be another one than before. */
void tap_insert(struct tap *t, struct wire *w);

/* A remark of our own between the lines. Lines that have only begun are shown first. */
void tap_note(struct tap *t, const char *text);

/* Printable ASCII stands for itself, a backslash is doubled, any other byte is \xNN. */
void tap_put_printable(FILE *out, const char *text, size_t len);

/* The dialogue is over: shows what has only begun. */
void tap_end(struct tap *t);

#endif
