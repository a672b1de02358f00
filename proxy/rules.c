/* SPDX-License-Identifier: ISC */
#include "proxy/rules.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include "protocols/memory.h"

enum {
    FILE_MAX = 4 * 1024 * 1024, /* bytes: a larger one is not a table of rules */
    LINE_LENGTH = 4096,
    REFUSAL_MAX = 400, /* bytes of a refusal's text */
};

static const char *const moment_names[RULE_MOMENTS] = {
    [MOMENT_ADDRESS] = "addr:",
    [MOMENT_SNI] = "sni:",
    [MOMENT_CERTIFICATE] = "", /* its keys have names of their own */
    [MOMENT_HELO] = "helo:"};

static const char *const action_names[] = {
    [RULE_PASS] = "pass",
    [RULE_REFUSE] = "refuse",
    [RULE_REQUIRE_TLS] = "requireTls",
    [RULE_NO_STARTTLS] = "noStartTls",
    [RULE_AUTH_IN_CLEAR] = "authInClear",
    [RULE_HIDE] = "hide",
    [RULE_ADD] = "add",
    [RULE_LOG] = "log",
};

const char *rule_action_name(enum rule_action action)
{
    return action_names[action];
}

/* ---- words ---- */

static size_t word_length(const char *text)
{
    return strcspn(text, " \t");
}

static char *skip_blanks(char *text)
{
    return text + strspn(text, " \t");
}

/* Cuts off the first word. Returns what follows it and its blanks. */
static char *cut_word(char *text)
{
    char *end = text + word_length(text);
    if (*end == '\0')
        return end;
    *end = '\0';
    return skip_blanks(end + 1);
}

/* The text without blanks around it, and without the CR of a line end; copied. */
static char *copy_trimmed(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    char *copy = memory_strdup(text);
    size_t n = strlen(copy);
    while (n > 0 && isspace((unsigned char)copy[n - 1]))
        copy[--n] = '\0';
    return copy;
}

/* ---- what an action is given; `text` is the rule's own copy ---- */

static const char *take_nothing(struct rule *rule, char *text)
{
    (void)rule;
    return *text == '\0' ? NULL : "takes nothing behind it";
}

static bool is_code(const char *text)
{
    return (text[0] == '4' || text[0] == '5') && text[1] >= '0' && text[1] <= '5' &&
           isdigit((unsigned char)text[2]) && word_length(text) == 3;
}

/* "class.subject.detail" of RFC 3463 §2, whose class is that of the code. */
static bool is_enhanced(const char *text, char class)
{
    size_t len = word_length(text), dots = 0;
    if (len < 5 || len > 9 || text[0] != class || text[1] != '.' || text[len - 1] == '.')
        return false;
    for (size_t i = 1; i < len; i++) {
        dots += text[i] == '.';
        if ((text[i] != '.' && !isdigit((unsigned char)text[i])) ||
            (text[i] == '.' && text[i - 1] == '.'))
            return false;
    }
    return dots == 2;
}

/* [CODE [ENHANCED]] [TEXT]; what is not there is made up. */
static const char *take_refusal(struct rule *rule, char *text)
{
    struct refusal *r = &rule->refusal;
    *r = (struct refusal){.code = 550, .reason = rule->reason};
    if (isdigit((unsigned char)text[0])) {
        if (!is_code(text))
            return "takes a code from 400 to 559, or a text that does not begin with a digit";
        r->code = atoi(text);
        text = cut_word(text);
    }
    r->enhanced = r->code / 100 == 4 ? "4.7.1" : "5.7.1";
    if (is_enhanced(text, r->enhanced[0])) {
        r->enhanced = text;
        text = cut_word(text);
    }
    if (strlen(text) > REFUSAL_MAX)
        return "takes a text of at most 400 bytes";
    for (const char *p = text; *p != '\0'; p++)
        if (*p < ' ' || *p > '~')
            return "takes a text in printable ASCII";
    r->text = *text != '\0' ? text : "Access denied";
    return NULL;
}

static bool is_keyword(const char *word)
{
    if (*word == '\0')
        return false;
    for (; *word != '\0'; word++)
        if (!isalnum((unsigned char)*word) && *word != '-' && *word != '_')
            return false;
    return true;
}

static void push(char ***list, size_t *count, char *text)
{
    *list = memory_resize(*list, (*count + 1) * sizeof **list);
    (*list)[(*count)++] = text;
}

