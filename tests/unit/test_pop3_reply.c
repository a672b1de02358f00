/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "protocols/pop3_reply.h"

/* ---- answers ---- */

static const struct status_case {
    const char *name;
    struct bytes text;
    enum answer want;
} status_cases[] = {
    {"+OK alone", B("+OK"), ANSWER_OK},
    {"+OK and a text", B("+OK ready"), ANSWER_OK},
    {"+OK and a blank", B("+OK "), ANSWER_OK},
    {"+OK in lower case", B("+ok"), ANSWER_NONSENSE},
    {"+OK with more behind it", B("+OKAY"), ANSWER_NONSENSE},
    {"+OK and a tab", B("+OK\tready"), ANSWER_NONSENSE},
    {"+OK and a timestamp", B("+OK<1@a>"), ANSWER_NONSENSE},
    {"+OK and NUL", B("+OK\0"), ANSWER_NONSENSE},
    {"-ERR alone", B("-ERR"), ANSWER_NO},
    {"-ERR and a text", B("-ERR [AUTH] no"), ANSWER_NO},
    {"-ERR cut off", B("-ER"), ANSWER_NONSENSE},
    {"plus alone", B("+"), ANSWER_CONTINUE},
    {"plus and a blank", B("+ "), ANSWER_CONTINUE},
    {"plus and a challenge", B("+ PDE4OTYu"), ANSWER_CONTINUE},
    {"plus and a word", B("+O"), ANSWER_NONSENSE},
    {"empty", B(""), ANSWER_NONSENSE},
    {"blank first", B(" +OK"), ANSWER_NONSENSE},
    {"dot", B("."), ANSWER_NONSENSE},
    {"reply of SMTP", B("220 ready"), ANSWER_NONSENSE},
};

static void answer_has_status(void **state)
{
    const struct status_case *c = *state;
    assert_int_equal(pop3_status_of(c->text.data, c->text.len), c->want);
}

static const struct end_case {
    const char *name;
    struct bytes text;
    bool want;
} end_cases[] = {
    {"dot alone ends a list", B("."), true},    {"two dots do not", B(".."), false},
    {"dot and a blank do not", B(". "), false}, {"nothing does not", B(""), false},
    {"dot and CR do not", B(".\r"), false},
};

static void list_ends(void **state)
{
    const struct end_case *c = *state;
    assert_int_equal(pop3_is_end(c->text.data, c->text.len), c->want);
}

/* ---- the greeting ---- */

static const struct greeting_case {
    const char *name;
    struct bytes line;
    bool hide;
    struct bytes want;
} greeting_cases[] = {
    {"without a text", B("+OK\r\n"), true, B("+OK\r\n")},
    {"without a timestamp", B("+OK ready\r\n"), true, B("+OK ready\r\n")},
    {"with a timestamp", B("+OK ready <1.2@host>\r\n"), true, B("+OK ready\r\n")},
    {"with a timestamp that may be seen", B("+OK ready <1.2@host>\r\n"), false,
     B("+OK ready <1.2@host>\r\n")},
    {"timestamp in the middle", B("+OK POP3 <1@h> ready\r\n"), true, B("+OK POP3 ready\r\n")},
    {"timestamp and nothing else", B("+OK <1@h>\r\n"), true, B("+OK\r\n")},
    {"two timestamps", B("+OK <1@h><2@h> x\r\n"), true, B("+OK x\r\n")},
    {"timestamp without an end", B("+OK ready <1@h\r\n"), true, B("+OK ready\r\n")},
    {"timestamp without an at sign", B("+OK ready <1>\r\n"), true, B("+OK ready\r\n")},
    {"timestamp within a timestamp", B("+OK <1<2@h>3@h>\r\n"), true, B("+OK 3@h>\r\n")},
    {"only the end of a timestamp", B("+OK a > b\r\n"), true, B("+OK a > b\r\n")},
    {"XCLIENT of Dovecot", B("+OK [XCLIENT] Dovecot ready.\r\n"), false,
     B("+OK Dovecot ready.\r\n")},
    {"XCLIENT in lower case, with parameters", B("+OK [xclient ADDR PORT] hi\r\n"), false,
     B("+OK hi\r\n")},
    {"XCLIENT and a timestamp", B("+OK [XCLIENT] hi <1@h>\r\n"), true, B("+OK hi\r\n")},
    {"XCLIENT without an end", B("+OK [XCLIENT hi\r\n"), false, B("+OK\r\n")},
    {"another word in brackets stays", B("+OK [X] hi\r\n"), true, B("+OK [X] hi\r\n")},
    {"refusal", B("-ERR [SYS/TEMP] <no>\r\n"), true, B("-ERR [SYS/TEMP]\r\n")},
    {"bare LF stays", B("+OK <1@h>\n"), true, B("+OK\n")},
    {"NUL stays", B("+OK a\0b\r\n"), true, B("+OK a\0b\r\n")},
};

