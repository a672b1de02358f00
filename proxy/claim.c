/* SPDX-License-Identifier: ISC */
#include "proxy/claim.h"

#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WAIT_MS = 10, WAITS = 100 };

struct claim {
    atomic_int writer; /* its process number; 0: nobody yet */
    atomic_bool said;  /* the bytes are there, and stay */
    unsigned char bytes[CLAIM_BYTES];
};

struct claim *claim_create(void)
{
    struct claim *c =
        mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c == MAP_FAILED)
        return NULL;
    claim_share(c, false);
    return c;
}

void claim_destroy(struct claim *c)
{
    if (c != NULL)
        munmap(c, sizeof *c);
}

void claim_share(struct claim *c, bool with_children)
{
    (void)madvise(c, sizeof *c, with_children ? MADV_DOFORK : MADV_DONTFORK);
}

bool claim_read(const struct claim *c, unsigned char held[CLAIM_BYTES])
{
    if (!atomic_load(&c->said))
        return false;
    memcpy(held, c->bytes, CLAIM_BYTES);
    return true;
}

static bool become_writer(struct claim *c)
{
    int nobody = 0;
    return atomic_compare_exchange_strong(&c->writer, &nobody, (int)getpid());
}

/* Between the two there are a few instructions, unless the process is stopped there, or dies; then
 * the master makes the place free again. */
enum claim_result claim_make(struct claim *c, const unsigned char wanted[CLAIM_BYTES],
                             unsigned char held[CLAIM_BYTES])
{
    for (int i = 0; i < WAITS; i++) {
        if (become_writer(c)) {
            memcpy(c->bytes, wanted, CLAIM_BYTES);
            atomic_store(&c->said, true);
            memcpy(held, wanted, CLAIM_BYTES);
            return CLAIM_FIRST;
        }
        if (claim_read(c, held))
            return memcmp(held, wanted, CLAIM_BYTES) == 0 ? CLAIM_SAME : CLAIM_OTHER;
        (void)poll(NULL, 0, WAIT_MS);
    }
    return CLAIM_UNDECIDED;
}

pid_t claim_writer(const struct claim *c)
{
    return atomic_load(&c->said) ? 0 : (pid_t)atomic_load(&c->writer);
}

void claim_release(struct claim *c, pid_t dead)
{
    int writer = (int)dead;
    if (!atomic_load(&c->said))
        (void)atomic_compare_exchange_strong(&c->writer, &writer, 0);
}
