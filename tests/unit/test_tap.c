/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "protocols/smtp_visit.h"
#include "proxy/tap.h"

/* ---- what may be shown of a command ---- */

static const struct show_case {
    const char *name;
    struct bytes line;
    size_t want;
} show_cases[] = {
    {"EHLO whole", B("EHLO client.example"), 19},
    {"ehlo in lower case", B("ehlo x"), 6},
    {"STARTTLS", B("STARTTLS"), 8},
    {"QUIT with its line end", B("QUIT\r\n"), 6},
    {"AUTH up to the mechanism", B("AUTH PLAIN AGpvZQBzZWNyZXQ="), 10},
    {"AUTH with a tab", B("auth\tLOGIN\tc2VjcmV0"), 10},
    {"AUTH with two blanks", B("AUTH  PLAIN c2VjcmV0"), 5},
    {"AUTH alone", B("AUTH"), 0},
    {"answer to a challenge", B("c2VjcmV0"), 0},
    {"answer that begins like a command", B("QUITc2VjcmV0"), 0},
    {"command that is not known", B("XCLIENT LOGIN=joe"), 0},
    {"blank first", B(" EHLO x"), 0},
    {"empty", B(""), 0},
};

static void so_much_is_shown(void **state)
{
    const struct show_case *c = *state;
    assert_int_equal(smtp_may_show(c->line.data, c->line.len), c->want);
}

/* ---- what is shown ---- */

/* A transport that gives, and takes, `piece` bytes at a time. */
struct source {
    const char *data;
    size_t len, piece;
};

static ssize_t source_read(void *ctx, void *buf, size_t len)
{
    struct source *s = ctx;
    size_t n = s->len < s->piece ? s->len : s->piece;
    n = n < len ? n : len;
    memcpy(buf, s->data, n);
    s->data += n;
    s->len -= n;
    return (ssize_t)n;
}

static ssize_t source_write(void *ctx, const void *buf, size_t len)
{
    const struct source *s = ctx;
    (void)buf;
    return (ssize_t)(len < s->piece ? len : s->piece);
}

static int source_flush(void *ctx)
{
    (void)ctx;
    return 0;
}

static bool source_pending(void *ctx)
{
    (void)ctx;
    return true; /* poll(2) is not asked */
}

/* One row: what the server says, what we say after it, what is shown. */
static const struct tap_case {
    const char *name;
    struct bytes heard, said;
    const char *want;
    struct bytes then; /* what the server says after that */
} tap_cases[] = {
    {"lines", B("220 a\r\n250 b\r\n"), B("EHLO x\r\nQUIT\r\n"),
     "S: 220 a\nS: 250 b\n"
     "C: EHLO x\nC: QUIT\n",
     B("")},
    {"escape sequences", B("220 \x1b[2J\x07\x9b\r\n"), B(""), "S: 220 \\x1b[2J\\x07\\x9b\n", B("")},
    {"a backslash cannot be mistaken", B("220 \\x1b\r\n"), B(""), "S: 220 \\\\x1b\n", B("")},
    {"CR and NUL within a line", B("220 a\rC: QUIT\0\r\n"), B(""), "S: 220 a\\x0dC: QUIT\\x00\n",
     B("")},
    {"bare LF", B("220 a\n"), B(""), "S: 220 a\\n\n", B("")},
    {"empty line", B("\r\n"), B(""), "S: \n", B("")},
    {"no line end", B("220 a"), B("QUIT\r\n"), "S: 220 a (no line end)\nC: QUIT\n", B("")},
    {"password", B("334 VXNlcjo=\r\n"), B("c2VjcmV0\r\n"), "S: 334 VXNlcjo=\nC:  (not shown)\n",
     B("")},
    {"password in the command", B(""), B("AUTH PLAIN c2VjcmV0\r\n"), "C: AUTH PLAIN (not shown)\n",
     B("")},
    {"reply that repeats it", B(""), B("AUTH PLAIN c2VjcmV0\r\n"),
     "C: AUTH PLAIN (not shown)\nS: 535- (not shown)\nS: 535 (not shown)\nS: 221\n",
     B("535-c2VjcmV0\r\n535 c2VjcmV0\r\n221\r\n")},
    {"what is no reply and may be a part of it", B(""), B("AUTH PLAIN c2VjcmV0\r\n"),
     "C: AUTH PLAIN (not shown)\nS:  (not shown)\nS:  (not shown)\nS:  (not shown)\n",
     B("c2V\r\n535c2V\r\n123 c2V\r\n")},
    {"reply to what may be shown", B("334 VXNlcjo=\r\n"), B("AUTH LOGIN\r\nQUIT\r\n"),
     "S: 334 VXNlcjo=\nC: AUTH LOGIN\nC: QUIT\nS: 221 bye\n", B("221 bye\r\n")},
};

