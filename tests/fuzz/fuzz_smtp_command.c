/* SPDX-License-Identifier: ISC
 *
 * Command lines: what is taken can be put together again, and means the same then.
 */
#include "fuzz.h"
#include "protocols/smtp_command.h"

static bool is_verb_char(char c)
{
    return c != '\0' &&
           strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", c) != NULL;
}

/* What the header promises, said once more. */
static bool is_command(const char *text, size_t len)
{
    size_t verb = 0;
    while (verb < len && is_verb_char(text[verb]))
        verb++;
    return verb >= 1 && verb <= COMMAND_VERB_MAX && memchr(text, '\0', len) == NULL &&
           (verb == len || text[verb] == ' ' || text[verb] == '\t');
}

static void check_again(const struct command *c)
{
    struct command again;
    size_t verb = strlen(c->verb), size = verb + 1 + c->args_len;
    char *text = malloc(size);
    memcpy(text, c->verb, verb);
    text[verb] = ' ';
    memcpy(text + verb + 1, c->args, c->args_len);
    must(command_parse(text, size, &again), "a command that was taken is taken again");
    must(strcmp(again.verb, c->verb) == 0, "the verb stays the same");
    must(is_same(again.args, again.args_len, c->args, c->args_len), "the arguments stay the same");
    free(text);
}

static void check_chunk(const struct command *c)
{
    uint64_t size, size_again;
    bool last, last_again;
    char text[64];
    struct command again;
    if (!smtp_bdat_parse(c, &size, &last))
        return;
    must(size <= SMTP_CHUNK_MAX, "no chunk is larger than the limit");
    int len =
        snprintf(text, sizeof text, "BDAT %llu%s", (unsigned long long)size, last ? " LAST" : "");
    must(command_parse(text, (size_t)len, &again), "a chunk is a command again");
    must(smtp_bdat_parse(&again, &size_again, &last_again), "a chunk is a chunk again");
    must(size == size_again && last == last_again, "the chunk stays the same");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct command c;
    char *text = copy_exactly(data, size);
    bool taken = command_parse(text, size, &c);
    must(taken == is_command(text, size), "exactly the commands are taken");
    if (taken) {
        must(c.args >= text && c.args + c.args_len <= text + size, "the arguments are in the line");
        must(c.args_len == 0 || (strchr(" \t", c.args[0]) == NULL &&
                                 strchr(" \t", c.args[c.args_len - 1]) == NULL),
             "no blank is around the arguments");
        check_again(&c);
        check_chunk(&c);
    }
    free(text);
    return 0;
}
