/* SPDX-License-Identifier: ISC */
#include "proxy/tap.h"

#include <string.h>

void tap_init(struct tap *t, FILE *out, size_t (*may_show)(const char *line, size_t len))
{
    *t = (struct tap){.out = out, .may_show = may_show};
}

/* ---- showing ---- */

/* The terminal gets no byte of a peer that could mean more than itself. */
void tap_put_printable(FILE *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\\')
            fputs("\\\\", out);
        else if (c >= ' ' && c <= '~')
            putc(c, out);
        else
            fprintf(out, "\\x%02x", c);
    }
}

static bool may_go_on(struct tap *t)
{
    if (t->lines > TAP_LINES_MAX)
        return false;
    if (++t->lines <= TAP_LINES_MAX)
        return true;
    fputs("   (more is not shown)\n", t->out);
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The code of a reply (RFC 5321 §4.2), of which all is known that it can be. */
static size_t code_length(const char *text, size_t len)
{
    bool is_reply = len >= 3 && text[0] >= '2' && text[0] <= '5' && is_digit(text[1]) &&
                    is_digit(text[2]) && (len == 3 || text[3] == ' ' || text[3] == '-');
    return !is_reply ? 0 : len > 3 && text[3] == '-' ? 4 : 3;
}

/* How many of the first `len` bytes, which are the line without its end. */
static size_t may_show(const struct tap *t, const struct tap_line *line, size_t len)
{
    size_t n = len;
    if (line == &t->said)
        n = t->may_show != NULL ? t->may_show(line->text, len) : 0;
    else if (t->told_secret)
        n = code_length(line->text, len);
    return n < len ? n : len;
}

/* Line ends are shown only where they are not CRLF. */
static void show(struct tap *t, struct tap_line *line)
{
    bool ours = line == &t->said;
    const char *how = "";
    size_t len = line->len;
    if (len > 0 && line->text[len - 1] == '\n') {
        bool crlf = len > 1 && line->text[len - 2] == '\r';
        len -= crlf ? 2 : 1;
        how = crlf ? "" : "\\n";
    } else if (line->left_out == 0) {
        how = " (no line end)";
    }
    size_t shown = may_show(t, line, len);
    if (may_go_on(t)) {
        fputs(ours ? "C: " : "S: ", t->out);
        tap_put_printable(t->out, line->text, shown);
        if (shown < len)
            fputs(" (not shown)", t->out);
        else if (line->left_out > 0)
            fprintf(t->out, "... (%zu bytes more)", line->left_out);
        else
            fputs(how, t->out);
        putc('\n', t->out);
    }
    t->told_secret = t->told_secret || (ours && shown < len);
    if (shown < len)
        explicit_bzero(line->text, line->len);
    line->len = line->left_out = 0;
}

static void show_begun(struct tap *t, struct tap_line *line)
{
    if (line->len > 0)
        show(t, line);
}

/* Who begins to speak while the other is within a line ends that line, so that the order stays. */
static void pass(struct tap *t, struct tap_line *line, const char *data, size_t len)
{
    if (t->out == NULL)
        return;
    show_begun(t, line == &t->said ? &t->heard : &t->said);
    for (size_t i = 0; i < len; i++) {
        bool end = data[i] == '\n';
        if (line->len < sizeof line->text)
            line->text[line->len++] = data[i];
        else if (!end)
            line->left_out++;
        if (end)
            show(t, line);
    }
}

void tap_end(struct tap *t)
{
    show_begun(t, &t->said);
    show_begun(t, &t->heard);
}

void tap_note(struct tap *t, const char *text)
{
    if (t->out == NULL)
        return;
    tap_end(t);
    fprintf(t->out, "   (%s)\n", text);
}

/* ---- the transport ---- */

static ssize_t tap_read(void *ctx, void *buf, size_t len)
{
    struct tap *t = ctx;
    ssize_t n = t->inner.read(t->inner.ctx, buf, len);
    if (n > 0)
        pass(t, &t->heard, buf, (size_t)n);
    return n;
}

static ssize_t tap_write(void *ctx, const void *buf, size_t len)
{
    struct tap *t = ctx;
    ssize_t n = t->inner.write(t->inner.ctx, buf, len);
    if (n > 0)
        pass(t, &t->said, buf, (size_t)n);
    return n;
}

static int tap_flush(void *ctx)
{
    struct tap *t = ctx;
    return t->inner.flush(t->inner.ctx);
}

static bool tap_pending(void *ctx)
{
    struct tap *t = ctx;
    return t->inner.pending(t->inner.ctx);
}

void tap_insert(struct tap *t, struct wire *w)
{
    const struct transport outer = {.ctx = t,
                                    .fd = w->transport.fd,
                                    .read = tap_read,
                                    .write = tap_write,
                                    .flush = tap_flush,
                                    .pending = tap_pending};
    t->inner = w->transport;
    wire_set_transport(w, &outer);
}
