/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <strings.h>

#include "protocols/reply.h"

/* Gives the reply line by line, as the wire does; the verdict on the last one. */
static enum reply_line add_all(struct reply *r, const char *bytes, size_t len)
{
    enum reply_line last = REPLY_BAD;
    while (len > 0) {
        const char *lf = memchr(bytes, '\n', len);
        size_t n = lf != NULL ? (size_t)(lf - bytes) + 1 : len;
        last = reply_add_line(r, bytes, n);
        bytes += n;
        len -= n;
    }
    return last;
}

/* ---- lines ---- */

static const struct line_case {
    const char *name;
    struct bytes before, line;
    enum reply_line want;
    int want_code;
} line_cases[] = {
    {"one line", B(""), B("220 mail.example.org ESMTP\r\n"), REPLY_LAST, 220},
    {"first of many", B(""), B("250-mail.example.org\r\n"), REPLY_MORE, 250},
    {"last of many", B("250-a\r\n"), B("250 b\r\n"), REPLY_LAST, 250},
    {"code alone", B(""), B("250\r\n"), REPLY_LAST, 250},
    {"code and blank", B(""), B("250 \r\n"), REPLY_LAST, 250},
    {"code and hyphen", B(""), B("250-\r\n"), REPLY_MORE, 250},
    {"bare LF", B(""), B("250 ok\n"), REPLY_LAST, 250},
    {"bare LF, code alone", B(""), B("250\n"), REPLY_LAST, 250},
    {"NUL in the text", B(""), B("250 a\0b\r\n"), REPLY_LAST, 250},
    {"refusal", B(""), B("554 No service\r\n"), REPLY_LAST, 554},
    {"smallest code", B(""), B("200 x\r\n"), REPLY_LAST, 200},
    {"largest code", B(""), B("599 x\r\n"), REPLY_LAST, 599},
    {"code begins with 1", B(""), B("199 x\r\n"), REPLY_BAD, 0},
    {"code begins with 6", B(""), B("600 x\r\n"), REPLY_BAD, 0},
    {"two digits", B(""), B("25 ok\r\n"), REPLY_BAD, 0},
    {"two digits alone", B(""), B("25\r\n"), REPLY_BAD, 0},
    {"four digits", B(""), B("2500 ok\r\n"), REPLY_BAD, 0},
    {"letter behind the code", B(""), B("250x\r\n"), REPLY_BAD, 0},
    {"tab behind the code", B(""), B("250\tx\r\n"), REPLY_BAD, 0},
    {"CR behind the code", B(""), B("250\r\r\n"), REPLY_BAD, 0},
    {"letters in the code", B(""), B("2x0 ok\r\n"), REPLY_BAD, 0},
    {"empty line", B(""), B("\r\n"), REPLY_BAD, 0},
    {"only LF", B(""), B("\n"), REPLY_BAD, 0},
    {"blank before the code", B(""), B(" 250 ok\r\n"), REPLY_BAD, 0},
    {"changing code", B("250-a\r\n"), B("251 b\r\n"), REPLY_BAD, 250},
    {"changing first digit", B("250-a\r\n"), B("550 b\r\n"), REPLY_BAD, 250},
};

static void line_is_judged(void **state)
{
    const struct line_case *c = *state;
    struct reply r = {0};
    if (c->before.len > 0)
        assert_int_equal(add_all(&r, c->before.data, c->before.len), REPLY_MORE);
    assert_int_equal(reply_add_line(&r, c->line.data, c->line.len), c->want);
    assert_int_equal(r.code, c->want_code);
    if (c->want == REPLY_BAD) { /* as it was before */
        assert_bytes(r.bytes, r.len, c->before.data, c->before.len);
    } else {
        assert_int_equal(r.len, c->before.len + c->line.len);
        assert_memory_equal(r.bytes + c->before.len, c->line.data, c->line.len);
    }
    assert_int_equal(r.lines, (c->before.len > 0) + (c->want != REPLY_BAD));
    reply_finish(&r);
}

