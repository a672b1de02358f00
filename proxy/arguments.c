/* SPDX-License-Identifier: ISC */
#include "proxy/arguments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocols/memory.h"

struct splitter {
    const char *at; /* what comes next */
    const char *const *names;
    struct argument_list *out;
    struct argument *word; /* the last of `out`; NULL between words */
    char *text;            /* what is gathered for its next part */
    size_t len;
    char *error;
    size_t error_size;
};

/* ---- the word that is being read ---- */

static void begin_word(struct splitter *s)
{
    struct argument_list *a = s->out;
    if (s->word != NULL)
        return;
    a->items = memory_resize(a->items, (a->count + 1) * sizeof *a->items);
    s->word = &a->items[a->count++];
    *s->word = (struct argument){0};
}

static void add_part(struct argument *word, struct argument_part part)
{
    word->parts = memory_resize(word->parts, (word->count + 1) * sizeof *word->parts);
    word->parts[word->count++] = part;
}

/* What was gathered becomes a part. */
static void end_text(struct splitter *s)
{
    if (s->len == 0)
        return;
    s->text[s->len] = '\0';
    add_part(s->word, (struct argument_part){.text = memory_strdup(s->text)});
    s->len = 0;
}

static void end_word(struct splitter *s)
{
    if (s->word != NULL)
        end_text(s);
    s->word = NULL;
}

static void put(struct splitter *s, char c)
{
    s->text[s->len++] = c;
}

static bool fail(struct splitter *s, const char *why)
{
    snprintf(s->error, s->error_size, "%s", why);
    return false;
}

/* ---- what stands in a text; each begins with its mark at s->at ---- */

static bool take_value(struct splitter *s)
{
    if (s->at[1] != '{')
        return fail(s, "a $ is written \\$, or '$', unless ${NAME} is meant");
    const char *name = s->at + 2;
    size_t len = strcspn(name, "}");
    if (name[len] == '\0')
        return fail(s, "a ${ without its }");
    for (size_t i = 0; s->names[i] != NULL; i++) {
        if (strlen(s->names[i]) != len || strncmp(s->names[i], name, len) != 0)
            continue;
        end_text(s);
        add_part(s->word, (struct argument_part){.value = i});
        s->at = name + len + 1;
        return true;
    }
    snprintf(s->error, s->error_size, "there is no ${%.*s}", len < 64 ? (int)len : 64, name);
    return false;
}

static bool take_single_quotes(struct splitter *s)
{
    for (s->at++; *s->at != '\''; s->at++) {
        if (*s->at == '\0')
            return fail(s, "a ' without its partner");
        put(s, *s->at);
    }
    s->at++;
    return true;
}

static bool take_double_quotes(struct splitter *s)
{
    s->at++;
    while (*s->at != '"') {
        if (*s->at == '\0')
            return fail(s, "a \" without its partner");
        if (*s->at == '$') {
            if (!take_value(s))
                return false;
            continue;
        }
        if (*s->at == '\\' && s->at[1] != '\0' && strchr("\"\\$`", s->at[1]) != NULL)
            s->at++;
        put(s, *s->at++);
    }
    s->at++;
    return true;
}

static bool take_backslash(struct splitter *s)
{
    if (s->at[1] == '\0')
        return fail(s, "a backslash at the end, with nothing behind it");
    put(s, s->at[1]);
    s->at += 2;
    return true;
}

static bool take_next(struct splitter *s)
{
    if (*s->at == ' ' || *s->at == '\t') {
        end_word(s);
        s->at++;
        return true;
    }
    begin_word(s);
    switch (*s->at) {
    case '\'':
        return take_single_quotes(s);
    case '"':
        return take_double_quotes(s);
    case '\\':
        return take_backslash(s);
    case '$':
        return take_value(s);
    default:
        put(s, *s->at++);
        return true;
    }
}

bool arguments_parse(struct argument_list *a, const char *text, const char *const *names,
                     char *error, size_t error_size)
{
    struct splitter s = {.at = text,
                         .names = names,
                         .out = a,
                         .text = memory_alloc(strlen(text) + 1),
                         .error = error,
                         .error_size = error_size};
    bool ok = true;
    *a = (struct argument_list){0};
    while (ok && *s.at != '\0')
        ok = take_next(&s);
    if (ok)
        end_word(&s);
    if (ok && a->count == 0)
        ok = fail(&s, "there is no word in it");
    free(s.text);
    if (!ok)
        arguments_finish(a);
    return ok;
}

void arguments_set(struct argument_list *a, const char *word)
{
    struct splitter s = {.out = a};
    *a = (struct argument_list){0};
    begin_word(&s);
    add_part(s.word, (struct argument_part){.text = memory_strdup(word)});
}

const char *arguments_first(const struct argument_list *a)
{
    return a->count > 0 && a->items[0].count == 1 ? a->items[0].parts[0].text : NULL;
}

bool arguments_use(const struct argument_list *a, size_t value)
{
    for (size_t i = 0; i < a->count; i++)
        for (size_t n = 0; n < a->items[i].count; n++)
            if (a->items[i].parts[n].text == NULL && a->items[i].parts[n].value == value)
                return true;
    return false;
}

/* ---- filling in ---- */

static const char *text_of(const struct argument_part *part, const char *const *values)
{
    const char *text = part->text != NULL ? part->text : values[part->value];
    return text != NULL ? text : "";
}

static char *fill(const struct argument *word, const char *const *values)
{
    size_t size = 1, len = 0;
    for (size_t i = 0; i < word->count; i++)
        size += strlen(text_of(&word->parts[i], values));
    char *out = memory_alloc(size);
    for (size_t i = 0; i < word->count; i++) {
        const char *text = text_of(&word->parts[i], values);
        size_t n = strlen(text);
        memcpy(out + len, text, n);
        len += n;
    }
    out[len] = '\0';
    return out;
}

char **arguments_fill(const struct argument_list *a, const char *const *values)
{
    char **argv = memory_alloc((a->count + 1) * sizeof *argv);
    for (size_t i = 0; i < a->count; i++)
        argv[i] = fill(&a->items[i], values);
    argv[a->count] = NULL;
    return argv;
}

void arguments_release(char **argv)
{
    for (char **word = argv; *word != NULL; word++)
        free(*word);
    free(argv);
}

void arguments_finish(struct argument_list *a)
{
    for (size_t i = 0; i < a->count; i++) {
        for (size_t n = 0; n < a->items[i].count; n++)
            free(a->items[i].parts[n].text);
        free(a->items[i].parts);
    }
    free(a->items);
    *a = (struct argument_list){0};
}