static const char *take_hidden(struct rule *rule, char *text)
{
    if (*text == '\0')
        return "needs KEYWORD...";
    while (*text != '\0') {
        char *word = text;
        text = cut_word(text);
        if (!is_keyword(word))
            return "takes keywords of letters, digits, '-' and '_'";
        if (strcasecmp(word, "STARTTLS") == 0 || strcasecmp(word, "STLS") == 0)
            return "cannot hide STARTTLS and STLS: write noStartTls";
        push(&rule->edit.hide, &rule->edit.n_hide, word);
    }
    return NULL;
}

static const char *take_added(struct rule *rule, char *text)
{
    if (*text == '\0')
        return "needs KEYWORD [PARAMETERS]";
    const char *wrong = reply_may_add(text);
    if (wrong == NULL)
        push(&rule->edit.add, &rule->edit.n_add, text);
    return wrong;
}

static const char *take_level(struct rule *rule, char *text)
{
    if (strcasecmp(text, "info") == 0)
        rule->log_level = LOG_INFO;
    else if (strcasecmp(text, "debug") == 0)
        rule->log_level = LOG_DEBUG;
    else
        return "needs a level, info or debug";
    return NULL;
}

static const char *take_arguments(struct rule *rule, char *text)
{
    switch (rule->action) {
    case RULE_PASS:
    case RULE_REQUIRE_TLS:
    case RULE_NO_STARTTLS:
    case RULE_AUTH_IN_CLEAR:
        return take_nothing(rule, text);
    case RULE_REFUSE:
        return take_refusal(rule, text);
    case RULE_HIDE:
        return take_hidden(rule, text);
    case RULE_ADD:
        return take_added(rule, text);
    case RULE_LOG:
        return take_level(rule, text);
    }
    return NULL;
}

/* ---- a line ---- */

static void finish_rule(struct rule *rule)
{
    pattern_destroy(rule->pattern);
    free(rule->edit.hide);
    free(rule->edit.add);
    free(rule->words);
    free(rule->text);
    free(rule->where);
    free(rule->reason);
}

static char *make_reason(const char *where)
{
    static const char begin[] = "refused by the rule at ";
    size_t size = sizeof begin + strlen(where);
    char *reason = memory_alloc(size);
    snprintf(reason, size, "%s%s", begin, where);
    return reason;
}

/* Bytes of /pattern/flags: up to the delimiter's next place without a backslash before it, and to
 * the blank or end behind that. 0: there is none. */
static size_t pattern_length(const char *text)
{
    size_t i = 1;
    while (text[i] != text[0]) {
        if (text[i] == '\\' && text[i + 1] != '\0')
            i++;
        if (text[i] == '\0')
            return 0;
        i++;
    }
    return i + word_length(text + i);
}

/* A network begins with a digit, a letter or a colon; none of them begins a pattern here. */
static bool begins_network(const char *text)
{
    return isalnum((unsigned char)text[0]) || text[0] == ':';
}

/* What the rule is about. `*rest` is set to what follows it. */
static bool take_subject(struct rule *rule, char **rest, char *error, size_t size)
{
    char *text = *rest;
    bool network = begins_network(text);
    size_t len = network ? word_length(text) : pattern_length(text);
    if (len == 0) {
        snprintf(error, size, "a rule is written /pattern/ ACTION or ADDRESS/BITS ACTION");
        return false;
    }
    *rest = skip_blanks(text + len);
    text[len] = '\0';
    if (!network) {
        rule->pattern = pattern_create(text, error, size);
        return rule->pattern != NULL;
    }
    const char *wrong = network_parse(text, &rule->network);
    if (wrong != NULL)
        snprintf(error, size, "\"%.80s\" %s", text, wrong);
    return wrong == NULL;
}

static bool find_action(const char *word, enum rule_action *action)
{
    for (size_t i = 0; i < sizeof action_names / sizeof *action_names; i++)
        if (strcasecmp(word, action_names[i]) == 0) {
            *action = (enum rule_action)i;
            return true;
        }
    return false;
}

static bool parse(struct rule *rule, char *error, size_t size)
{
    char *rest = rule->words;
    if (!take_subject(rule, &rest, error, size))
        return false;
    char *name = rest;
    rest = cut_word(rest);
    if (!find_action(name, &rule->action)) {
        snprintf(error, size,
                 "\"%.40s\" is no action; these are: pass refuse requireTls noStartTls authInClear "
                 "hide add log",
                 name);
        return false;
    }
    const char *wrong = take_arguments(rule, rest);
    if (wrong != NULL)
        snprintf(error, size, "%s %s", rule_action_name(rule->action), wrong);
    return wrong == NULL;
}