static void greeting_becomes(void **state)
{
    const struct greeting_case *c = *state;
    struct reply out = {0};
    pop3_edit_greeting(c->line.data, c->line.len, c->hide, &out);
    assert_bytes(out.bytes, out.len, c->want.data, c->want.len);
    reply_finish(&out);
}

/* ---- the list ---- */

static char stls[] = "STLS", uidl[] = "UIDL", user[] = "USER", expire[] = "EXPIRE NEVER",
            old_expire[] = "EXPIRE";
static char *hides_user[] = {user}, *adds_uidl[] = {uidl}, *hides_expire[] = {old_expire},
            *adds_expire[] = {expire}, *hides_uidl[] = {uidl}, *hides_stls[] = {stls};
static const struct capability_edit hide_user = {.hide = hides_user, .n_hide = 1},
                                    add_uidl = {.add = adds_uidl, .n_add = 1},
                                    replace_expire = {.hide = hides_expire,
                                                      .n_hide = 1,
                                                      .add = adds_expire,
                                                      .n_add = 1},
                                    hide_uidl = {.hide = hides_uidl, .n_hide = 1},
                                    hide_stls = {.hide = hides_stls, .n_hide = 1};

static const struct list_case {
    const char *name;
    const char *in; /* NULL: the backend has none */
    bool offer, hide_login;
    const char *pattern; /* NULL: none */
    const struct capability_edit *edits[2];
    const char *want;
} list_cases[] = {
    {"nothing to do",
     "+OK list\r\nTOP\r\nUSER\r\n.\r\n",
     false,
     false,
     NULL,
     {0},
     "+OK list\r\nTOP\r\nUSER\r\n.\r\n"},
    {"STLS is offered",
     "+OK\r\nTOP\r\n.\r\n",
     true,
     false,
     NULL,
     {0},
     "+OK\r\nSTLS\r\nTOP\r\n.\r\n"},
    {"STLS of the backend is not shown",
     "+OK\r\nSTLS\r\nTOP\r\n.\r\n",
     false,
     false,
     NULL,
     {0},
     "+OK\r\nTOP\r\n.\r\n"},
    {"STLS is offered once",
     "+OK\r\nTOP\r\nstls\r\n.\r\n",
     true,
     false,
     NULL,
     {0},
     "+OK\r\nSTLS\r\nTOP\r\n.\r\n"},
    {"STLS behind a blank and before a tab",
     "+OK\r\n STLS\tx\r\n.\r\n",
     false,
     false,
     NULL,
     {0},
     "+OK\r\n.\r\n"},
    {"STLSX is not STLS",
     "+OK\r\nSTLSX\r\nX-STLS\r\n.\r\n",
     false,
     false,
     NULL,
     {0},
     "+OK\r\nSTLSX\r\nX-STLS\r\n.\r\n"},
    {"XCLIENT is not shown",
     "+OK\r\nXCLIENT\r\nTOP\r\n.\r\n",
     false,
     false,
     NULL,
     {0},
     "+OK\r\nTOP\r\n.\r\n"},
    {"empty list", "+OK\r\n.\r\n", true, true, NULL, {0}, "+OK\r\nSTLS\r\n.\r\n"},
    {"login is hidden",
     "+OK\r\nUSER\r\nsasl PLAIN\r\nAPOP\r\nTOP\r\n.\r\n",
     true,
     true,
     NULL,
     {0},
     "+OK\r\nSTLS\r\nTOP\r\n.\r\n"},
    {"USER as a parameter stays",
     "+OK\r\nUTF8 USER\r\nUSERS\r\n.\r\n",
     false,
     true,
     NULL,
     {0},
     "+OK\r\nUTF8 USER\r\nUSERS\r\n.\r\n"},
    {"mechanism that binds to the channel",
     "+OK\r\nSASL SCRAM-SHA-1-PLUS SCRAM-SHA-1\r\n.\r\n",
     false,
     false,
     NULL,
     {0},
     "+OK\r\nSASL SCRAM-SHA-1\r\n.\r\n"},
    {"only mechanisms that bind to the channel",
     "+OK\r\nSASL SCRAM-SHA-1-PLUS\r\nTOP\r\n.\r\n",
     false,
     false,
     NULL,
     {0},
     "+OK\r\nTOP\r\n.\r\n"},
    {"SASL without mechanisms stays",
     "+OK\r\nSASL\r\n.\r\n",
     false,
     false,
     NULL,
     {0},
     "+OK\r\nSASL\r\n.\r\n"},
    {"pattern hides a line",
     "+OK\r\nTOP\r\nIMPLEMENTATION Old 1.0\r\n.\r\n",
     false,
     false,
     "/^implementation/",
     {0},
     "+OK\r\nTOP\r\n.\r\n"},
    {"pattern does not hide our STLS",
     "+OK\r\nTOP\r\n.\r\n",
     true,
     false,
     "/./",
     {0},
     "+OK\r\nSTLS\r\n.\r\n"},
    {"keyword is hidden",
     "+OK\r\nUSER\r\nTOP\r\n.\r\n",
     false,
     false,
     NULL,
     {&hide_user},
     "+OK\r\nTOP\r\n.\r\n"},
    {"edit does not hide our STLS",
     "+OK\r\nTOP\r\n.\r\n",
     true,
     false,
     NULL,
     {&hide_stls},
     "+OK\r\nSTLS\r\nTOP\r\n.\r\n"},
    {"keyword is added",
     "+OK\r\nTOP\r\n.\r\n",
     true,
     false,
     NULL,
     {&add_uidl},
     "+OK\r\nSTLS\r\nTOP\r\nUIDL\r\n.\r\n"},
    {"keyword that is there is not added",
     "+OK\r\nuidl\r\n.\r\n",
     false,
     false,
     NULL,
     {&add_uidl},
     "+OK\r\nuidl\r\n.\r\n"},
    {"line is replaced",
     "+OK\r\nEXPIRE 0\r\n.\r\n",
     false,
     false,
     NULL,
     {&replace_expire},
     "+OK\r\nEXPIRE NEVER\r\n.\r\n"},
    {"later edit hides what an earlier adds",
     "+OK\r\nTOP\r\n.\r\n",
     false,
     false,
     NULL,
     {&add_uidl, &hide_uidl},
     "+OK\r\nTOP\r\n.\r\n"},
    {"bare line feeds stay", "+OK\nTOP\n.\n", false, false, NULL, {0}, "+OK\nTOP\n.\r\n"},
    {"dots that are no end",
     "+OK\r\n..\r\n.X\r\n.\r\n",
     false,
     false,
     NULL,
     {0},
     "+OK\r\n..\r\n.X\r\n.\r\n"},
    {"backend has none",
     NULL,
     true,
     false,
     NULL,
     {0},
     "+OK Capability list follows\r\nSTLS\r\nUSER\r\n.\r\n"},
    {"backend has none, login is hidden",
     NULL,
     true,
     true,
     NULL,
     {0},
     "+OK Capability list follows\r\nSTLS\r\n.\r\n"},
    {"backend has none, USER is hidden by a rule",
     NULL,
     true,
     false,
     NULL,
     {&hide_user},
     "+OK Capability list follows\r\nSTLS\r\n.\r\n"},
    {"backend has none, USER is hidden by a pattern",
     NULL,
     true,
     false,
     "/user/",
     {0},
     "+OK Capability list follows\r\nSTLS\r\n.\r\n"},
    {"backend has none, a line is added",
     NULL,
     false,
     false,
     NULL,
     {&add_uidl},
     "+OK Capability list follows\r\nUSER\r\nUIDL\r\n.\r\n"},
};

