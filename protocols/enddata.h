/* SPDX-License-Identifier: ISC
 *
 * Finds the end of mail data: CRLF.CRLF and nothing else (RFC 5321 §4.1.1.4), in blocks of any
 * size, so that no two programs behind each other can disagree about where a message ends.
 * Pure: no reading and no writing.
 */
#ifndef PROTOCOLS_ENDDATA_H
#define PROTOCOLS_ENDDATA_H

#include <stdbool.h>
#include <stddef.h>

enum bare_newline {
    BARE_NEWLINE_REFUSE,    /* a look-alike of the end ends the session; the rest passes */
    BARE_NEWLINE_NORMALIZE, /* bare LF becomes CRLF, bare CR and NUL a blank, look-alikes are
                               stuffed */
    BARE_NEWLINE_PASS,      /* every byte passes; only CRLF.CRLF ends the message */
};

enum enddata_found {
    ENDDATA_MORE,      /* not yet: give further bytes */
    ENDDATA_COMPLETE,  /* the bytes passed end with CRLF.CRLF */
    ENDDATA_LOOKALIKE, /* a dot alone on a "line" that some MTA would take for the end */
};

/* Begins as after the CRLF of the DATA command. `prev` holds the last two bytes that passed. */
struct enddata {
    enum bare_newline mode;
    unsigned char prev[2];
    bool made_newline; /* NORMALIZE: the CRLF in `prev` was a bare LF */
};
void enddata_init(struct enddata *e, enum bare_newline mode);

/* Looks at the `len` bytes and sets *pass to how many may go on unchanged.
 * ENDDATA_MORE: at most the last two bytes are held back (they may begin the end): give them
 * again, with more behind them. ENDDATA_COMPLETE: *pass includes the final CRLF.CRLF; the rest
 * is not message. ENDDATA_LOOKALIKE (mode REFUSE only): *pass is what stands before its dot.
 * For the modes REFUSE and PASS. */
enum enddata_found enddata_scan(struct enddata *e, const char *data, size_t len, size_t *pass);

/* The same for mode NORMALIZE, which changes bytes: reads at most `len`, writes to `out` at most
 * 2 * len + 2 bytes, sets *used and *written. */
enum enddata_found enddata_normalize(struct enddata *e, const char *data, size_t len, size_t *used,
                                     char *out, size_t *written);

#endif
