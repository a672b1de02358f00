/* SPDX-License-Identifier: ISC
 *
 * Lines of a wire whose transport gives its bytes in pieces. The first byte is the size of the
 * pieces, the second says how many bytes of instructions follow; the rest is what the peer sends.
 */
#include <fcntl.h>
#include <unistd.h>

#include "fuzz.h"
#include "protocols/wire.h"

struct peer {
    const char *data;
    size_t size, position, piece;
};

static ssize_t peer_read(void *ctx, void *buf, size_t len)
{
    struct peer *p = ctx;
    size_t n = p->size - p->position;
    if (n > p->piece)
        n = p->piece;
    if (n > len)
        n = len;
    memcpy(buf, p->data + p->position, n);
    p->position += n;
    return (ssize_t)n;
}

static bool never_pending(void *ctx)
{
    (void)ctx;
    return false;
}

static int nothing_to_flush(void *ctx)
{
    (void)ctx;
    return 0;
}

/* Where the user of the wire has got to: what the peer sent, less what the wire still holds. */
static size_t place(const struct peer *p, const struct wire *w)
{
    must(w->received == p->position, "bytes are counted as they come");
    return p->position - wire_buffered(w, NULL);
}

static enum wire_status want_line(const char *rest, size_t left, size_t max, size_t *len)
{
    const char *lf = left > 0 ? memchr(rest, '\n', left < max ? left : max) : NULL;
    *len = lf != NULL ? (size_t)(lf - rest) + 1 : 0;
    if (lf != NULL)
        return WIRE_OK;
    return left >= max ? WIRE_TOOLONG : left > 0 ? WIRE_TRUNCATED : WIRE_EOF;
}

static enum wire_status check_line(const struct peer *p, struct wire *w, size_t max)
{
    struct line line;
    size_t at = place(p, w), len;
    const char *rest = p->data + at;
    enum wire_status want = want_line(rest, p->size - at, max, &len);
    enum wire_status got = wire_getline(w, max, WIRE_FOREVER, &line);
    must(got == want, "a line ends as what was sent shows it");
    must(place(p, w) == at + len, "a line is consumed whole or not at all");
    if (got != WIRE_OK)
        return got;
    must(is_same(line.data, line.len, rest, len), "a line is given as it was sent");
    must(line.crlf == (len >= 2 && rest[len - 2] == '\r'), "CRLF is told from LF");
    must(line.text_len == len - 1 - line.crlf, "the text is the line without its end");
    return got;
}

static enum wire_status check_skip(const struct peer *p, struct wire *w, size_t max)
{
    size_t at = place(p, w), left = p->size - at;
    const char *lf = left > 0 ? memchr(p->data + at, '\n', left) : NULL;
    enum wire_status got = wire_skip_line(w, max, WIRE_FOREVER);
    must(got != WIRE_OK || (lf != NULL && place(p, w) == (size_t)(lf - p->data) + 1),
         "a line is skipped up to its end");
    must(got != WIRE_EOF || lf == NULL, "no end is found before the end");
    must(got != WIRE_TOOLONG || left >= max, "a line that is too long is long");
    return got;
}

static enum wire_status obey(const struct peer *p, struct wire *w, unsigned instruction)
{
    size_t max = (size_t)(instruction >> 2) + 1;
    switch (instruction & 3) {
    case 0:
        wire_consume(w, wire_buffered(w, NULL) < max ? wire_buffered(w, NULL) : max);
        return WIRE_OK;
    case 1:
        return check_skip(p, w, max * 16);
    case 2:
        if (max == 64)
            wire_expect_bulk(w);
        return check_line(p, w, max == 64 ? WIRE_BUFFER : max);
    default:
        return check_line(p, w, max * 16);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece = take_byte(&data, &size) + 1, count = take_byte(&data, &size) % 32;
    if (count > size)
        count = size;
    struct peer p = {.data = (const char *)data + count, .size = size - count, .piece = piece};
    struct transport t = {.ctx = &p,
                          .fd = open("/dev/null", O_RDONLY | O_CLOEXEC), /* always readable */
                          .read = peer_read,
                          .flush = nothing_to_flush,
                          .pending = never_pending};
    struct wire w;
    wire_init(&w, &t, -1);
    enum wire_status status = WIRE_OK;
    for (size_t i = 0; i < count && status != WIRE_EOF; i++)
        status = obey(&p, &w, data[i]);
    wire_finish(&w);
    close(t.fd);
    return 0;
}