bool rules_add(struct rules *r, const char *line, const char *where, char *error, size_t error_size)
{
    struct rule rule = {.text = copy_trimmed(line)};
    if (rule.text[0] == '\0' || rule.text[0] == '#') {
        free(rule.text);
        return true;
    }
    rule.words = memory_strdup(rule.text);
    rule.where = memory_strdup(where);
    rule.reason = make_reason(where);
    if (!parse(&rule, error, error_size)) {
        finish_rule(&rule);
        return false;
    }
    r->items = memory_resize(r->items, (r->count + 1) * sizeof *r->items);
    r->items[r->count++] = rule;
    return true;
}

void rules_finish(struct rules *r)
{
    for (size_t i = 0; i < r->count; i++)
        finish_rule(&r->items[i]);
    free(r->items);
    *r = (struct rules){0};
}

/* ---- texts and files ---- */

static bool add_line(struct rules *r, const char *text, size_t len, const char *where, char *error,
                     size_t size)
{
    char line[LINE_LENGTH];
    if (len >= sizeof line) {
        snprintf(error, size, "the line is longer than %d bytes", LINE_LENGTH - 1);
        return false;
    }
    if (memchr(text, '\0', len) != NULL) {
        snprintf(error, size, "the line holds a NUL byte");
        return false;
    }
    memcpy(line, text, len);
    line[len] = '\0';
    return rules_add(r, line, where, error, size);
}

bool rules_add_text(struct rules *r, const char *text, size_t len, const char *name,
                    const struct rules_complaint *complaint)
{
    char where[512], error[512];
    bool good = true;
    for (unsigned number = 1; len > 0; number++) {
        const char *lf = memchr(text, '\n', len);
        size_t n = lf != NULL ? (size_t)(lf - text) : len;
        snprintf(where, sizeof where, "%.400s:%u", name, number);
        if (!add_line(r, text, n, where, error, sizeof error)) {
            complaint->tell(complaint->ctx, where, error);
            good = false;
        }
        n += lf != NULL;
        text += n;
        len -= n;
    }
    return good;
}

static bool fail_file(const char *where, const char *path, const char *why,
                      const struct rules_complaint *complaint)
{
    char sentence[512];
    snprintf(sentence, sizeof sentence, "cannot read %.300s: %s", path, why);
    complaint->tell(complaint->ctx, where, sentence);
    return false;
}

bool rules_add_file(struct rules *r, const char *path, const char *where,
                    const struct rules_complaint *complaint)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return fail_file(where, path, strerror(errno), complaint);
    char *text = memory_alloc(FILE_MAX + 1);
    size_t len = fread(text, 1, FILE_MAX + 1, f);
    int failed = ferror(f) ? errno : 0;
    bool good;
    fclose(f);
    if (failed != 0)
        good = fail_file(where, path, strerror(failed), complaint);
    else if (len > FILE_MAX)
        good = fail_file(where, path, "it is larger than 4 MB", complaint);
    else
        good = rules_add_text(r, text, len, path, complaint);
    free(text);
    return good;
}

/* ---- matching ---- */

/* Whether running into the limit is a match: never to the client's advantage. */
static bool matches_at_limit(enum rule_action action)
{
    switch (action) {
    case RULE_REFUSE:
    case RULE_REQUIRE_TLS:
    case RULE_NO_STARTTLS:
    case RULE_HIDE:
        return true;
    case RULE_PASS:
    case RULE_AUTH_IN_CLEAR:
    case RULE_ADD:
    case RULE_LOG:
        return false;
    }
    return false;
}

/* The address in a key's text; false for "unix", and for anything else that is none. */
static bool read_address(const char *text, struct address *out)
{
    struct network n;
    if (network_parse(text, &n) != NULL || n.bits != (n.ipv4 ? 32 : 128))
        return false;
    *out = address_of(n.ipv4 ? AF_INET : AF_INET6, n.bytes, 0);
    return true;
}

const struct rule *rules_find(const struct rules *r, enum rule_moment moment, const char *text,
                              size_t len)
{
    size_t name_len = strlen(moment_names[moment]), key_len = name_len + len;
    const struct rule *found = NULL;
    struct address address;
    if (r->count == 0)
        return NULL;
    char *key = memory_alloc(key_len + 1);
    memcpy(key, moment_names[moment], name_len);
    memcpy(key + name_len, text, len);
    key[key_len] = '\0';
    bool has_address = moment == MOMENT_ADDRESS && read_address(key + name_len, &address);
    for (size_t i = 0; i < r->count && found == NULL; i++) {
        struct rule *rule = &r->items[i];
        const struct network_list one = {.items = &rule->network, .count = 1};
        if (rule->pattern != NULL
                ? pattern_matches(rule->pattern, key, key_len, matches_at_limit(rule->action))
                : has_address && network_list_has(&one, &address))
            found = rule;
    }
    free(key);
    return found;
}