/* Everything twice: in one piece, and byte by byte. */
static void is_shown_so(void **state)
{
    const struct tap_case *c = *state;
    for (size_t piece = 1; piece < 2000; piece += 1998) {
        struct source s = {.data = c->heard.data, .len = c->heard.len, .piece = piece};
        const struct transport t = {.ctx = &s,
                                    .fd = -1,
                                    .read = source_read,
                                    .write = source_write,
                                    .flush = source_flush,
                                    .pending = source_pending};
        struct wire w;
        struct tap tap;
        char *shown = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&shown, &len);
        tap_init(&tap, out, smtp_may_show);
        wire_init(&w, &t, -1);
        tap_insert(&tap, &w);
        while (s.len > 0)
            assert_int_equal(wire_fill(&w, WIRE_FOREVER), WIRE_OK);
        assert_int_equal(wire_put(&w, c->said.data, c->said.len, WIRE_FOREVER), WIRE_OK);
        assert_int_equal(wire_flush(&w, WIRE_FOREVER), WIRE_OK);
        s.data = c->then.data;
        s.len = c->then.len;
        while (s.len > 0)
            assert_int_equal(wire_fill(&w, WIRE_FOREVER), WIRE_OK);
        tap_end(&tap);
        fclose(out);
        wire_finish(&w);
        assert_string_equal(shown, c->want);
        free(shown);
    }
}

/* ---- limits ---- */

static char *show_lines(const char *line, size_t line_len, unsigned times)
{
    struct source s = {.piece = SIZE_MAX};
    struct tap tap;
    char *shown = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&shown, &len);
    struct wire w = {.transport = {.ctx = &s, .read = source_read}, .cancel_fd = -1};
    char *buf = malloc(line_len);
    tap_init(&tap, out, NULL);
    tap_insert(&tap, &w);
    while (times-- > 0) {
        s.data = line;
        s.len = line_len;
        assert_int_equal(w.transport.read(w.transport.ctx, buf, line_len), line_len);
    }
    tap_end(&tap);
    fclose(out);
    free(buf);
    return shown;
}

static void long_line_is_cut(void **state)
{
    char line[TAP_LINE_MAX + 1];
    (void)state;
    memset(line, 'x', sizeof line);
    line[TAP_LINE_MAX - 2] = '\r';
    line[TAP_LINE_MAX - 1] = '\n';
    char *shown = show_lines(line, TAP_LINE_MAX, 1);
    assert_int_equal(strlen(shown), 3 + TAP_LINE_MAX - 2 + 1);
    free(shown);
    memset(line, 'x', sizeof line);
    shown = show_lines(line, sizeof line, 1);
    assert_non_null(strstr(shown, "x... (1 bytes more)\n"));
    free(shown);
}

static void endless_lines_are_counted_out(void **state)
{
    (void)state;
    char *shown = show_lines("a\r\n", 3, TAP_LINES_MAX);
    assert_null(strstr(shown, "(more is not shown)"));
    free(shown);
    shown = show_lines("a\r\n", 3, TAP_LINES_MAX + 1000);
    assert_int_equal(strlen(shown), TAP_LINES_MAX * 5 + strlen("   (more is not shown)\n"));
    free(shown);
}

static void nothing_is_shown_of_what_a_protocol_does_not_permit(void **state)
{
    struct source s = {.piece = SIZE_MAX};
    struct tap tap;
    char *shown = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&shown, &len);
    struct wire w = {.transport = {.ctx = &s, .write = source_write}, .cancel_fd = -1};
    (void)state;
    tap_init(&tap, out, NULL);
    tap_insert(&tap, &w);
    assert_int_equal(w.transport.write(w.transport.ctx, "a1 LOGIN joe secret\r\n", 21), 21);
    tap_note(&tap, "a remark");
    fclose(out);
    assert_string_equal(shown, "C:  (not shown)\n   (a remark)\n");
    free(shown);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, so_much_is_shown, show_cases);
    UNIT_ADD_TABLE(&u, is_shown_so, tap_cases);
    unit_add(&u, "long line is cut", long_line_is_cut, NULL);
    unit_add(&u, "endless lines are counted out", endless_lines_are_counted_out, NULL);
    unit_add(&u, "nothing is shown of what a protocol does not permit",
             nothing_is_shown_of_what_a_protocol_does_not_permit, NULL);
    return unit_run(&u, "tap");
}