static void list_becomes(void **state)
{
    const struct list_case *c = *state;
    char error[100];
    struct pattern *pattern = NULL;
    struct pattern_list hide = {.items = &pattern};
    struct capability_edits edits = {0};
    struct reply in = {0}, out = {0};
    if (c->pattern != NULL) {
        pattern = pattern_create(c->pattern, error, sizeof error);
        assert_non_null(pattern);
        hide.count = 1;
    }
    for (size_t i = 0; i < 2 && c->edits[i] != NULL; i++)
        edits.items[edits.count++] = c->edits[i];
    const struct pop3_rules rules = {
        .offer_stls = c->offer, .hide_login = c->hide_login, .hide = &hide, .edits = &edits};
    if (c->in != NULL) {
        reply_append(&in, c->in, strlen(c->in));
        pop3_edit_capabilities(&in, &rules, &out);
    } else {
        pop3_write_capabilities(&rules, &out);
    }
    assert_bytes(out.bytes, out.len, c->want, strlen(c->want));
    pattern_destroy(pattern);
    reply_finish(&in);
    reply_finish(&out);
}

static const struct offer_case {
    const char *name;
    const char *list;
    bool want;
} offer_cases[] = {
    {"STLS is there", "+OK\r\nTOP\r\nSTLS\r\n.\r\n", true},
    {"STLS in lower case", "+OK\r\nstls\r\n.\r\n", true},
    {"no STLS", "+OK\r\nTOP\r\n.\r\n", false},
    {"STLS in the first line", "+OK STLS\r\nTOP\r\n.\r\n", false},
    {"STLS as first line", "STLS\r\n.\r\n", false},
    {"STLS as a parameter", "+OK\r\nX STLS\r\n.\r\n", false},
    {"STLSX", "+OK\r\nSTLSX\r\n.\r\n", false},
};

