/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <syslog.h>

#include "proxy/ruling.h"

/* ---- lines ---- */

static const struct bad_case {
    const char *name, *line, *want_error; /* want_error: a part of the sentence */
} bad_cases[] = {
    {"pattern without end", "/^addr: refuse", "ADDRESS/BITS ACTION"},
    {"pattern that ends in a backslash", "/a\\", "ADDRESS/BITS ACTION"},
    {"escaped delimiter is no end", "/a\\/ refuse", "ADDRESS/BITS ACTION"},
    {"bad pattern", "/a(/ refuse", "at position"},
    {"unknown flag", "/a/q refuse", "unknown flag"},
    {"pattern without action", "/a/", "\"\" is no action"},
    {"network without action", "192.0.2.1", "\"\" is no action"},
    {"unknown action", "/a/ reject", "\"reject\" is no action"},
    {"neither pattern nor network", "refuse /a/", "\"refuse\" is not ADDRESS"},
    {"too many bits", "192.0.2.0/33 refuse", "number of bits"},
    {"bits behind those that count", "192.0.2.1/24 refuse", "bits set behind"},
    {"pass takes nothing", "/a/ pass on", "takes nothing"},
    {"requireTls takes nothing", "/a/ requireTls yes", "takes nothing"},
    {"noStartTls takes nothing", "/a/ noStartTls yes", "takes nothing"},
    {"authInClear takes nothing", "/a/ authInClear yes", "takes nothing"},
    {"code of a success", "/a/ refuse 250 ok", "takes a code"},
    {"code of four digits", "/a/ refuse 5500 no", "takes a code"},
    {"code beyond the digits of RFC 5321", "/a/ refuse 560 no", "takes a code"},
    {"refusal that is not ASCII", "/a/ refuse 550 n\xc3\xb6", "printable ASCII"},
    {"hide without keyword", "/a/ hide", "needs KEYWORD"},
    {"hide with a pattern", "/a/ hide /X/", "takes keywords"},
    {"hide STARTTLS", "/a/ hide VRFY starttls", "write noStartTls"},
    {"add without keyword", "/a/ add", "needs KEYWORD"},
    {"add STARTTLS", "/a/ add STARTTLS", "only the backend"},
    {"add AUTH", "/a/ add AUTH PLAIN", "only the backend"},
    {"add AUTH in the old spelling", "/a/ add AUTH=PLAIN", "only the backend"},
    {"add XCLIENT", "/a/ add xclient NAME", "only the backend"},
    {"add CHUNKING", "/a/ add CHUNKING", "only the backend"},
    {"add what is no keyword", "/a/ add -X", "begin with a keyword"},
    {"log without level", "/a/ log", "needs a level"},
    {"log with another level", "/a/ log notice", "needs a level"},
};

static void bad_line_is_explained(void **state)
{
    const struct bad_case *c = *state;
    struct rules r = {0};
    char error[512] = "";
    assert_false(rules_add(&r, c->line, "x:1", error, sizeof error));
    assert_int_equal(r.count, 0);
    if (strstr(error, c->want_error) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error, c->want_error);
    rules_finish(&r);
}

static const struct refusal_case {
    const char *name, *line;
    int code;
    const char *enhanced, *text;
} refusal_cases[] = {
    {"nothing", "/a/ refuse", 550, "5.7.1", "Access denied"},
    {"code", "/a/ refuse 554", 554, "5.7.1", "Access denied"},
    {"temporary code", "/a/ refuse 450", 450, "4.7.1", "Access denied"},
    {"code and text", "/a/ refuse 450 Come back", 450, "4.7.1", "Come back"},
    {"code, enhanced code, text", "/a/ refuse 550 5.7.25 No name", 550, "5.7.25", "No name"},
    {"text", "/a/ refuse Go  away", 550, "5.7.1", "Go  away"},
    {"enhanced code of another class is text", "/a/ refuse 550 4.7.1 x", 550, "5.7.1", "4.7.1 x"},
    {"what is no enhanced code is text", "/a/ refuse 550 5.7 x", 550, "5.7.1", "5.7 x"},
    {"dots in a row are no enhanced code", "/a/ refuse 550 5..71", 550, "5.7.1", "5..71"},
    {"blanks around", " \t/a/\trefuse \t 550   No \r\n", 550, "5.7.1", "No"},
    {"slash in the text", "/a/ refuse 550 See http://x/y", 550, "5.7.1", "See http://x/y"},
    {"action in another case", "/a/ REFUSE 550 No", 550, "5.7.1", "No"},
};

