/* SPDX-License-Identifier: ISC
 *
 * Answers of a SOCKS proxy, to each of the three questions: what is taken is within what was given,
 * and was not there a byte earlier. First byte: which question.
 */
#include "fuzz.h"
#include "protocols/socks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static ssize_t (*const readers[])(const char *, size_t, int *) = {
        socks_read_method, socks_read_login, socks_read_reply};
    ssize_t (*read)(const char *, size_t, int *) = readers[take_byte(&data, &size) % 3];
    char *exact = copy_exactly(data, size);
    int code = -1, again = -1;
    ssize_t n = read(exact, size, &code);
    must(n >= -1 && n <= (ssize_t)size && n <= SOCKS_REPLY_MAX, "it is within the bounds");
    must(n != 0 || size < SOCKS_REPLY_MAX, "there is an end to waiting for more");
    if (n > 0) {
        must(code >= 0 && code <= 255, "there is a code");
        must(read(exact, (size_t)n, &again) == n && again == code,
             "what is behind it does not matter");
        must(read(exact, (size_t)n - 1, &again) == 0, "it was not there before");
        must(code == 0 || strlen(socks_reply_text(code)) > 0, "there are words for it");
    }
    free(exact);
    return 0;
}