const struct rule *rules_find_certificate(const struct rules *r, const struct cert_keys *keys)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct rule *rule = &r->items[i];
        bool doubtful = matches_at_limit(rule->action);
        for (size_t k = 0; rule->pattern != NULL && k < keys->count; k++) {
            const struct cert_key *key = &keys->items[k];
            if ((key->whole || doubtful) &&
                pattern_matches(rule->pattern, key->text, strlen(key->text), doubtful))
                return rule;
        }
    }
    return NULL;
}

bool rule_is_about_certificates(const struct rule *rule)
{
    return rule->pattern != NULL && rule->text[1] == '^' && cert_key_is_one(rule->text + 2);
}

bool rules_parse_key(const char *key, enum rule_moment *moment, const char **text)
{
    for (int i = 0; i < RULE_MOMENTS; i++) {
        size_t len = strlen(moment_names[i]);
        if (len == 0 ? !cert_key_is_one(key) : strncmp(key, moment_names[i], len) != 0)
            continue;
        *moment = (enum rule_moment)i;
        *text = key + len;
        return true;
    }
    return false;
}

/* ---- what follows ---- */

static void explain_refusal(const struct refusal *r, enum rule_moment moment, FILE *out)
{
    int opening = r->code / 100 == 4 ? 421 : 554;
    switch (moment) {
    case MOMENT_ADDRESS:
        fprintf(out, "the client is told %d %s %s in place of a greeting", opening, r->enhanced,
                r->text);
        break;
    case MOMENT_SNI:
    case MOMENT_CERTIFICATE:
        fprintf(out, "the client is told %d %s %s after the handshake, %d with implicitTls",
                r->code, r->enhanced, r->text, opening);
        break;
    case MOMENT_HELO:
        fprintf(out, "the client is told %d %s %s", r->code, r->enhanced, r->text);
        break;
    }
    fprintf(out, ", and the connection is closed\n");
}

void rule_explain(const struct rule *rule, enum rule_moment moment, FILE *out)
{
    const struct capability_edit *e = &rule->edit;
    switch (rule->action) {
    case RULE_PASS:
        fprintf(out, "nothing changes, and no further rule is asked about this\n");
        break;
    case RULE_REFUSE:
        explain_refusal(&rule->refusal, moment, out);
        break;
    case RULE_REQUIRE_TLS:
        fprintf(out, "the client must begin TLS, as with tlsLevel = encrypt\n");
        break;
    case RULE_NO_STARTTLS:
        fprintf(out, "STARTTLS is not offered, unless TLS is required\n");
        break;
    case RULE_AUTH_IN_CLEAR:
        fprintf(out, "AUTH is shown and allowed without TLS, as with authBeforeTls = yes\n");
        break;
    case RULE_HIDE:
        fprintf(out, "hidden from the list of capabilities:");
        for (size_t i = 0; i < e->n_hide; i++)
            fprintf(out, " %s", e->hide[i]);
        fprintf(out, "\n");
        break;
    case RULE_ADD:
        fprintf(out, "added to the list of capabilities: %s\n", e->add[0]);
        break;
    case RULE_LOG:
        fprintf(out, "the session is logged with debug = %s\n",
                rule->log_level == LOG_DEBUG ? "debug" : "info");
        break;
    }
}

static void add_edit(struct capability_edits *edits, const struct capability_edit *e)
{
    if (edits->count < CAPABILITY_EDITS_MAX)
        edits->items[edits->count++] = e;
}

void rule_apply(const struct rule *rule, struct policy *policy)
{
    switch (rule->action) {
    case RULE_PASS:
    case RULE_LOG:
        break;
    case RULE_REFUSE:
        policy->refusal = rule->refusal;
        break;
    case RULE_REQUIRE_TLS:
        policy->tls_level = TLS_LEVEL_ENCRYPT;
        break;
    case RULE_NO_STARTTLS:
        policy->hide_starttls = true;
        break;
    case RULE_AUTH_IN_CLEAR:
        policy->auth_before_tls = true;
        break;
    case RULE_HIDE:
    case RULE_ADD:
        add_edit(&policy->edits, &rule->edit);
        break;
    }
}
