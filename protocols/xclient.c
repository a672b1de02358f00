/* SPDX-License-Identifier: ISC */
#include "protocols/xclient.h"

#include <string.h>
#include <strings.h>

static const char *const names[XCLIENT_ATTRIBUTES] = {
    [XCLIENT_ADDR] = "ADDR",         [XCLIENT_PORT] = "PORT",
    [XCLIENT_DESTADDR] = "DESTADDR", [XCLIENT_DESTPORT] = "DESTPORT",
    [XCLIENT_PROTO] = "PROTO",       [XCLIENT_LOGIN] = "LOGIN",
    [XCLIENT_NAME] = "NAME",         [XCLIENT_REVERSE_NAME] = "REVERSE_NAME",
    [XCLIENT_HELO] = "HELO",
};

static const char unknown[] = "[UNAVAILABLE]"; /* as after a lookup that found nothing */

/* ---- reading ---- */

static bool is_gap(char c)
{
    return c == ' ' || c == '\t';
}

static void take_word(const char *word, size_t len, struct xclient_offer *out)
{
    for (size_t i = 0; i < XCLIENT_ATTRIBUTES; i++)
        if (strlen(names[i]) == len && strncasecmp(names[i], word, len) == 0)
            out->takes[i] = true;
}

bool xclient_read_offer(const struct reply *r, struct xclient_offer *out)
{
    const char *words;
    size_t len;
    *out = (struct xclient_offer){0};
    if (!reply_find(r, "XCLIENT", &words, &len))
        return false;
    for (size_t i = 0, start; i < len;) {
        while (i < len && is_gap(words[i]))
            i++;
        for (start = i; i < len && !is_gap(words[i]);)
            i++;
        take_word(words + start, i - start, out);
    }
    return true;
}

/* ---- writing ---- */

struct command {
    char *text; /* of XCLIENT_MAX + 1 bytes */
    size_t len;
    bool whole; /* nothing was left out for want of room */
};

static void put(struct command *c, const char *data, size_t len)
{
    if (len > XCLIENT_MAX - c->len) {
        c->whole = false;
        return;
    }
    memcpy(c->text + c->len, data, len);
    c->len += len;
}

/* RFC 3461 §4: '+', '=' and all that is not printable ASCII is written as '+' and two digits. */
static void put_xtext(struct command *c, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        const char quoted[3] = {'+', digits[byte >> 4], digits[byte & 15]};
        if (byte > ' ' && byte < 0x7f && byte != '+' && byte != '=')
            put(c, text, 1);
        else
            put(c, quoted, sizeof quoted);
    }
}

static bool is_known(const char *value)
{
    return value != NULL && value[0] != '\0';
}

static void put_attribute(struct command *c, const struct xclient_offer *offer,
                          enum xclient_attribute attribute, const char *value)
{
    bool is_address = attribute == XCLIENT_ADDR || attribute == XCLIENT_DESTADDR;
    if (!offer->takes[attribute] || !is_known(value))
        return;
    put(c, " ", 1);
    put(c, names[attribute], strlen(names[attribute]));
    put(c, "=", 1);
    if (is_address && strchr(value, ':') != NULL)
        put(c, "IPV6:", 5);
    put_xtext(c, value);
}

static const char *find_obstacle(const struct xclient_offer *offer, const struct xclient_facts *f)
{
    if (!is_known(f->address))
        return "the client has no address";
    if (!offer->takes[XCLIENT_ADDR])
        return "the backend does not take ADDR";
    if (is_known(f->login) && !offer->takes[XCLIENT_LOGIN])
        return "the backend does not take LOGIN, which relayAs needs";
    return NULL;
}

size_t xclient_write(const struct xclient_offer *offer, const struct xclient_facts *facts,
                     char out[XCLIENT_MAX + 1], const char **why)
{
    const char *const values[XCLIENT_ATTRIBUTES] = {
        [XCLIENT_ADDR] = facts->address,
        [XCLIENT_PORT] = facts->port,
        [XCLIENT_DESTADDR] = facts->server_address,
        [XCLIENT_DESTPORT] = facts->server_port,
        [XCLIENT_PROTO] = facts->proto,
        [XCLIENT_LOGIN] = facts->login,
        [XCLIENT_NAME] = unknown,
        [XCLIENT_REVERSE_NAME] = unknown,
        [XCLIENT_HELO] = unknown,
    };
    struct command c = {.text = out, .whole = true};
    *why = find_obstacle(offer, facts);
    if (*why != NULL)
        return 0;
    put(&c, "XCLIENT", 7);
    for (size_t i = 0; i < XCLIENT_ATTRIBUTES; i++)
        put_attribute(&c, offer, (enum xclient_attribute)i, values[i]);
    put(&c, "\r\n", 2);
    out[c.len] = '\0';
    *why = c.whole ? NULL : "the command would be longer than 512 bytes";
    return c.whole ? c.len : 0;
}