static void clear_keeps_the_memory_and_forgets_the_code(void **state)
{
    (void)state;
    struct reply r = {0};
    assert_int_equal(reply_add_line(&r, "250-a\r\n", 7), REPLY_MORE);
    size_t size = r.size;
    reply_clear(&r);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.lines, 0);
    assert_int_equal(r.len, 0);
    assert_int_equal(r.size, size);
    assert_int_equal(reply_add_line(&r, "550 b\r\n", 7), REPLY_LAST);
    assert_int_equal(r.code, 550);
    reply_finish(&r);
    reply_finish(&r); /* a zeroed struct is fine */
    assert_null(r.bytes);
}

static void reply_grows(void **state)
{
    (void)state;
    struct reply r = {0};
    for (int i = 0; i < 10000; i++)
        assert_int_equal(reply_add_line(&r, "250-0123456789\r\n", 16), REPLY_MORE);
    assert_int_equal(reply_add_line(&r, "250 last\r\n", 10), REPLY_LAST);
    assert_int_equal(r.len, 160010);
    assert_int_equal(r.lines, 10001);
    assert_memory_equal(r.bytes + 160000, "250 last\r\n", 10);
    reply_finish(&r);
}

/* ---- the list of capabilities ---- */

enum { OFFER = 1, NO_AUTH = 2 };