static void refusal_is_taken_apart(void **state)
{
    const struct refusal_case *c = *state;
    struct rules r = {0};
    char error[512] = "";
    if (!rules_add(&r, c->line, "x:1", error, sizeof error))
        fail_msg("%s", error);
    const struct refusal *got = &r.items[0].refusal;
    assert_int_equal(got->code, c->code);
    assert_string_equal(got->enhanced, c->enhanced);
    assert_string_equal(got->text, c->text);
    assert_string_equal(got->reason, "refused by the rule at x:1");
    rules_finish(&r);
}

/* ---- tables ---- */

struct complaints {
    unsigned count;
    char last[600];
};

static void note_complaint(void *ctx, const char *where, const char *sentence)
{
    struct complaints *c = ctx;
    c->count++;
    snprintf(c->last, sizeof c->last, "%s: %s", where, sentence);
}

static void read_table(struct rules *r, const char *text)
{
    struct complaints complaints = {0};
    const struct rules_complaint complaint = {.tell = note_complaint, .ctx = &complaints};
    *r = (struct rules){0};
    if (!rules_add_text(r, text, strlen(text), "t", &complaint))
        fail_msg("%s", complaints.last);
}

static const struct find_case {
    const char *name, *table, *key, *want; /* want: where the rule stands; NULL: none */
} find_cases[] = {
    {"no rules", "", "addr:192.0.2.1", NULL},
    {"the first wins", "/x/ pass\n/^addr:/ pass\n/^addr:192/ refuse\n", "addr:192.0.2.1", "t:2"},
    {"lines without rules count", "# remark\n\n \t\n/./ pass", "addr:192.0.2.1", "t:4"},
    {"lines end in CRLF", "# remark\r\n/^sni:a$/ pass\r\n", "sni:a", "t:2"},
    {"case is ignored", "/^helo:A\\.example$/ pass\n", "helo:a.EXAMPLE", "t:1"},
    {"flag i", "/^helo:A$/i pass\n", "helo:a", NULL},
    {"other delimiter", "!^helo:a/b! pass\n", "helo:a/b", "t:1"},
    {"escaped delimiter", "/^helo:a\\/b/ pass\n", "helo:a/b", "t:1"},
    {"backslash before the delimiter, itself escaped", "/^helo:a\\\\/ pass\n", "helo:a\\", "t:1"},
    {"pattern says which moment", "/^helo:x/ pass\n", "sni:x", NULL},
    {"pattern that does not say it", "/x$/ pass\n", "sni:x", "t:1"},
    {"no name was asked for", "/^sni:$/ refuse\n", "sni:", "t:1"},
    {"key of no name is no other", "/^sni:$/ refuse\n", "sni:a", NULL},
    {"network", "192.0.2.0/24 pass\n", "addr:192.0.2.255", "t:1"},
    {"outside the network", "192.0.2.0/24 pass\n", "addr:192.0.3.0", NULL},
    {"one address", "192.0.2.1 pass\n", "addr:192.0.2.1", "t:1"},
    {"next address", "192.0.2.1 pass\n", "addr:192.0.2.2", NULL},
    {"IPv6 network", "2001:db8::/32 pass\n", "addr:2001:db8:ffff::1", "t:1"},
    {"IPv6 network that begins with colons", "::1 pass\n", "addr:::1", "t:1"},
    {"all IPv6 addresses are not IPv4", "::/0 pass\n", "addr:192.0.2.1", NULL},
    {"v4-mapped network", "::ffff:192.0.2.0/120 pass\n", "addr:192.0.2.9", "t:1"},
    {"network is of addresses only", "0.0.0.0/0 pass\n", "helo:192.0.2.1", NULL},
    {"Unix socket is in no network", "0.0.0.0/0 pass\n::/0 pass\n", "addr:unix", NULL},
    {"Unix socket has a key", "/^addr:unix$/ pass\n", "addr:unix", "t:1"},
    {"certificate", "/^name:a$/ pass\n", "name:a", "t:1"},
    {"key of a certificate", "/^spki-sha256:00$/ pass\n", "spki-sha256:00", "t:1"},
    {"certificate is in no network", "0.0.0.0/0 pass\n", "name:192.0.2.1", NULL},
    {"pass ends the search", "192.0.2.0/24 pass\n/./ refuse\n", "addr:192.0.2.1", "t:1"},
};

