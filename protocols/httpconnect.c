/* SPDX-License-Identifier: ISC */
#include "protocols/httpconnect.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    PART_MAX = 255, /* bytes of a host, a user, a password */
    PAIR_MAX = 2 * PART_MAX + 1,
    STATUS_LINE_LEAST = 12, /* "HTTP/1.1 200" */
};

/* ---- the request ---- */

/* RFC 4648 §4. */
static char *put_base64(char *at, const unsigned char *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits = (uint32_t)data[i] << 16;
        bits |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        bits |= left > 2 ? data[i + 2] : 0;
        *at++ = digits[bits >> 18];
        *at++ = digits[bits >> 12 & 63];
        *at++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        *at++ = left > 2 ? digits[bits & 63] : '=';
    }
    return at;
}

static char *put_login(char *at, const char *user, const char *password)
{
    unsigned char pair[PAIR_MAX + 1];
    int n = snprintf((char *)pair, sizeof pair, "%s:%s", user, password);
    assert(n > 0 && (size_t)n < sizeof pair);
    at = stpcpy(at, "Proxy-Authorization: Basic ");
    at = put_base64(at, pair, (size_t)n);
    explicit_bzero(pair, sizeof pair);
    return stpcpy(at, "\r\n");
}

size_t httpconnect_write(const struct httpconnect *c, char out[HTTPCONNECT_REQUEST_MAX])
{
    char target[PART_MAX + sizeof "[]:65535"];
    bool ipv6 = strchr(c->host, ':') != NULL; /* RFC 3986 §3.2.2 */
    int n = snprintf(target, sizeof target, "%s%s%s:%u", ipv6 ? "[" : "", c->host, ipv6 ? "]" : "",
                     c->port);
    assert(n > 0 && (size_t)n < sizeof target);
    char *at = stpcpy(stpcpy(stpcpy(out, "CONNECT "), target), " HTTP/1.1\r\n");
    at = stpcpy(stpcpy(stpcpy(at, "Host: "), target), "\r\n");
    if (c->user != NULL)
        at = put_login(at, c->user, c->password);
    return (size_t)(stpcpy(at, "\r\n") - out);
}

/* ---- the reply ---- */

/* One line, without its CRLF. */
struct text {
    const char *data;
    size_t len;
};

/* 1: *line is the line at *at, which moves behind it; 0: it has not come whole; -1: it holds what
 * no line may (RFC 9112 §2.2: bare CR, bare LF, NUL and other controls). */
static int next_line(const char **at, const char *end, struct text *line)
{
    const char *p = *at;
    while (p < end && ((unsigned char)*p >= ' ' || *p == '\t') && *p != 0x7f)
        p++;
    if (p == end)
        return 0;
    if (*p != '\r')
        return -1;
    if (p + 1 == end)
        return 0;
    if (p[1] != '\n')
        return -1;
    *line = (struct text){.data = *at, .len = (size_t)(p - *at)};
    *at = p + 2;
    return 1;
}

/* What of a status line can be seen must be one: HTTP/1.x, three digits, a blank or nothing. */
static bool is_status_line(struct text line, bool whole)
{
    static const char form[] = "HTTP/1.d ddd";
    for (size_t i = 0; i < line.len && i < STATUS_LINE_LEAST; i++)
        if (form[i] == 'd' ? !isdigit((unsigned char)line.data[i]) : line.data[i] != form[i])
            return false;
    if (line.len < STATUS_LINE_LEAST)
        return !whole;
    return line.len == STATUS_LINE_LEAST || line.data[STATUS_LINE_LEAST] == ' ';
}

static int status_of(struct text line)
{
    const char *digits = line.data + 9;
    return (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + digits[2] - '0';
}

static bool is_token_char(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* name ":" value. A line that goes on with the one before is none (RFC 9112 §5.2). */
static bool is_field(struct text line)
{
    size_t n = 0;
    while (n < line.len && is_token_char(line.data[n]))
        n++;
    return n > 0 && n < line.len && line.data[n] == ':';
}

/* A line that has not come whole, as far as it has. */
static struct text beginning_of(const char *at, const char *end)
{
    if (at < end && end[-1] == '\r')
        end--;
    return (struct text){.data = at, .len = (size_t)(end - at)};
}

/* One reply, interim or not, at *at: as next_line. */
static int read_one(const char **at, const char *end, int *status, size_t *lines)
{
    struct text line;
    int r = next_line(at, end, &line);
    if (r <= 0)
        return r == 0 && is_status_line(beginning_of(*at, end), false) ? 0 : -1;
    if (!is_status_line(line, true))
        return -1;
    *status = status_of(line);
    for (;;) {
        if (++*lines > HTTPCONNECT_LINES_MAX)
            return -1;
        r = next_line(at, end, &line);
        if (r <= 0)
            return r;
        if (line.len == 0)
            return 1;
        if (!is_field(line))
            return -1;
    }
}

static ssize_t read_all(const char *data, size_t len, int *status)
{
    const char *at = data;
    size_t lines = 0;
    for (;;) {
        int r = read_one(&at, data + len, status, &lines);
        if (r <= 0)
            return r;
        if (*status < 100 || *status == 101 || *status > 599)
            return -1;
        if (*status >= 200)
            return at - data;
    }
}

ssize_t httpconnect_read(const char *data, size_t len, int *status)
{
    size_t seen = len < HTTPCONNECT_REPLY_MAX ? len : HTTPCONNECT_REPLY_MAX;
    ssize_t n = read_all(data, seen, status);
    return n == 0 && seen == HTTPCONNECT_REPLY_MAX ? -1 : n;
}

bool httpconnect_asks_for_basic(const char *data, size_t len)
{
    static const char name[] = "Proxy-Authenticate:", scheme[] = "Basic";
    const char *at = data;
    struct text line;
    while (next_line(&at, data + len, &line) > 0) {
        if (line.len < sizeof name - 1 || strncasecmp(line.data, name, sizeof name - 1) != 0)
            continue;
        const char *p = line.data + sizeof name - 1, *end = line.data + line.len;
        while (p < end && (*p == ' ' || *p == '\t'))
            p++;
        size_t left = (size_t)(end - p), n = sizeof scheme - 1;
        if (left >= n && strncasecmp(p, scheme, n) == 0 && (left == n || !is_token_char(p[n])))
            return true;
    }
    return false;
}
