/* SPDX-License-Identifier: ISC */
#include "protocols/enddata.h"

#include <string.h>

void enddata_init(struct enddata *e, enum bare_newline mode)
{
    *e = (struct enddata){.mode = mode, .prev = {'\r', '\n'}};
}

/* Bytes that one MTA or another has taken for a line end: LF, CR, and NUL, which some drop. */
static bool is_lineish(unsigned char c)
{
    return c == '\n' || c == '\r' || c == '\0';
}

/* The byte `back` places before data[i], which may have passed in an earlier block. */
static unsigned char before(const struct enddata *e, const char *data, size_t i, size_t back)
{
    return i >= back ? (unsigned char)data[i - back] : e->prev[2 + i - back];
}

static void remember(struct enddata *e, const char *data, size_t passed)
{
    unsigned char last = before(e, data, passed, 1);
    unsigned char last_but_one = before(e, data, passed, 2);
    e->prev[0] = last_but_one;
    e->prev[1] = last;
}

/* What a dot at data[i] means. ENDDATA_MORE with *enough false: more bytes are needed to tell. */
static enum enddata_found judge_dot(const struct enddata *e, const char *data, size_t len, size_t i,
                                    bool *enough)
{
    unsigned char left = before(e, data, i, 1);
    bool after_crlf = left == '\n' && before(e, data, i, 2) == '\r';
    *enough = true;
    if (!is_lineish(left))
        return ENDDATA_MORE;
    if (i + 1 == len) {
        *enough = false;
        return ENDDATA_MORE;
    }
    unsigned char right = (unsigned char)data[i + 1];
    if (!is_lineish(right))
        return ENDDATA_MORE;
    if (right == '\r' && after_crlf) {
        if (i + 2 == len) {
            *enough = false;
            return ENDDATA_MORE;
        }
        if (data[i + 2] == '\n')
            return ENDDATA_COMPLETE;
    }
    return e->mode == BARE_NEWLINE_REFUSE ? ENDDATA_LOOKALIKE : ENDDATA_MORE;
}

/* Only a dot can matter, and base64 has none: memchr runs through large blocks at its own speed. */
enum enddata_found enddata_scan(struct enddata *e, const char *data, size_t len, size_t *pass)
{
    size_t i = 0;
    while (i < len) {
        const char *dot = memchr(data + i, '.', len - i);
        if (dot == NULL)
            break;
        bool enough;
        i = (size_t)(dot - data);
        enum enddata_found found = judge_dot(e, data, len, i, &enough);
        if (found != ENDDATA_MORE || !enough) {
            *pass = found == ENDDATA_COMPLETE ? i + 3 : i;
            remember(e, data, *pass);
            return found;
        }
        i++;
    }
    *pass = len;
    remember(e, data, len);
    return ENDDATA_MORE;
}

/* prev here holds the last two bytes *written*, so a newline that was made counts as one. */
enum enddata_found enddata_normalize(struct enddata *e, const char *data, size_t len, size_t *used,
                                     char *out, size_t *written)
{
    size_t i = 0, n = 0;
    enum enddata_found found = ENDDATA_MORE;

    while (i < len && found == ENDDATA_MORE) {
        char c = data[i];
        bool line_start = e->prev[0] == '\r' && e->prev[1] == '\n';
        size_t left = len - i;
        size_t from = n;
        if (c == '.' && line_start) {
            if (left < 2 || (data[i + 1] == '\r' && left < 3))
                break;
            bool lone = data[i + 1] == '\n' || data[i + 1] == '\r' || data[i + 1] == '\0';
            if (data[i + 1] == '\r' && data[i + 2] == '\n' && !e->made_newline) {
                memcpy(out + n, ".\r\n", 3);
                n += 3;
                i += 3;
                found = ENDDATA_COMPLETE;
            } else {
                if (lone)
                    out[n++] = '.';
                out[n++] = '.';
                i++;
            }
        } else if (c == '\n') {
            out[n++] = '\r';
            out[n++] = '\n';
            i++;
            e->made_newline = true;
        } else if (c == '\r') {
            if (left < 2)
                break;
            if (data[i + 1] == '\n') {
                out[n++] = '\r';
                out[n++] = '\n';
                i += 2;
                e->made_newline = false;
            } else {
                out[n++] = ' ';
                i++;
            }
        } else {
            out[n++] = c != '\0' ? c : ' ';
            i++;
        }
        for (size_t k = from; k < n; k++) {
            e->prev[0] = e->prev[1];
            e->prev[1] = (unsigned char)out[k];
        }
    }
    *used = i;
    *written = n;
    return found;
}
