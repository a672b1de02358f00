/* SPDX-License-Identifier: ISC
 *
 * PROXY headers from anybody: what is taken is within what was given, is good in every piece, and
 * says the same when it is written and read again.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_again(const struct identity *first)
{
    const struct identity_facts facts = {.client = &first->source,
                                         .server = &first->destination,
                                         .id = first->id,
                                         .id_len = first->id_len};
    char out[IDENTITY_WRITE_MAX];
    struct identity second;
    size_t used, n = identity_write_v2(&facts, out);
    assert(identity_read(out, n, &second, &used) == IDENTITY_OK && used == n);
    n = identity_write_v1(&facts, out);
    assert(identity_read(out, n, &second, &used) == IDENTITY_OK && used == n);
    /* two families in one header (one of them v4-mapped) cannot be told */
    assert(!second.known || strcmp(second.source.text, first->source.text) == 0);
    assert(!second.known || strcmp(second.destination.text, first->destination.text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct identity id;
    size_t used, nothing;
    char *exact = malloc(size + 1);
    if (exact == NULL)
        abort();
    if (size > 0)
        memcpy(exact, data, size);
    if (identity_read(exact, size, &id, &used) == IDENTITY_OK) {
        assert(used > 0 && used <= size && used <= IDENTITY_READ_MAX);
        assert(id.id_len <= sizeof id.id);
        for (size_t n = 0; n < used; n++)
            assert(identity_read(exact, n, &(struct identity){0}, &nothing) == IDENTITY_MORE);
        if (id.known)
            read_again(&id);
    }
    free(exact);
    return 0;
}
