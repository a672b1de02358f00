/* SPDX-License-Identifier: ISC
 *
 * The end of a message, given in pieces of any size: it is found where the whole shows it, and
 * nothing passes that another program could take for it. The first byte chooses the mode, the
 * second the pieces.
 */
#include "fuzz.h"
#include "protocols/enddata.h"

static bool is_lineish(char c)
{
    return c == '\r' || c == '\n' || c == '\0';
}

/* The byte `back` places before the i-th; CRLF stands before the first. */
static char before(const char *data, size_t i, size_t back)
{
    return i >= back ? data[i - back] : "\r\n"[2 + i - back];
}

/* Where the whole message ends, or where a look-alike stands if they count. */
static enum enddata_found find_end(const char *data, size_t len, bool refuse, size_t *pass)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != '.' || !is_lineish(before(data, i, 1)))
            continue;
        bool crlf = before(data, i, 1) == '\n' && before(data, i, 2) == '\r';
        *pass = i + 3;
        if (crlf && i + 2 < len && data[i + 1] == '\r' && data[i + 2] == '\n')
            return ENDDATA_COMPLETE;
        bool open = i + 1 == len || (crlf && data[i + 1] == '\r' && i + 2 == len);
        *pass = i;
        if (open) /* held back until more is there */
            return ENDDATA_MORE;
        if (refuse && is_lineish(data[i + 1]))
            return ENDDATA_LOOKALIKE;
    }
    *pass = len;
    return ENDDATA_MORE;
}

/* As the wire does it: what was held back comes again, with a piece more behind it. */
static enum enddata_found scan(const char *data, size_t len, enum bare_newline mode, size_t step,
                               size_t *passed)
{
    struct enddata e;
    size_t have = 0, pass;
    enum enddata_found found = ENDDATA_MORE;
    enddata_init(&e, mode);
    *passed = 0;
    while (found == ENDDATA_MORE && have < len) {
        have = len - have < step ? len : have + step;
        char *piece = copy_exactly(data + *passed, have - *passed);
        found = enddata_scan(&e, piece, have - *passed, &pass);
        free(piece);
        must(pass <= have - *passed, "no more passes than was given");
        must(found != ENDDATA_MORE || have - *passed - pass <= 2,
             "two bytes at most are held back");
        *passed += pass;
    }
    return found;
}

static enum enddata_found normalize(const char *data, size_t len, size_t step, char *out,
                                    size_t *written)
{
    struct enddata e;
    size_t have = 0, read = 0, used, n, end;
    enum enddata_found found = ENDDATA_MORE;
    enddata_init(&e, BARE_NEWLINE_NORMALIZE);
    *written = 0;
    while (found == ENDDATA_MORE && have < len) {
        have = len - have < step ? len : have + step;
        size_t given = have - read;
        char *piece = copy_exactly(data + read, given), *made = malloc(2 * given + 2);
        found = enddata_normalize(&e, piece, given, &used, made, &n);
        must(used <= given && n <= 2 * given + 2, "no more is used and written than is allowed");
        must(found != ENDDATA_MORE || given - used <= 2, "two bytes at most are held back");
        memcpy(out + *written, made, n);
        free(piece);
        free(made);
        read += used;
        *written += n;
    }
    must((found == ENDDATA_COMPLETE) == (find_end(data, len, false, &end) == ENDDATA_COMPLETE) &&
             (found != ENDDATA_COMPLETE || read == end),
         "only CRLF.CRLF ends the message");
    return found;
}

static void check_scan(const char *data, size_t len, enum bare_newline mode, size_t step)
{
    size_t passed, want_passed;
    enum enddata_found want = find_end(data, len, mode == BARE_NEWLINE_REFUSE, &want_passed);
    enum enddata_found found = scan(data, len, mode, step, &passed);
    must(found == want && passed == want_passed, "the end is found where the whole shows it");
}

static void check_normalize(const char *data, size_t len, size_t step)
{
    char *out = malloc(2 * len + 3), *again = malloc(4 * len + 9);
    size_t written, n, end;
    enum enddata_found found = normalize(data, len, step, out, &written);
    must(normalize(data, len, len, again, &n) == found && is_same(out, written, again, n),
         "pieces give what the whole gives");
    for (size_t i = 0; i < written; i++) {
        must(out[i] != '\0', "no NUL is written");
        must(out[i] != '\n' || (i > 0 && out[i - 1] == '\r'), "no bare LF is written");
        must(out[i] != '\r' || (i + 1 < written && out[i + 1] == '\n'), "no bare CR is written");
    }
    must(find_end(out, written, true, &end) == found && end == written,
         "what is written ends where it ends for the strictest reader");
    must(normalize(out, written, written, again, &n) == found && is_same(out, written, again, n),
         "what was normalized stays as it is");
    free(out);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned mode = take_byte(&data, &size) % 3;
    size_t step = take_byte(&data, &size) + 1;
    if (mode == BARE_NEWLINE_NORMALIZE)
        check_normalize((const char *)data, size, step);
    else
        check_scan((const char *)data, size, (enum bare_newline)mode, step);
    return 0;
}
