/* SPDX-License-Identifier: ISC */
#include "proxy/route.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "protocols/memory.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* ---- records ---- */

struct dane_record route_record(const struct route_host *h, size_t n)
{
    struct dane_record r = {0};
    (void)dane_record_parse(h->rdata + h->records[n].at, h->records[n].len, &r);
    return r;
}

size_t route_records(const struct route_host *h, struct dane_record out[ROUTE_RECORDS],
                     size_t *usable)
{
    for (size_t i = 0; i < h->n_records; i++)
        out[i] = route_record(h, i);
    *usable = dane_count_usable(out, h->n_records);
    return h->n_records;
}

/* ---- the book ---- */

/* `version` is odd while the page is being written. */
struct page {
    atomic_uint version;
    struct route route;
};

/* The same memory twice. The second mapping is made after the seal, so that it never can become a
 * writable one. */
struct route_book {
    struct page *writable; /* NULL: renounced */
    const struct page *pages;
    size_t size;
};

static bool map_twice(struct route_book *b, int fd)
{
    if (ftruncate(fd, (off_t)b->size) != 0)
        return false;
    void *writable = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (writable == MAP_FAILED)
        return false;
    b->writable = writable;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
        0)
        return false;
    void *readable = mmap(NULL, b->size, PROT_READ, MAP_SHARED, fd, 0);
    if (readable == MAP_FAILED)
        return false;
    b->pages = readable;
    return true;
}

struct route_book *route_book_create(size_t n)
{
    int fd = memfd_create("routes", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return NULL;
    struct route_book *b = memory_alloc(sizeof *b);
    *b = (struct route_book){.size = (n > 0 ? n : 1) * sizeof(struct page)};
    bool ok = map_twice(b, fd);
    int error = errno;
    close(fd);
    if (ok)
        return b;
    route_book_destroy(b);
    errno = error;
    return NULL;
}

void route_book_renounce(struct route_book *b)
{
    if (b->writable != NULL)
        munmap(b->writable, b->size);
    b->writable = NULL;
}

void route_book_destroy(struct route_book *b)
{
    if (b == NULL)
        return;
    route_book_renounce(b);
    if (b->pages != NULL)
        munmap((void *)b->pages, b->size);
    free(b);
}

/* A resolver that died while it wrote has left an odd number: the next even one is later still. */
void route_book_publish(struct route_book *b, size_t i, const struct route *r)
{
    struct page *p = &b->writable[i];
    unsigned version = atomic_load(&p->version) | 1;
    atomic_store(&p->version, version);
    atomic_thread_fence(memory_order_seq_cst);
    memcpy(&p->route, r, sizeof *r);
    atomic_thread_fence(memory_order_seq_cst);
    atomic_store(&p->version, version + 1);
}

bool route_book_read(const struct route_book *b, size_t i, struct route *out)
{
    const struct page *p = &b->pages[i];
    unsigned before = atomic_load(&p->version);
    if (before % 2 != 0)
        return false;
    atomic_thread_fence(memory_order_seq_cst);
    memcpy(out, &p->route, sizeof *out);
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load(&p->version) == before;
}
