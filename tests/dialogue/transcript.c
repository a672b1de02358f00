/* SPDX-License-Identifier: ISC */
#include "transcript.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocols/memory.h"

enum { DULL = 64 }; /* repeated bytes from which on a repetition is dull */

void bytes_add(struct bytes *b, const void *data, size_t len)
{
    if (len == 0)
        return;
    if (b->len + len > b->size) {
        b->size = 2 * (b->len + len);
        b->data = memory_resize(b->data, b->size);
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

/* ---- the text of an item ---- */

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

static bool add_text(struct item *item, const char *text, const char *end);

/* "(text*count)" at `p`; returns what is behind it, or NULL. */
static const char *add_repetition(struct item *item, const char *p, const char *end)
{
    const char *close = memchr(p, ')', (size_t)(end - p));
    const char *star = close;
    while (star != NULL && star > p && *star != '*')
        star--;
    if (star == NULL || star == p)
        return NULL;
    long count = strtol(star + 1, NULL, 10);
    size_t start = item->text.len;
    for (long i = 0; i < count; i++)
        if (!add_text(item, p + 1, star))
            return NULL;
    if (item->text.len - start >= DULL) {
        item->dull_start = start;
        item->dull_end = item->text.len;
    }
    return close + 1;
}

/* The escape behind a backslash; returns what is behind it, or NULL. */
static const char *add_escape(struct item *item, const char *p, const char *end)
{
    static const char names[] = "rnt0\\", values[] = "\r\n\t\0\\";
    if (p == end)
        return NULL;
    if (*p == '(')
        return add_repetition(item, p, end);
    if (*p == 'x') {
        if (end - p < 3 || hex_digit(p[1]) < 0 || hex_digit(p[2]) < 0)
            return NULL;
        char c = (char)(hex_digit(p[1]) * 16 + hex_digit(p[2]));
        bytes_add(&item->text, &c, 1);
        return p + 3;
    }
    const char *at = strchr(names, *p);
    if (at == NULL || *at == '\0')
        return NULL;
    bytes_add(&item->text, &values[at - names], 1);
    return p + 1;
}

static bool add_text(struct item *item, const char *text, const char *end)
{
    while (text < end) {
        if (*text == '\\') {
            text = add_escape(item, text + 1, end);
            if (text == NULL)
                return false;
        } else {
            bytes_add(&item->text, text++, 1);
        }
    }
    return true;
}

/* ---- settings ---- */

static bool set_yes_no(bool *place, const char *value)
{
    *place = strcmp(value, "yes") == 0;
    return *place || strcmp(value, "no") == 0;
}

static bool set_choice(int *place, const char *value, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(value, words[i]) == 0) {
            *place = i;
            return true;
        }
    return false;
}

static bool set_number(unsigned long *place, const char *value)
{
    char *end;
    *place = strtoul(value, &end, 10);
    return end != value && *end == '\0';
}

static bool set_count(unsigned *place, const char *value)
{
    unsigned long n;
    bool good = set_number(&n, value);
    *place = (unsigned)n;
    return good;
}

static bool set_size(size_t *place, const char *value)
{
    unsigned long n;
    bool good = set_number(&n, value);
    *place = n;
    return good;
}

static bool set_pattern(struct pattern_list *list, const char *value)
{
    char error[200];
    struct pattern *p = pattern_create(value, error, sizeof error);
    if (p == NULL)
        return false;
    list->items = memory_resize(list->items, (list->count + 1) * sizeof(struct pattern *));
    list->items[list->count++] = p;
    return true;
}

static bool set_text(char **place, const char *value)
{
    struct item item = {0};
    bool good = add_text(&item, value, value + strlen(value));
    bytes_add(&item.text, "", 1);
    free(*place);
    *place = item.text.data;
    return good;
}

/* What rules do to a policy. */
static bool set_rule_option(struct transcript *t, const char *name, const char *value)
{
    struct policy *p = &t->policy;
    if (strcmp(name, "hideStarttls") == 0)
        return set_yes_no(&p->hide_starttls, value);
    if (strcmp(name, "refuse") == 0) {
        t->words[2] = memory_strdup(value);
        p->refusal = (struct refusal){
            .code = 550, .enhanced = "5.7.1", .text = t->words[2], .reason = "refused by a rule"};
        return true;
    }
    bool hides = strcmp(name, "hideKeyword") == 0;
    if ((!hides && strcmp(name, "addCapability") != 0) || t->words[hides ? 0 : 1] != NULL)
        return false;
    t->words[hides ? 0 : 1] = memory_strdup(value);
    t->edit.hide = &t->words[0];
    t->edit.n_hide = t->words[0] != NULL;
    t->edit.add = &t->words[1];
    t->edit.n_add = t->words[1] != NULL;
    p->edits = (struct capability_edits){.items = {&t->edit}, .count = 1};
    return hides || reply_may_add(value) == NULL;
}

/* Of those in which it logs in there. */
static bool set_login_option(struct transcript *t, const char *name, const char *value)
{
    bool by_token = strcmp(name, "logInByToken") == 0;
    if (by_token || strcmp(name, "logIn") == 0) {
        t->by_token = by_token;
        return set_text(&t->mechanisms, value);
    }
    bool unverified = strcmp(name, "verified") == 0 && strcmp(value, "no") == 0;
    t->unverified = t->unverified || unverified;
    return unverified;
}

static bool set_level(enum tls_level *level, const char *value)
{
    static const char *const levels[] = {"none", "may", "encrypt", NULL};
    int choice = 0;
    bool good = set_choice(&choice, value, levels);
    *level = (enum tls_level)choice;
    return good;
}

/* Of sessions in which ehlock asks the backend for TLS. */
static bool set_request_option(struct transcript *t, const char *name, const char *value)
{
    if (strcmp(name, "fallBack") == 0)
        return set_yes_no(&t->policy.fall_back, value);
    if (strcmp(name, "serverStartsWithTls") == 0)
        return set_yes_no(&t->server_starts_with_tls, value);
    if (strcmp(name, "newConnection") == 0)
        return set_yes_no(&t->new_connection, value);
    if (strcmp(name, "otherServer") == 0)
        return t->other_server = set_level(&t->other_level, value);
    if (strcmp(name, "untrusted") == 0)
        return set_text(&t->untrusted, value);
    return set_login_option(t, name, value);
}

/* Of sessions in which the backend is told who the client is, or the client has to show it. */
static bool set_client_option(struct transcript *t, const char *name, const char *value)
{
    if (strcmp(name, "xclient") == 0)
        return set_yes_no(&t->policy.xclient, value);
    if (strcmp(name, "reconnect") == 0)
        return set_yes_no(&t->policy.reconnect, value);
    if (strcmp(name, "login") == 0)
        return set_text(&t->login, value);
    if (strcmp(name, "unwelcome") == 0)
        return set_text(&t->unwelcome, value);
    return set_request_option(t, name, value);
}

static bool set_option(struct transcript *t, const char *name, const char *value)
{
    static const char *const newlines[] = {"refuse", "normalize", "pass", NULL};
    struct policy *p = &t->policy;
    int choice = 0;
    bool good;
    if (strcmp(name, "tlsLevel") == 0) {
        good = set_level(&p->tls_level, value);
    } else if (strcmp(name, "bareNewline") == 0) {
        good = set_choice(&choice, value, newlines);
        p->bare_newline = (enum bare_newline)choice;
    } else if (strcmp(name, "authBeforeTls") == 0) {
        good = set_yes_no(&p->auth_before_tls, value);
    } else if (strcmp(name, "trace") == 0) {
        good = set_yes_no(&p->trace, value);
    } else if (strcmp(name, "maxCommandLength") == 0) {
        good = set_size(&p->max_command, value);
    } else if (strcmp(name, "maxReplySize") == 0) {
        good = set_size(&p->max_reply, value);
    } else if (strcmp(name, "maxUselessCommands") == 0) {
        good = set_count(&p->max_useless, value);
    } else if (strcmp(name, "TIMEOUTidle") == 0) {
        good = set_count(&p->idle_seconds, value);
    } else if (strcmp(name, "TIMEOUTbusy") == 0) {
        good = set_count(&p->busy_seconds, value);
    } else if (strcmp(name, "TIMEOUTpretls") == 0) {
        t->pretls_ms = (int64_t)(strtod(value, NULL) * 1000);
        good = t->pretls_ms > 0;
    } else if (strcmp(name, "hideCapability") == 0) {
        good = set_pattern(&p->hide, value);
    } else if (strcmp(name, "hostname") == 0) {
        free(t->hostname);
        t->hostname = memory_strdup(value);
        good = true;
    } else if (strcmp(name, "keys") == 0) {
        good = set_yes_no(&t->keys_ready, value);
    } else if (strcmp(name, "startsWithTls") == 0) {
        good = set_yes_no(&t->starts_with_tls, value);
    } else if (strcmp(name, "deliver") == 0) {
        good = strcmp(value, "whole") == 0;
        t->only_whole = true;
    } else {
        good = set_request_option(t, name, value) || set_rule_option(t, name, value) ||
               set_client_option(t, name, value);
    }
    return good;
}

/* ---- lines ---- */

static struct item *add_item(struct transcript *t, enum item_kind kind, unsigned line)
{
    t->items = memory_resize(t->items, (t->count + 1) * sizeof *t->items);
    t->items[t->count] = (struct item){.kind = kind, .line = line};
    return &t->items[t->count++];
}

/* "C: text", "C| text" and their like. */
static bool read_speech(struct transcript *t, const char *text, unsigned line)
{
    static const char peers[] = "CBSP";
    static const enum item_kind kinds[] = {CLIENT_SENDS, BACKEND_HEARS, BACKEND_SENDS,
                                           CLIENT_HEARS};
    const char *peer = strchr(peers, text[0]);
    if (peer == NULL || (text[1] != ':' && text[1] != '|') || (text[2] != ' ' && text[2] != '\0'))
        return false;
    struct item *item = add_item(t, kinds[peer - peers], line);
    const char *said = text[2] == '\0' ? text + 2 : text + 3;
    if (!add_text(item, said, said + strlen(said)))
        return false;
    if (text[1] == ':')
        bytes_add(&item->text, "\r\n", 2);
    return true;
}

static void add_text_item(struct transcript *t, enum item_kind kind, const char *text,
                          unsigned line)
{
    struct item *item = add_item(t, kind, line);
    bytes_add(&item->text, text, strlen(text));
}

/* TLS on the backend's side, put together from what it hears and says. */
static bool read_server_event(struct transcript *t, const char *text, unsigned line)
{
    bool comes_about = strcmp(text, "S-TLS") == 0, fails = strcmp(text, "S-TLS fails") == 0;
    if (strcmp(text, "S-NEW") == 0) {
        add_item(t, BACKEND_IS_NEW, line);
        return true;
    }
    if (!comes_about && !fails && strcmp(text, "S-HELLO") != 0)
        return false;
    add_text_item(t, BACKEND_HEARS, CLIENT_HELLO, line);
    if (comes_about || fails)
        add_text_item(t, BACKEND_SENDS, fails ? "?" : SERVER_HELLO, line);
    if (comes_about)
        add_item(t, BACKEND_HAS_TLS, line);
    return true;
}

static bool read_event(struct transcript *t, const char *text, unsigned line)
{
    static const struct {
        const char *word;
        enum item_kind kind;
        const char *sent;
    } events[] = {
        {"TLS", TLS_BEGINS, CLIENT_HELLO},    {"TLS fails", TLS_FAILS, CLIENT_HELLO},
        {"TLS garbage", TLS_FAILS, "?"},      {"C-EOF", CLIENT_ENDS, ""},
        {"C-BYE", CLIENT_SAYS_BYE, ""},       {"S-EOF", BACKEND_ENDS, ""},
        {"B-EOF", BACKEND_HEARS_END, ""},     {"P-EOF", CLIENT_HEARS_END, ""},
        {"S-CLOSE", BACKEND_CLOSES_DOWN, ""}, {"STOP", STOP, ""},
    };
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (strcmp(text, events[i].word) == 0) {
            struct item *item = add_item(t, events[i].kind, line);
            bytes_add(&item->text, events[i].sent, strlen(events[i].sent));
            return true;
        }
    return read_server_event(t, text, line);
}

static bool read_verdict(struct transcript *t, const char *word, const char *rest)
{
    static const char *const ends[] = {"go on", "pump", "done", "refused", "lost", NULL};
    int end = 0;
    if (strcmp(word, "END") == 0) {
        bool good = t->end == DIALOGUE_GO_ON && set_choice(&end, rest, ends);
        t->end = (enum dialogue_end)end;
        return good;
    }
    if (strcmp(word, "REASON") == 0 && t->reason == NULL) {
        t->reason = memory_strdup(rest);
        return true;
    }
    if (strcmp(word, "STEP") == 0 && t->step == NULL) {
        t->step = memory_strdup(rest);
        return true;
    }
    if (strcmp(word, "TALLY") == 0) {
        t->has_tally = true;
        return sscanf(rest, "mail=%u rcpt=%u accepted=%u", &t->tally.senders, &t->tally.recipients,
                      &t->tally.messages) == 3;
    }
    return false;
}

static bool read_line(struct transcript *t, char *text, unsigned line)
{
    char word[32], value[512];
    int behind = 0;
    if (text[0] == '\0' || text[0] == '#')
        return true;
    if (t->end == DIALOGUE_GO_ON && (text[1] == ':' || text[1] == '|'))
        return read_speech(t, text, line);
    if (t->end == DIALOGUE_GO_ON && read_event(t, text, line))
        return true;
    if (t->count == 0 && sscanf(text, "set %31s %511[^\n]", word, value) == 2)
        return set_option(t, word, value);
    if (sscanf(text, "%31s %n", word, &behind) == 1 && behind > 0)
        return read_verdict(t, word, text + behind);
    return false;
}

static bool is_sentence(const char *text)
{
    size_t len = strlen(text);
    return len > 20 && text[len - 1] == '.' && text[1] != ':' && text[1] != '|';
}

static bool read_lines(struct transcript *t, FILE *in)
{
    char *text = NULL;
    size_t size = 0;
    unsigned line = 0;
    bool good = true;
    ssize_t len;
    while (good && (len = getline(&text, &size, in)) > 0) {
        if (text[len - 1] == '\n')
            text[len - 1] = '\0';
        good = ++line == 1 ? is_sentence(text) : read_line(t, text, line);
    }
    free(text);
    if (good && t->end == DIALOGUE_GO_ON) {
        printf("# %s: END is missing\n", t->path);
        return false;
    }
    if (!good)
        printf("# %s:%u: this line is not understood\n", t->path, line);
    return good;
}

bool transcript_read(struct transcript *t, const char *path)
{
    *t = (struct transcript){
        .path = memory_strdup(path),
        .hostname = memory_strdup("mx.example.org"),
        .pretls_ms = 60 * 1000,
        .keys_ready = true,
        .new_connection = true,
        .policy = {.tls_level = TLS_LEVEL_MAY,
                   .max_command = 12288,
                   .max_reply = 65536,
                   .max_useless = 100,
                   .idle_seconds = 60,
                   .busy_seconds = 60},
    };
    FILE *in = fopen(path, "r");
    if (in == NULL) {
        printf("# %s: cannot be opened\n", path);
        return false;
    }
    bool good = read_lines(t, in);
    fclose(in);
    t->policy.hostname = t->hostname;
    return good;
}

void transcript_free(struct transcript *t)
{
    for (size_t i = 0; i < t->count; i++)
        bytes_free(&t->items[i].text);
    for (size_t i = 0; i < t->policy.hide.count; i++)
        pattern_destroy(t->policy.hide.items[i]);
    free(t->policy.hide.items);
    for (size_t i = 0; i < sizeof t->words / sizeof *t->words; i++)
        free(t->words[i]);
    free(t->items);
    free(t->path);
    free(t->hostname);
    free(t->untrusted);
    free(t->login);
    free(t->mechanisms);
    free(t->unwelcome);
    free(t->reason);
    free(t->step);
    *t = (struct transcript){0};
}

struct bytes transcript_stream(const struct transcript *t, enum item_kind kind)
{
    struct bytes all = {0};
    for (size_t i = 0; i < t->count; i++) {
        const struct item *item = &t->items[i];
        bool hello = item->kind == TLS_BEGINS || item->kind == TLS_FAILS;
        if (item->kind == kind || (kind == CLIENT_SENDS && hello))
            bytes_add(&all, item->text.data, item->text.len);
        if (item->kind == TLS_BEGINS && kind == CLIENT_HEARS)
            bytes_add(&all, SERVER_HELLO, strlen(SERVER_HELLO));
    }
    return all;
}