static const struct edit_case {
    const char *name;
    struct bytes in;
    int rules;
    const char *hide; /* the administrator's pattern, or NULL */
    struct bytes want;
    bool want_chunking, want_enhanced;
} edit_cases[] = {
    /* where STARTTLS goes */
    {"one line: STARTTLS is the only keyword, and last", B("250 mx\r\n"), OFFER, NULL,
     B("250-mx\r\n250 STARTTLS\r\n"), false, false},
    {"code alone gets its separator", B("250\r\n"), OFFER, NULL, B("250-\r\n250 STARTTLS\r\n"),
     false, false},
    {"code alone, nothing offered", B("250\r\n"), 0, NULL, B("250\r\n"), false, false},
    {"code and blank", B("250 \r\n"), OFFER, NULL, B("250-\r\n250 STARTTLS\r\n"), false, false},
    {"many: STARTTLS is second, never last", B("250-mx hello\r\n250-SIZE 10\r\n250 HELP\r\n"),
     OFFER, NULL, B("250-mx hello\r\n250-STARTTLS\r\n250-SIZE 10\r\n250 HELP\r\n"), false, false},
    {"many: nothing offered, nothing hidden, every byte kept",
     B("250-mx hello\r\n250-SIZE 10\r\n250 HELP\r\n"), 0, NULL,
     B("250-mx hello\r\n250-SIZE 10\r\n250 HELP\r\n"), false, false},
    {"offered already by the backend: once, and ours", B("250-mx\r\n250-STARTTLS\r\n250 HELP\r\n"),
     OFFER, NULL, B("250-mx\r\n250-STARTTLS\r\n250 HELP\r\n"), false, false},
    {"offered by the backend, not by us", B("250-mx\r\n250-STARTTLS\r\n250 HELP\r\n"), 0, NULL,
     B("250-mx\r\n250 HELP\r\n"), false, false},
    {"offered by the backend twice, in any case, with arguments",
     B("250-mx\r\n250-starttls\r\n250-HELP\r\n250 StartTLS now\r\n"), OFFER, NULL,
     B("250-mx\r\n250-STARTTLS\r\n250 HELP\r\n"), false, false},
    {"everything hidden: STARTTLS becomes last", B("250-mx\r\n250-XCLIENT NAME\r\n250 TLS\r\n"),
     OFFER, NULL, B("250-mx\r\n250 STARTTLS\r\n"), false, false},
    {"everything hidden, nothing offered: the domain becomes last",
     B("250-mx\r\n250-XCLIENT NAME\r\n250 TLS\r\n"), 0, NULL, B("250 mx\r\n"), false, false},
    {"the domain's line looks like a keyword and stays", B("250-STARTTLS\r\n250 HELP\r\n"), 0, NULL,
     B("250-STARTTLS\r\n250 HELP\r\n"), false, false},

    /* separators */
    {"hidden last line: the one before becomes last",
     B("250-mx\r\n250-SIZE\r\n250 XFORWARD NAME\r\n"), 0, NULL, B("250-mx\r\n250 SIZE\r\n"), false,
     false},
    {"hidden last lines, several", B("250-mx\r\n250-SIZE\r\n250-XCLIENT\r\n250 XFORWARD\r\n"),
     OFFER, NULL, B("250-mx\r\n250-STARTTLS\r\n250 SIZE\r\n"), false, false},
    {"last line is the code alone", B("250-mx\r\n250-SIZE\r\n250\r\n"), OFFER, NULL,
     B("250-mx\r\n250-STARTTLS\r\n250-SIZE\r\n250\r\n"), false, false},
    {"empty keyword in the middle", B("250-mx\r\n250-\r\n250 SIZE\r\n"), 0, NULL,
     B("250-mx\r\n250-\r\n250 SIZE\r\n"), false, false},
    {"bare LF is kept as it is", B("250-mx\n250-SIZE\n250 HELP\n"), OFFER, NULL,
     B("250-mx\n250-STARTTLS\r\n250-SIZE\n250 HELP\n"), false, false},
    {"bare LF, code alone", B("250\n"), OFFER, NULL, B("250-\n250 STARTTLS\r\n"), false, false},
    {"bare LF does not hide a keyword from us", B("250-mx\n250-STARTTLS\n250 XCLIENT\n"), 0, NULL,
     B("250 mx\n"), false, false},

    /* keywords that are never shown */
    {"XCLIENT", B("250-mx\r\n250-XCLIENT NAME ADDR\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250 A\r\n"), false, false},
    {"XFORWARD", B("250-mx\r\n250-XFORWARD NAME\r\n250 A\r\n"), 0, NULL, B("250-mx\r\n250 A\r\n"),
     false, false},
    {"REQUIRETLS", B("250-mx\r\n250-REQUIRETLS\r\n250 A\r\n"), 0, NULL, B("250-mx\r\n250 A\r\n"),
     false, false},
    {"PIPECONNECT", B("250-mx\r\n250-PIPECONNECT\r\n250 A\r\n"), 0, NULL, B("250-mx\r\n250 A\r\n"),
     false, false},
    {"X_PIPECONNECT", B("250-mx\r\n250-X_PIPECONNECT\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250 A\r\n"), false, false},
    {"X_PIPE_CONNECT", B("250-mx\r\n250-X_PIPE_CONNECT\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250 A\r\n"), false, false},
    {"X-ANONYMOUSTLS", B("250-mx\r\n250-X-ANONYMOUSTLS\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250 A\r\n"), false, false},
    {"TLS", B("250-mx\r\n250-TLS\r\n250 A\r\n"), 0, NULL, B("250-mx\r\n250 A\r\n"), false, false},
    {"XEXCH50", B("250-mx\r\n250-XEXCH50\r\n250 A\r\n"), 0, NULL, B("250-mx\r\n250 A\r\n"), false,
     false},
    {"lower case", B("250-mx\r\n250-xclient name\r\n250 A\r\n"), 0, NULL, B("250-mx\r\n250 A\r\n"),
     false, false},
    {"tab behind the keyword", B("250-mx\r\n250-XCLIENT\tNAME\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250 A\r\n"), false, false},
    {"blank in front of the keyword", B("250-mx\r\n250- XCLIENT NAME\r\n250 \tSTARTTLS\r\n"), 0,
     NULL, B("250 mx\r\n"), false, false},
    {"CR too many behind the keyword", B("250-mx\r\n250-STARTTLS\r\r\n250 A\r\n"), OFFER, NULL,
     B("250-mx\r\n250-STARTTLS\r\n250 A\r\n"), false, false},
    {"NUL around the keyword", B("250-mx\r\n250-\0AUTH\0PLAIN\r\n250 A\r\n"), NO_AUTH, NULL,
     B("250-mx\r\n250 A\r\n"), false, false},

    /* look-alikes that are other keywords */
    {"XSECURITY=NONE,STARTTLS is not STARTTLS",
     B("250-mx\r\n250-XSECURITY=NONE,STARTTLS\r\n250 A\r\n"), OFFER, NULL,
     B("250-mx\r\n250-STARTTLS\r\n250-XSECURITY=NONE,STARTTLS\r\n250 A\r\n"), false, false},
    {"STARTTLSX is not STARTTLS", B("250-mx\r\n250-STARTTLSX\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250-STARTTLSX\r\n250 A\r\n"), false, false},
    {"XSTARTTLS is not STARTTLS", B("250-mx\r\n250-XSTARTTLS\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250-XSTARTTLS\r\n250 A\r\n"), false, false},
    {"STARTTL is not STARTTLS", B("250-mx\r\n250-STARTTL\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250-STARTTL\r\n250 A\r\n"), false, false},
    {"STARTTLS as an argument stays", B("250-mx\r\n250-X STARTTLS\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250-X STARTTLS\r\n250 A\r\n"), false, false},
    {"XAUTH is not AUTH", B("250-mx\r\n250-XAUTH PLAIN\r\n250 A\r\n"), NO_AUTH, NULL,
     B("250-mx\r\n250-XAUTH PLAIN\r\n250 A\r\n"), false, false},

    /* AUTH */
    {"AUTH is shown when it may be", B("250-mx\r\n250-AUTH PLAIN LOGIN\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250-AUTH PLAIN LOGIN\r\n250 A\r\n"), false, false},
    {"AUTH in both spellings and X-EXPS are hidden",
     B("250-mx\r\n250-AUTH PLAIN\r\n250-AUTH=LOGIN\r\n250-auth=x\r\n250-X-EXPS GSSAPI\r\n250 "
       "A\r\n"),
     NO_AUTH, NULL, B("250-mx\r\n250 A\r\n"), false, false},
    {"AUTH alone is hidden", B("250-mx\r\n250-AUTH\r\n250 A\r\n"), NO_AUTH, NULL,
     B("250-mx\r\n250 A\r\n"), false, false},
    {"-PLUS mechanisms are cut out of both spellings",
     B("250-mx\r\n250-AUTH SCRAM-SHA-256-PLUS PLAIN SCRAM-SHA-1-PLUS\r\n"
       "250-AUTH=SCRAM-SHA-1-plus LOGIN\r\n250 A\r\n"),
     0, NULL, B("250-mx\r\n250-AUTH PLAIN\r\n250-AUTH LOGIN\r\n250 A\r\n"), false, false},
    {"old spelling without -PLUS keeps its '='", B("250-mx\r\n250-AUTH=LOGIN PLAIN\r\n250 A\r\n"),
     0, NULL, B("250-mx\r\n250-AUTH=LOGIN PLAIN\r\n250 A\r\n"), false, false},
    {"-PLUS mechanism with a CR too many", B("250-mx\r\n250 AUTH A-PLUS\r\r\n"), 0, NULL,
     B("250 mx\r\n"), false, false},
    {"all mechanisms -PLUS: the line goes",
     B("250-mx\r\n250-AUTH SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250 A\r\n"), false, false},
    {"all mechanisms -PLUS on the last line", B("250-mx\r\n250-A\r\n250 AUTH=X-PLUS\r\n"), OFFER,
     NULL, B("250-mx\r\n250-STARTTLS\r\n250 A\r\n"), false, false},
    {"-PLUS in X-EXPS", B("250-mx\r\n250-X-EXPS A-PLUS NTLM\r\n250 A\r\n"), 0, NULL,
     B("250-mx\r\n250-X-EXPS NTLM\r\n250 A\r\n"), false, false},
    {"PLUS without hyphen and -PLUSX stay", B("250-mx\r\n250 AUTH XPLUS A-PLUSX PLUS\r\n"), 0, NULL,
     B("250-mx\r\n250 AUTH XPLUS A-PLUSX PLUS\r\n"), false, false},
    {"-PLUS in another keyword stays", B("250-mx\r\n250 X A-PLUS\r\n"), 0, NULL,
     B("250-mx\r\n250 X A-PLUS\r\n"), false, false},
    {"AUTH without mechanisms stays", B("250-mx\r\n250 AUTH\r\n"), 0, NULL,
     B("250-mx\r\n250 AUTH\r\n"), false, false},
    {"several blanks between mechanisms stay", B("250-mx\r\n250 AUTH  PLAIN   LOGIN\r\n"), 0, NULL,
     B("250-mx\r\n250 AUTH  PLAIN   LOGIN\r\n"), false, false},

    /* the administrator's patterns */
    {"pattern hides a line", B("250-mx\r\n250-VRFY\r\n250 A\r\n"), 0, "/^vrfy$/",
     B("250-mx\r\n250 A\r\n"), false, false},
    {"pattern sees the arguments, not the code", B("250-mx\r\n250-SIZE 10\r\n250 A\r\n"), 0,
     "/^size 10$/", B("250-mx\r\n250 A\r\n"), false, false},
    {"pattern does not hide the domain", B("250-mx\r\n250 A\r\n"), 0, "/mx/",
     B("250-mx\r\n250 A\r\n"), false, false},
    {"pattern for everything does not hide our STARTTLS", B("250-mx\r\n250-A\r\n250 B\r\n"), OFFER,
     "/./", B("250-mx\r\n250 STARTTLS\r\n"), false, false},
    {"pattern that runs into its limit hides",
     B("250-mx\r\n250-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABXD\r\n250 B\r\n"), 0,
     "/^(A+)*(A+)*(A+)*[BC]D/", B("250-mx\r\n250 B\r\n"), false, false},

    /* what was promised */
    {"CHUNKING and ENHANCEDSTATUSCODES are noted",
     B("250-mx\r\n250-chunking\r\n250 EnhancedStatusCodes\r\n"), OFFER, NULL,
     B("250-mx\r\n250-STARTTLS\r\n250-chunking\r\n250 EnhancedStatusCodes\r\n"), true, true},
    {"hidden CHUNKING was not promised", B("250-mx\r\n250-CHUNKING\r\n250 ENHANCEDSTATUSCODES\r\n"),
     0, "/^CHUNKING/", B("250-mx\r\n250 ENHANCEDSTATUSCODES\r\n"), false, true},
    {"CHUNKING in the domain's place is no promise", B("250 CHUNKING\r\n"), 0, NULL,
     B("250 CHUNKING\r\n"), false, false},
    {"XCHUNKING is not CHUNKING", B("250-mx\r\n250 XCHUNKING\r\n"), 0, NULL,
     B("250-mx\r\n250 XCHUNKING\r\n"), false, false},
};