static void first_match_is_found(void **state)
{
    const struct find_case *c = *state;
    struct rules r;
    enum rule_moment moment;
    const char *text;
    read_table(&r, c->table);
    assert_true(rules_parse_key(c->key, &moment, &text));
    const struct rule *rule = rules_find(&r, moment, text, strlen(text));
    assert_int_equal(rule != NULL, c->want != NULL);
    if (rule != NULL)
        assert_string_equal(rule->where, c->want);
    rules_finish(&r);
}

/* ---- certificates ---- */

static const struct certificate_case {
    const char *name, *table, *want;
} certificate_cases[] = {
    {"nothing", "/^addr:/ refuse\n", NULL},
    {"any of its keys", "/^name:b\\.example$/ refuse\n", "t:1"},
    {"first rule, not first key", "/^name:b/ refuse\n/^sha256:/ pass\n", "t:1"},
    {"allowed before all others are refused", "/^name:b/ pass\n/^sha256:/ refuse\n", "t:1"},
    {"not allowed", "/^name:c/ pass\n/^sha256:/ refuse\n", "t:2"},
    {"network", "0.0.0.0/0 refuse\n", NULL},
    {"text that is not whole is refused", "/^subject:CN=J.rg/ refuse\n", "t:1"},
    {"text that is not whole is not allowed", "/^subject:CN=J.rg/ pass\n", NULL},
    {"and gets nothing", "/^subject:/ authInClear\n/^subject:/ hide X\n", "t:2"},
};

static void rule_of_a_certificate_is_found(void **state)
{
    static const struct tls_certificates peer = {.peer_presented = true,
                                                 .peer_sha256 = "aa11",
                                                 .peer_names = {"a.example", "b.example"},
                                                 .n_peer_names = 2,
                                                 .peer_subject = "CN=J?rg"};
    const struct certificate_case *c = *state;
    struct cert_keys keys;
    struct rules r;
    read_table(&r, c->table);
    cert_keys_set(&keys, &peer);
    const struct rule *rule = rules_find_certificate(&r, &keys);
    assert_int_equal(rule != NULL, c->want != NULL);
    if (rule != NULL)
        assert_string_equal(rule->where, c->want);
    keys.count = 0;
    assert_null(rules_find_certificate(&r, &keys));
    rules_finish(&r);
}

static void rule_knows_that_it_is_about_certificates(void **state)
{
    static const char about[] = "/^name:a/ pass\n!^sha256:! refuse\n/^subject:/i pass\n";
    static const char other[] = "/name:/ pass\n/^helo:name:/ pass\n192.0.2.1 pass\n/^/ pass\n";
    struct rules r;
    (void)state;
    read_table(&r, about);
    for (size_t i = 0; i < r.count; i++)
        assert_true(rule_is_about_certificates(&r.items[i]));
    rules_finish(&r);
    read_table(&r, other);
    for (size_t i = 0; i < r.count; i++)
        assert_false(rule_is_about_certificates(&r.items[i]));
    rules_finish(&r);
}

/* ---- tables that are wrong ---- */

static void all_bad_lines_of_a_table_are_told(void **state)
{
    static const char text[] = "/a/ pass\nnonsense\n/a/ refuse\n/b/ nonsense\n";
    struct complaints complaints = {0};
    const struct rules_complaint complaint = {.tell = note_complaint, .ctx = &complaints};
    struct rules r = {0};
    (void)state;
    assert_false(rules_add_text(&r, text, sizeof text - 1, "t", &complaint));
    assert_int_equal(complaints.count, 2);
    assert_memory_equal(complaints.last, "t:4: ", 5);
    assert_int_equal(r.count, 2);
    rules_finish(&r);
}

static void nul_and_endless_line_are_told(void **state)
{
    static char text[5000];
    struct complaints complaints = {0};
    const struct rules_complaint complaint = {.tell = note_complaint, .ctx = &complaints};
    struct rules r = {0};
    (void)state;
    assert_false(rules_add_text(&r, "/a/\0 pass", 9, "t", &complaint));
    assert_non_null(strstr(complaints.last, "NUL"));
    memset(text, ' ', sizeof text);
    memcpy(text, "/a/ pass", 8);
    assert_true(rules_add_text(&r, text, 4095, "t", &complaint));
    assert_false(rules_add_text(&r, text, 4096, "t", &complaint));
    assert_non_null(strstr(complaints.last, "longer than 4095"));
    assert_int_equal(r.count, 1);
    rules_finish(&r);
}