static void stls_is_offered(void **state)
{
    const struct offer_case *c = *state;
    struct reply r = {0};
    reply_append(&r, c->list, strlen(c->list));
    assert_int_equal(pop3_offers(&r, "STLS"), c->want);
    reply_finish(&r);
}

#define X50  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X500 X50 X50 X50 X50 X50 X50 X50 X50 X50 X50

static const struct add_case {
    const char *name;
    const char *text;
    const char *want; /* NULL: may be added */
} add_cases[] = {
    {"UIDL", "UIDL", NULL},
    {"keyword with parameters", "LOGIN-DELAY 900 USER", NULL},
    {"STLS", "stls", "only the backend or ehlock"},
    {"USER", "USER", "only the backend or ehlock"},
    {"SASL", "SASL PLAIN", "only the backend or ehlock"},
    {"XCLIENT", "XCLIENT", "only the backend or ehlock"},
    {"dot", ".", "does not begin with a keyword"},
    {"blank first", " TOP", "does not begin with a keyword"},
    {"empty", "", "does not begin with a keyword"},
    {"line end", "TOP\r\nSTLS", "not printable"},
    {"of 510 bytes", X500 "xxxxxxxxxx", NULL},
    {"of 511 bytes", X500 "xxxxxxxxxxx", "too long"},
};

static void line_may_be_added(void **state)
{
    const struct add_case *c = *state;
    const char *wrong = pop3_may_add(c->text);
    if (c->want == NULL)
        assert_null(wrong);
    else
        assert_true(wrong != NULL && strstr(wrong, c->want) != NULL);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, answer_has_status, status_cases);
    UNIT_ADD_TABLE(&u, list_ends, end_cases);
    UNIT_ADD_TABLE(&u, greeting_becomes, greeting_cases);
    UNIT_ADD_TABLE(&u, list_becomes, list_cases);
    UNIT_ADD_TABLE(&u, stls_is_offered, offer_cases);
    UNIT_ADD_TABLE(&u, line_may_be_added, add_cases);
    return unit_run(&u, "pop3_reply");
}