static void make_hide(struct pattern_list *list, struct pattern **place, const char *text)
{
    char error[256];
    *list = (struct pattern_list){.items = place, .count = 0};
    if (text == NULL)
        return;
    *place = pattern_create(text, error, sizeof error);
    if (*place == NULL)
        fail_msg("%s", error);
    list->count = 1;
}

/* What every edited reply must be, whatever the case: a reply with the first line's domain. */
static void assert_is_reply(const struct reply *r, size_t lines)
{
    struct reply again = {0};
    assert_int_equal(add_all(&again, r->bytes, r->len), REPLY_LAST);
    assert_int_equal(again.code, 250);
    assert_int_equal(again.lines, lines);
    assert_int_equal(r->code, 250);
    reply_finish(&again);
}

/* STARTTLS is never first, and last only if it is the only keyword. */
static void assert_starttls_place(const struct reply *r)
{
    static const char want[] = "STARTTLS\r\n";
    const char *second = memchr(r->bytes, '\n', r->len);
    assert_non_null(second);
    second++;
    assert_true((size_t)(r->bytes + r->len - second) >= 4 + sizeof want - 1);
    assert_memory_equal(second + 4, want, sizeof want - 1);
    assert_int_equal(second[3], r->lines == 2 ? ' ' : '-');
}