static void file_that_is_not_there_is_told(void **state)
{
    struct complaints complaints = {0};
    const struct rules_complaint complaint = {.tell = note_complaint, .ctx = &complaints};
    struct rules r = {0};
    (void)state;
    assert_false(rules_add_file(&r, "/nonexistent/rules", "c:7", &complaint));
    assert_string_equal(complaints.last,
                        "c:7: cannot read /nonexistent/rules: No such file or directory");
}

/* ---- a pattern that runs into its limit ---- */

static const struct limit_case {
    const char *name, *action;
    bool want;
} limit_cases[] = {
    {"refuse matches", "refuse", true},
    {"requireTls matches", "requireTls", true},
    {"noStartTls matches", "noStartTls", true},
    {"hide matches", "hide X", true},
    {"authInClear does not", "authInClear", false},
    {"add does not", "add X", false},
    {"log does not", "log debug", false},
    {"pass does not", "pass", false},
};

static void limit_is_never_to_the_clients_advantage(void **state)
{
    const struct limit_case *c = *state;
    char table[100], name[65] = "";
    struct rules r;
    memset(name, 'a', 64);
    memcpy(name + 61, "bxd", 3);
    snprintf(table, sizeof table, "/(a+)*(a+)*(a+)*[bc]d$/ %s\n", c->action);
    read_table(&r, table);
    assert_int_equal(rules_find(&r, MOMENT_HELO, name, 64) != NULL, c->want);
    rules_finish(&r);
}

/* ---- keys ---- */

static void what_is_no_key_is_refused(void **state)
{
    static const char *const keys[] = {"", "addr", "192.0.2.1", "ADDR:1", "mail:x", ":x"};
    enum rule_moment moment;
    const char *text;
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_false(rules_parse_key(keys[i], &moment, &text));
}

/* ---- what follows for a session ---- */

static const char table[] = "192.0.2.1 requireTls\n"
                            "192.0.2.2 hide SIZE\n"
                            "192.0.2.3 log debug\n"
                            "/^sni:mx$/ add X-MX\n"
                            "/^helo:clear$/ authInClear\n"
                            "/^helo:plain$/ noStartTls\n"
                            "/^helo:bad$/ refuse 550 No\n";

static struct ruling begin(const struct rules *r, const struct policy *common, const char *address)
{
    struct ruling ruling = {.rules = r, .common = common};
    (void)ruling_ask(&ruling, MOMENT_ADDRESS, address, strlen(address));
    return ruling;
}

static const struct policy *hello(struct ruling *r, const char *name)
{
    (void)ruling_ask(r, MOMENT_HELO, name, strlen(name));
    return ruling_policy(r);
}

static void policy_is_the_services_own_where_nothing_matches(void **state)
{
    const struct policy common = {.tls_level = TLS_LEVEL_MAY};
    struct rules r;
    (void)state;
    read_table(&r, table);
    struct ruling ruling = begin(&r, &common, "192.0.2.9");
    assert_ptr_equal(ruling_policy(&ruling), &common);
    assert_ptr_equal(hello(&ruling, "x"), &common);
    rules_finish(&r);
}

static void later_moment_adds_to_the_earlier(void **state)
{
    const struct policy common = {.tls_level = TLS_LEVEL_MAY};
    struct rules r;
    (void)state;
    read_table(&r, table);
    struct ruling ruling = begin(&r, &common, "192.0.2.1");
    assert_int_equal(ruling_policy(&ruling)->tls_level, TLS_LEVEL_ENCRYPT);
    const struct policy *p = hello(&ruling, "clear");
    assert_int_equal(p->tls_level, TLS_LEVEL_ENCRYPT);
    assert_true(p->auth_before_tls);
    rules_finish(&r);
}

static void second_hello_replaces_the_first(void **state)
{
    const struct policy common = {.tls_level = TLS_LEVEL_MAY};
    struct rules r;
    (void)state;
    read_table(&r, table);
    struct ruling ruling = begin(&r, &common, "192.0.2.9");
    assert_true(hello(&ruling, "clear")->auth_before_tls);
    assert_true(hello(&ruling, "plain")->hide_starttls);
    assert_false(ruling_policy(&ruling)->auth_before_tls);
    assert_int_equal(hello(&ruling, "bad")->refusal.code, 550);
    ruling_forget_hello(&ruling);
    assert_ptr_equal(ruling_policy(&ruling), &common);
    rules_finish(&r);
}

