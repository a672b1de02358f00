/* SPDX-License-Identifier: ISC
 *
 * Replies of an HTTP proxy: what is taken is within what was given, ends with the first empty line
 * of a final reply, and did not count as one a byte earlier.
 */
#include "fuzz.h"
#include "protocols/httpconnect.h"

static void check_end(const char *data, size_t n)
{
    must(n >= 16 && memcmp(data, "HTTP/1.", 7) == 0, "it begins with a status line");
    must(memcmp(data + n - 4, "\r\n\r\n", 4) == 0, "it ends with an empty line");
    must(memchr(data, 0, n) == NULL, "it holds no NUL");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = copy_exactly(data, size);
    int status = 0, again = 0;
    ssize_t n = httpconnect_read(exact, size, &status);
    must(n >= -1 && n <= (ssize_t)size && n <= HTTPCONNECT_REPLY_MAX, "it is within the bounds");
    must(n != 0 || size < HTTPCONNECT_REPLY_MAX, "there is an end to waiting for more");
    if (n > 0) {
        must(status >= 200 && status <= 599, "it is final");
        check_end(exact, (size_t)n);
        must(httpconnect_read(exact, (size_t)n, &again) == n && again == status,
             "what is behind it does not matter");
        must(httpconnect_read(exact, (size_t)n - 1, &again) == 0, "it was not there before");
    }
    (void)httpconnect_asks_for_basic(exact, size);
    free(exact);
    return 0;
}