static void list_is_edited(void **state)
{
    const struct edit_case *c = *state;
    struct reply in = {0}, out = {0};
    struct pattern *pattern = NULL;
    struct pattern_list hide;
    struct capabilities told = {true, true}; /* must be overwritten */
    make_hide(&hide, &pattern, c->hide);
    const struct capability_rules rules = {.offer_starttls = (c->rules & OFFER) != 0,
                                           .hide_auth = (c->rules & NO_AUTH) != 0,
                                           .hide = &hide};

    assert_int_equal(add_all(&in, c->in.data, c->in.len), REPLY_LAST);
    reply_edit_capabilities(&in, &rules, &out, &told);
    assert_bytes(out.bytes, out.len, c->want.data, c->want.len);
    assert_int_equal(told.chunking, c->want_chunking);
    assert_int_equal(told.enhanced_codes, c->want_enhanced);
    assert_is_reply(&out, out.lines);
    if (rules.offer_starttls)
        assert_starttls_place(&out);
    assert_bytes(in.bytes, in.len, c->in.data, c->in.len); /* the input is untouched */

    reply_edit_capabilities(&in, &rules, &out, &told); /* `out` is cleared first */
    assert_bytes(out.bytes, out.len, c->want.data, c->want.len);
    pattern_destroy(pattern);
    reply_finish(&in);
    reply_finish(&out);
}