static void edits_are_in_the_order_of_the_moments(void **state)
{
    const struct capability_edit own = {0};
    const struct policy common = {.edits = {.items = {&own}, .count = 1}};
    struct rules r;
    (void)state;
    read_table(&r, table);
    struct ruling ruling = begin(&r, &common, "192.0.2.2");
    (void)ruling_ask(&ruling, MOMENT_SNI, "mx", 2);
    const struct policy *p = ruling_policy(&ruling);
    assert_int_equal(p->edits.count, 3);
    assert_ptr_equal(p->edits.items[0], &own);
    assert_string_equal(p->edits.items[1]->hide[0], "SIZE");
    assert_string_equal(p->edits.items[2]->add[0], "X-MX");
    rules_finish(&r);
}

/* The service's own and those of all moments have room. */
static void every_moment_may_edit(void **state)
{
    static const char text[] =
        "/^addr:/ hide A\n/^sni:/ hide B\n/^name:/ hide C\n/^helo:/ hide D\n";
    const struct capability_edit own = {0};
    const struct policy common = {.edits = {.items = {&own}, .count = 1}};
    struct cert_keys keys;
    struct rules r;
    (void)state;
    read_table(&r, text);
    cert_keys_set_text(&keys, "name:x");
    struct ruling ruling = begin(&r, &common, "192.0.2.1");
    (void)ruling_ask(&ruling, MOMENT_SNI, "", 0);
    (void)ruling_ask_certificate(&ruling, &keys);
    const struct policy *p = hello(&ruling, "x");
    assert_int_equal(p->edits.count, 5);
    assert_string_equal(p->edits.items[3]->hide[0], "C");
    assert_string_equal(p->edits.items[4]->hide[0], "D");
    rules_finish(&r);
}

static void log_level_is_only_raised(void **state)
{
    const struct policy common = {0};
    struct rules r;
    (void)state;
    read_table(&r, table);
    struct ruling ruling = begin(&r, &common, "192.0.2.3");
    assert_int_equal(ruling_log_level(&ruling, LOG_NOTICE), LOG_DEBUG);
    ruling = begin(&r, &common, "192.0.2.9");
    assert_int_equal(ruling_log_level(&ruling, LOG_NOTICE), LOG_NOTICE);
    rules_finish(&r);
    read_table(&r, "192.0.2.3 log info\n");
    ruling = begin(&r, &common, "192.0.2.3");
    assert_int_equal(ruling_log_level(&ruling, LOG_DEBUG), LOG_DEBUG);
    rules_finish(&r);
}

int main(void)
{
    struct unit u = {0};
    UNIT_ADD_TABLE(&u, bad_line_is_explained, bad_cases);
    UNIT_ADD_TABLE(&u, refusal_is_taken_apart, refusal_cases);
    UNIT_ADD_TABLE(&u, first_match_is_found, find_cases);
    UNIT_ADD_TABLE(&u, rule_of_a_certificate_is_found, certificate_cases);
    UNIT_ADD_TABLE(&u, limit_is_never_to_the_clients_advantage, limit_cases);
    unit_add(&u, "about certificates", rule_knows_that_it_is_about_certificates, NULL);
    unit_add(&u, "all bad lines are told", all_bad_lines_of_a_table_are_told, NULL);
    unit_add(&u, "NUL and endless line", nul_and_endless_line_are_told, NULL);
    unit_add(&u, "no file", file_that_is_not_there_is_told, NULL);
    unit_add(&u, "no key", what_is_no_key_is_refused, NULL);
    unit_add(&u, "nothing matches", policy_is_the_services_own_where_nothing_matches, NULL);
    unit_add(&u, "later moment adds", later_moment_adds_to_the_earlier, NULL);
    unit_add(&u, "second hello replaces", second_hello_replaces_the_first, NULL);
    unit_add(&u, "order of edits", edits_are_in_the_order_of_the_moments, NULL);
    unit_add(&u, "every moment edits", every_moment_may_edit, NULL);
    unit_add(&u, "log level", log_level_is_only_raised, NULL);
    return unit_run(&u, "rules");
}
