/* SPDX-License-Identifier: ISC
 *
 * XCLIENT: whatever a backend offers and whatever the facts are, the command is one line with no
 * attribute that was not asked for. First bytes: where the facts begin.
 */
#include "fuzz.h"
#include "protocols/xclient.h"

static void read_reply(struct reply *r, const char *bytes, size_t len)
{
    while (len > 0) {
        const char *lf = memchr(bytes, '\n', len);
        size_t n = lf != NULL ? (size_t)(lf - bytes) + 1 : len;
        (void)reply_add_line(r, bytes, n);
        bytes += n;
        len -= n;
    }
}

/* A text up to the next NUL or the end, in a block of its own. */
static char *take_text(const uint8_t **data, size_t *size)
{
    const uint8_t *nul = *size > 0 ? memchr(*data, 0, *size) : NULL;
    size_t len = nul != NULL ? (size_t)(nul - *data) : *size;
    char *text = calloc(1, len + 1);
    must(text != NULL, "there is memory");
    if (len > 0)
        memcpy(text, *data, len);
    len += nul != NULL;
    *data += len;
    *size -= len;
    return text;
}

static void check_command(const char *out, size_t len)
{
    must(len <= XCLIENT_MAX, "the command has at most 512 bytes");
    must(strlen(out) == len, "there is no NUL in it");
    must(strncmp(out, "XCLIENT ADDR=", 13) == 0, "it begins with the address");
    must(strcmp(out + len - 2, "\r\n") == 0, "it ends with CRLF");
    for (size_t i = 0; i < len - 2; i++)
        must(out[i] >= ' ' && out[i] <= '~', "it is printable");
    size_t blanks = 0, equals = 0;
    for (size_t i = 0; i < len; i++) {
        blanks += out[i] == ' ';
        equals += out[i] == '=';
    }
    must(blanks == equals && blanks <= XCLIENT_ATTRIBUTES, "it holds attributes and nothing else");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reply r = {0};
    struct xclient_offer offer;
    char *texts[6], out[XCLIENT_MAX + 1];
    const char *why;
    char *list = take_text(&data, &size);
    for (size_t i = 0; i < 6; i++)
        texts[i] = take_text(&data, &size);
    const struct xclient_facts facts = {texts[0], texts[1], texts[2], texts[3], texts[4], texts[5]};
    read_reply(&r, list, strlen(list));
    if (!xclient_read_offer(&r, &offer))
        for (size_t i = 0; i < XCLIENT_ATTRIBUTES; i++)
            must(!offer.takes[i], "nothing is taken where nothing is offered");
    size_t len = xclient_write(&offer, &facts, out, &why);
    must((len == 0) == (why != NULL), "there is a command or a reason");
    must(len == 0 || offer.takes[XCLIENT_ADDR], "the address is never sent unasked");
    if (len > 0)
        check_command(out, len);
    for (size_t i = 0; i < 6; i++)
        free(texts[i]);
    free(list);
    reply_finish(&r);
    return 0;
}