/* ---- rules that hide and add ---- */

static const struct rule_case {
    const char *name;
    struct bytes in;
    int rules;
    const char *pattern;
    const char *hide[3], *add[3]; /* of edits one behind the other; NULL: nothing */
    struct bytes want;
} rule_cases[] = {
    {"line is added behind the others",
     B("250-mx\r\n250 A\r\n"),
     0,
     NULL,
     {NULL},
     {"SIZE 10"},
     B("250-mx\r\n250-A\r\n250 SIZE 10\r\n")},
    {"line is added to the domain alone",
     B("250 mx\r\n"),
     0,
     NULL,
     {NULL},
     {"X"},
     B("250-mx\r\n250 X\r\n")},
    {"line is added to a code alone", B("250\r\n"), 0, NULL, {NULL}, {"X"}, B("250-\r\n250 X\r\n")},
    {"line is added behind a code alone",
     B("250-mx\r\n250\r\n"),
     0,
     NULL,
     {NULL},
     {"X"},
     B("250-mx\r\n250 X\r\n")},
    {"STARTTLS is not last",
     B("250 mx\r\n"),
     OFFER,
     NULL,
     {NULL},
     {"X"},
     B("250-mx\r\n250-STARTTLS\r\n250 X\r\n")},
    {"keyword that is there is not added",
     B("250-mx\r\n250 size 5\r\n"),
     0,
     NULL,
     {NULL},
     {"SIZE 10"},
     B("250-mx\r\n250 size 5\r\n")},
    {"keyword is not added twice",
     B("250 mx\r\n"),
     0,
     NULL,
     {NULL},
     {"X 1", "x 2"},
     B("250-mx\r\n250 X 1\r\n")},
    {"domain is no keyword", B("250 X\r\n"), 0, NULL, {NULL}, {"X"}, B("250-X\r\n250 X\r\n")},
    {"longer keyword is another",
     B("250-mx\r\n250 SIZEX\r\n"),
     0,
     NULL,
     {NULL},
     {"SIZE"},
     B("250-mx\r\n250-SIZEX\r\n250 SIZE\r\n")},
    {"keyword is hidden in any case",
     B("250-mx\r\n250-Size 5\r\n250 A\r\n"),
     0,
     NULL,
     {"SIZE"},
     {NULL},
     B("250-mx\r\n250 A\r\n")},
    {"longer keyword is not hidden",
     B("250-mx\r\n250 SIZEX\r\n"),
     0,
     NULL,
     {"SIZE"},
     {NULL},
     B("250-mx\r\n250 SIZEX\r\n")},
    {"last keyword is hidden", B("250-mx\r\n250 A\r\n"), 0, NULL, {"A"}, {NULL}, B("250 mx\r\n")},
    {"line is replaced",
     B("250-mx\r\n250-SIZE 5\r\n250 A\r\n"),
     0,
     NULL,
     {"SIZE"},
     {"SIZE 10"},
     B("250-mx\r\n250-A\r\n250 SIZE 10\r\n")},
    {"line is replaced with a pattern",
     B("250-mx\r\n250-SIZE 5\r\n250 A\r\n"),
     0,
     "/^SIZE/",
     {NULL},
     {"SIZE 10"},
     B("250-mx\r\n250-A\r\n250 SIZE 10\r\n")},
    {"later rule hides what an earlier one added",
     B("250-mx\r\n250 A\r\n"),
     0,
     NULL,
     {NULL, "X"},
     {"X", NULL},
     B("250-mx\r\n250 A\r\n")},
    {"earlier rule does not hide what a later one adds",
     B("250-mx\r\n250 A\r\n"),
     0,
     NULL,
     {"X", NULL},
     {NULL, "X"},
     B("250-mx\r\n250-A\r\n250 X\r\n")},
    {"third rule replaces what the first added",
     B("250 mx\r\n"),
     0,
     NULL,
     {NULL, NULL, "X"},
     {"X 1", NULL, "X 3"},
     B("250-mx\r\n250 X 3\r\n")},
};

