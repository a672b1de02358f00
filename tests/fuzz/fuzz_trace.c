/* SPDX-License-Identifier: ISC
 *
 * A trace header from what a stranger has chosen: whatever that is, it is one header, and the
 * message behind it does not go on with it. The first two bytes choose the manner and how the rest
 * is divided among HELO, certificate and message.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocols/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "it does not hold that %s\n", what);
    abort();
}

static char *copy_exactly(const uint8_t *data, size_t size, size_t more)
{
    char *copy = calloc(1, size + more > 0 ? size + more : 1);
    must(copy != NULL, "there is memory");
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

/* Lines that are printable, of bounded length, and all but the first begin with a tab; comments
 * that are closed and hold no other. Returns where the header ends. */
static size_t check_header(const char *text, size_t len)
{
    size_t start = 0, i = 0;
    bool in_comment = false;
    must(len <= TRACE_MAX && memcmp(text, "Received: from", 14) == 0, "it is our header");
    for (; i < len && (i != start || i == 0 || text[i] == '\t'); i++) {
        must(text[i] == '\t' || text[i] == '\r' || text[i] == '\n' ||
                 (text[i] >= ' ' && text[i] <= '~'),
             "only printable bytes are written");
        must(text[i] != '(' || !in_comment, "no comment is in a comment");
        must(text[i] != ')' || in_comment, "no comment is closed twice");
        in_comment = (in_comment || text[i] == '(') && text[i] != ')';
        must(text[i] != '\r' || (i + 1 < len && text[i + 1] == '\n'), "no CR is bare");
        if (text[i] != '\n')
            continue;
        must(i > start + 1 && text[i - 1] == '\r', "no LF is bare, and no line is empty");
        must(i - 1 - start <= 300, "no line is too long");
        start = i + 1;
    }
    must(start == i && !in_comment, "line and comment have an end");
    return i;
}

/* What header and message are to a reader who takes no dots away and throws nothing away. */
static void check_message(const char *rest, size_t rest_len, const char *message, size_t len)
{
    must(rest_len == 0 || (rest_len == 2 && memcmp(rest, "\r\n", 2) == 0),
         "nothing but an empty line follows the header");
    must(rest_len == 2 || len == 0 || (message[0] != ' ' && message[0] != '\t'),
         "the message does not go on with the header");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char out[TRACE_MAX];
    if (size < 2)
        return 0;
    unsigned bits = data[0];
    size_t left = size - 2, helo_len = left * data[1] / 255, name_len = (left - helo_len) / 2;
    size_t message_len = left - helo_len - name_len;
    char *helo = copy_exactly(data + 2, helo_len, 0);
    char *name = copy_exactly(data + 2 + helo_len, name_len, 1);
    char *message = copy_exactly(data + 2 + helo_len + name_len, message_len, 0);
    const struct trace_manner manner = {bits & 1, bits & 2, bits & 4, bits & 8, bits & 16};
    const struct trace t = {.client = {.address = bits & 32 ? "[IPv6:2001:db8::1]" : NULL,
                                       .tls_version = bits & 4 ? "TLS1.3" : NULL,
                                       .tls_cipher = "AES-256-GCM",
                                       .tls_bits = 256,
                                       .verified = bits & 64 ? name : NULL},
                            .helo = helo,
                            .helo_len = helo_len,
                            .hostname = "mx.example.org",
                            .protocol = trace_protocol(&manner),
                            .when = (int64_t)bits << (message_len % 56)};
    size_t len = trace_write(&t, message, message_len, bits & 128, out);
    size_t header = check_header(out, len);
    check_message(out + header, len - header, message, message_len);
    free(helo);
    free(name);
    free(message);
    return 0;
}
