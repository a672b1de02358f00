/* SPDX-License-Identifier: ISC
 *
 * What the fuzz targets share. A target is one function: it is given bytes that anybody could have
 * sent and checks what must hold whatever they are. libFuzzer finds the bytes; replay.c runs those
 * that were collected.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program when `what`, a sentence, does not hold; not to be compiled away, as assert is.
 */
static inline void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "it does not hold that %s\n", what);
    abort();
}

/* The first byte of what is left, or 0 at its end: for choices of the fuzzer. */
static inline unsigned take_byte(const uint8_t **data, size_t *size)
{
    if (*size == 0)
        return 0;
    (*size)--;
    return *(*data)++;
}

/* A copy in a block of exactly that size, so that a sanitizer sees every byte read too many. */
static inline char *copy_exactly(const void *data, size_t size)
{
    char *copy = calloc(1, size > 0 ? size : 1);
    must(copy != NULL, "there is memory");
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

static inline bool is_same(const char *a, size_t a_len, const char *b, size_t b_len)
{
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

#endif