static void rules_hide_and_add(void **state)
{
    const struct rule_case *c = *state;
    struct capability_edit items[3] = {{0}};
    struct capability_edits edits = {.count = 3};
    struct reply in = {0}, out = {0};
    struct pattern *pattern = NULL;
    struct pattern_list hide;
    struct capabilities told;
    char *words[6];
    for (size_t i = 0; i < 3; i++) {
        words[i] = (char *)(size_t)c->hide[i];
        words[3 + i] = (char *)(size_t)c->add[i];
        items[i] = (struct capability_edit){.hide = &words[i],
                                            .n_hide = c->hide[i] != NULL,
                                            .add = &words[3 + i],
                                            .n_add = c->add[i] != NULL};
        edits.items[i] = &items[i];
    }
    make_hide(&hide, &pattern, c->pattern);
    const struct capability_rules rules = {
        .offer_starttls = (c->rules & OFFER) != 0, .hide = &hide, .edits = &edits};
    assert_int_equal(add_all(&in, c->in.data, c->in.len), REPLY_LAST);
    reply_edit_capabilities(&in, &rules, &out, &told);
    assert_bytes(out.bytes, out.len, c->want.data, c->want.len);
    assert_is_reply(&out, out.lines);
    pattern_destroy(pattern);
    reply_finish(&in);
    reply_finish(&out);
}

static void added_enhanced_codes_are_a_promise(void **state)
{
    char line[] = "ENHANCEDSTATUSCODES", *add = line;
    const struct capability_edit edit = {.add = &add, .n_add = 1};
    const struct capability_edits edits = {.items = {&edit}, .count = 1};
    const struct capability_rules rules = {.edits = &edits};
    struct reply in = {0}, out = {0};
    struct capabilities told;
    (void)state;
    assert_int_equal(add_all(&in, "250 mx\r\n", 8), REPLY_LAST);
    reply_edit_capabilities(&in, &rules, &out, &told);
    assert_true(told.enhanced_codes);
    assert_false(told.chunking);
    reply_finish(&in);
    reply_finish(&out);
}

