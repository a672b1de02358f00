/* SPDX-License-Identifier: ISC */
#include "protocols/trace.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    LINE_MAX_BYTES = 78, /* RFC 5322 §2.1.1, without CRLF */
    DOMAIN_MAX = 255,    /* RFC 5321 §4.5.3.1.2 */
    REMARK_MAX = 60,     /* bytes of a HELO that is no name */
};

/* ---- what a stranger has chosen ---- */

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* '_' is in no RFC for names and in many HELOs. */
static bool is_label_char(char c)
{
    return is_letter_or_digit(c) || c == '-' || c == '_';
}

static bool is_domain(const char *text, size_t len)
{
    bool in_label = false;
    if (len == 0 || len > DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_label_char(text[i]) && (text[i] != '.' || !in_label))
            return false;
        in_label = text[i] != '.';
    }
    return in_label;
}

static bool is_address_literal(const char *text, size_t len)
{
    if (len < 3 || len > DOMAIN_MAX || text[0] != '[' || text[len - 1] != ']')
        return false;
    for (size_t i = 1; i < len - 1; i++)
        if (!is_label_char(text[i]) && text[i] != '.' && text[i] != ':')
            return false;
    return true;
}

/* At most `max` bytes of the text, fit to stand in a comment. `out` has room for one more. */
static const char *as_remark(const char *text, size_t len, size_t max, char *out)
{
    size_t n = len < max ? len : max;
    for (size_t i = 0; i < n; i++)
        out[i] = is_label_char(text[i]) || (text[i] != '\0' && strchr(".:[]@*+/,", text[i]) != NULL)
                     ? text[i]
                     : '?';
    out[n] = '\0';
    return out;
}

/* ---- folding ---- */

struct header {
    char *text; /* of TRACE_MAX bytes */
    size_t len, line_start;
};

static void add(struct header *h, const char *text)
{
    size_t len = strlen(text);
    assert(h->len + len <= TRACE_MAX);
    memcpy(h->text + h->len, text, len);
    h->len += len;
}

static void fold(struct header *h)
{
    add(h, "\r\n");
    h->line_start = h->len;
    add(h, "\t");
}

/* Adds a word behind a blank, or on the next line if this one has no room. */
__attribute__((format(printf, 2, 3))) static void add_word(struct header *h, const char *format,
                                                           ...)
{
    char word[DOMAIN_MAX + 40];
    va_list ap;
    va_start(ap, format);
    int len = vsnprintf(word, sizeof word, format, ap);
    va_end(ap);
    assert(len >= 0 && (size_t)len < sizeof word);
    bool begins = h->len == h->line_start + 1; /* behind the tab of a line */
    if (!begins && h->len - h->line_start + 1 + (size_t)len > LINE_MAX_BYTES) {
        fold(h);
        begins = true;
    }
    if (!begins)
        add(h, " ");
    add(h, word);
}

/* ---- the parts ---- */

static void add_from(struct header *h, const struct trace *t)
{
    const char *address = t->client.address != NULL ? t->client.address : "";
    bool named = is_domain(t->helo, t->helo_len) || is_address_literal(t->helo, t->helo_len);
    char remark[REMARK_MAX + 1];
    add(h, "Received: from");
    if (named)
        add_word(h, "%.*s", (int)t->helo_len, t->helo);
    else
        add_word(h, "%.60s", address[0] != '\0' ? address : "unknown");
    if (address[0] != '\0')
        add_word(h, "(%.60s)", address);
    if (!named && t->helo_len > 0)
        add_word(h, "(helo=%s)", as_remark(t->helo, t->helo_len, REMARK_MAX, remark));
}

static void add_by(struct header *h, const struct trace *t)
{
    char hostname[DOMAIN_MAX + 1];
    fold(h);
    add_word(h, "by");
    add_word(h, "%s", as_remark(t->hostname, strlen(t->hostname), DOMAIN_MAX, hostname));
    add_word(h, "(ehlock)");
    add_word(h, "with");
    add_word(h, "%s", t->protocol);
}

static void add_tls(struct header *h, const struct trace_client *c)
{
    char remark[DOMAIN_MAX + 1];
    if (c->tls_version == NULL || c->tls_cipher == NULL)
        return;
    fold(h);
    add_word(h, "(version=%.30s", c->tls_version);
    add_word(h, "cipher=%.60s", c->tls_cipher);
    add_word(h, "bits=%u", c->tls_bits);
    if (c->verified != NULL)
        add_word(h, "verified=%s", as_remark(c->verified, strlen(c->verified), DOMAIN_MAX, remark));
    add(h, ")");
}

/* ---- the date ---- */

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month] + (month == 1 && is_leap(year) ? 1 : 0);
}

/* RFC 5322 §3.3. Not by gmtime and strftime: the one reads a file of time zones at its first call,
 * which ends a process that may open none, and the other speaks the administrator's language. */
static void add_date(struct header *h, int64_t when)
{
    static const char weekdays[][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    static const int64_t year_10000 = 253402300800;
    if (when < 0 || when >= year_10000)
        when = 0; /* a clock that nobody has set */
    int day = (int)(when / 86400), second = (int)(when % 86400);
    const char *weekday = weekdays[day % 7];
    int year = 1970, month = 0;
    for (; day >= (is_leap(year) ? 366 : 365); year++)
        day -= is_leap(year) ? 366 : 365;
    for (; day >= days_of_month(year, month); month++)
        day -= days_of_month(year, month);
    fold(h);
    add_word(h, "%s, %02d %s %d %02d:%02d:%02d +0000", weekday, day + 1, months[month], year,
             second / 3600, second / 60 % 60, second % 60);
}

/* ---- the whole ---- */

/* Whether a reader could take the beginning of a message for more of the header in front of it: not
 * what begins with a letter or the like, nor with an empty line. What else there is, is no header
 * to anybody, and NUL, CR or LF before a blank are thrown away by one reader or another. */
static bool would_go_on(const char *data, size_t len, bool stuffed)
{
    if (stuffed && len > 0 && data[0] == '.') {
        data++;
        len--;
    }
    if (len == 0 || (data[0] > ' ' && data[0] <= '~'))
        return false;
    return len < 2 || data[0] != '\r' || data[1] != '\n';
}

size_t trace_write(const struct trace *t, const char *data, size_t len, bool stuffed,
                   char out[TRACE_MAX])
{
    struct header h = {.text = out};
    add_from(&h, t);
    add_by(&h, t);
    add_tls(&h, &t->client);
    add(&h, ";");
    add_date(&h, t->when);
    add(&h, "\r\n");
    if (would_go_on(data, len, stuffed))
        add(&h, "\r\n");
    return h.len;
}

const char *trace_protocol(const struct trace_manner *m)
{
    static const char *const words[][2][4] = {
        /* in clear, TLS, authenticated, both */
        {{"ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"}, {"LMTP", "LMTPS", "LMTPA", "LMTPSA"}},
        {{"UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"},
         {"UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA"}},
    };
    if (!m->lmtp && !m->extended)
        return "SMTP";
    return words[m->utf8][m->lmtp][(m->tls ? 1 : 0) + (m->authenticated ? 2 : 0)];
}