static void added_line_has_512_bytes_at_most(void **state)
{
    char text[600];
    (void)state;
    memset(text, 'X', sizeof text);
    text[506] = '\0';
    assert_null(reply_may_add(text));
    text[506] = 'X';
    text[507] = '\0';
    assert_non_null(reply_may_add(text));
    assert_non_null(reply_may_add(""));
    assert_non_null(reply_may_add("X\r\n250 Y"));
    assert_non_null(reply_may_add(" X"));
    assert_non_null(reply_may_add("X.Y"));
    assert_null(reply_may_add("LIMITS RCPTMAX=20"));
}

static void rules_without_patterns_are_fine(void **state)
{
    (void)state;
    struct reply in = {0}, out = {0};
    struct capabilities told;
    const struct capability_rules rules = {.offer_starttls = true};
    assert_int_equal(add_all(&in, "250-mx\r\n250 A\r\n", 15), REPLY_LAST);
    reply_edit_capabilities(&in, &rules, &out, &told);
    assert_bytes(out.bytes, out.len, "250-mx\r\n250-STARTTLS\r\n250 A\r\n", 29);
    reply_finish(&in);
    reply_finish(&out);
}

/* ---- looking for a keyword ---- */

static const struct offer_case {
    const char *name;
    struct bytes in;
    bool want;
} offer_cases[] = {
    {"offered in the middle", B("250-mx\r\n250-STARTTLS\r\n250 HELP\r\n"), true},
    {"offered last", B("250-mx\r\n250 STARTTLS\r\n"), true},
    {"offered in lower case", B("250-mx\r\n250 starttls\r\n"), true},
    {"offered behind a bare LF", B("250-mx\n250 STARTTLS\n"), true},
    {"offered with a parameter", B("250-mx\r\n250 STARTTLS now\r\n"), true},
    {"not offered", B("250-mx\r\n250 HELP\r\n"), false},
    {"one line", B("250 STARTTLS\r\n"), false},
    {"in the domain's place", B("250-STARTTLS\r\n250 HELP\r\n"), false},
    {"longer word", B("250-mx\r\n250-STARTTLSX\r\n250 XSTARTTLS\r\n"), false},
    {"shorter word", B("250-mx\r\n250 STARTTL\r\n"), false},
    {"second word", B("250-mx\r\n250 AUTH STARTTLS\r\n"), false},
    {"empty line", B("250-mx\r\n250\r\n"), false},
};

static void keyword_is_looked_for(void **state)
{
    const struct offer_case *c = *state;
    struct reply r = {0};
    assert_int_equal(add_all(&r, c->in.data, c->in.len), REPLY_LAST);
    assert_int_equal(reply_offers(&r, "STARTTLS"), c->want);
    reply_finish(&r);
}

static void empty_reply_offers_nothing(void **state)
{
    (void)state;
    const struct reply r = {0};
    assert_false(reply_offers(&r, "STARTTLS"));
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, line_is_judged, line_cases);
    unit_add(&u, "clear keeps the memory", clear_keeps_the_memory_and_forgets_the_code, NULL);
    unit_add(&u, "reply grows", reply_grows, NULL);
    UNIT_ADD_TABLE(&u, list_is_edited, edit_cases);
    UNIT_ADD_TABLE(&u, rules_hide_and_add, rule_cases);
    unit_add(&u, "added promise", added_enhanced_codes_are_a_promise, NULL);
    unit_add(&u, "length of an added line", added_line_has_512_bytes_at_most, NULL);
    unit_add(&u, "rules without patterns", rules_without_patterns_are_fine, NULL);
    UNIT_ADD_TABLE(&u, keyword_is_looked_for, offer_cases);
    unit_add(&u, "empty reply offers nothing", empty_reply_offers_nothing, NULL);
    return unit_run(&u, "reply");
}
