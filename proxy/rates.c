/* SPDX-License-Identifier: ISC */
#include "proxy/rates.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "protocols/wire.h"

/* A word holds a tag, which tells the clients of one row apart, and the time at which its bucket is
 * full again, in ticks since the table was made. The time behind now is what has been taken: TICKS
 * that grow by `cost` for each token. Where it lies in the past the word is free. */
enum {
    WAYS = 8, /* words in which a client may be */
    ROWS = RATES_WORDS / WAYS,
    TIME_BITS = 42, /* eight years */
    TAG_BITS = 64 - TIME_BITS,
    TICKS_A_MS = 16, /* so that the cost of a token is not rounded much */
};

struct rates {
    uint64_t secret[2];
    int64_t began;       /* wire_now(), so that `now` is never 0 */
    uint64_t cost, most; /* ticks of one token, and of all */
    atomic_int_fast64_t told;
    atomic_uint_fast64_t words[ROWS][WAYS];
};

/* ---- the option ---- */

static bool read_number(const char *text, const char **end, unsigned most, unsigned *out)
{
    char *behind;
    if (text[0] < '0' || text[0] > '9')
        return false;
    unsigned long n = strtoul(text, &behind, 10);
    *end = behind;
    *out = (unsigned)n;
    return n <= most;
}

const char *rate_parse(const char *text, struct rate *out)
{
    static const char wrong[] = "is not N/SECONDS, with N from 1 to 10000 and SECONDS from 1 to "
                                "86400, or 0 for no limit";
    const char *end = text;
    *out = (struct rate){0};
    if (strcmp(text, "0") == 0)
        return NULL;
    if (!read_number(text, &end, RATE_COUNT_MAX, &out->count) || *end != '/' || out->count == 0)
        return wrong;
    if (!read_number(end + 1, &end, RATE_SECONDS_MAX, &out->seconds) || *end != '\0' ||
        out->seconds == 0)
        return wrong;
    return NULL;
}

/* ---- life ---- */

struct rates *rates_create(const struct rate *rate)
{
    struct rates *r =
        mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r == MAP_FAILED)
        return NULL;
    if (getrandom(r->secret, sizeof r->secret, 0) != (ssize_t)sizeof r->secret) {
        rates_destroy(r);
        return NULL;
    }
    uint64_t ticks = (uint64_t)rate->seconds * 1000 * TICKS_A_MS;
    r->cost = (ticks + rate->count - 1) / rate->count;
    r->most = r->cost * rate->count;
    r->began = wire_now() - 1;
    atomic_store(&r->told, r->began - RATES_TELL_SECONDS * INT64_C(1000));
    return r;
}

void rates_destroy(struct rates *r)
{
    if (r != NULL)
        munmap(r, sizeof *r);
}

/* ---- where a client is ---- */

struct mixer {
    uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void mix(struct mixer *m, unsigned rounds)
{
    for (; rounds > 0; rounds--) {
        m->a += m->b;
        m->c += m->d;
        m->b = rotate(m->b, 13) ^ m->a;
        m->d = rotate(m->d, 16) ^ m->c;
        m->a = rotate(m->a, 32);
        m->c += m->b;
        m->a += m->d;
        m->b = rotate(m->b, 17) ^ m->c;
        m->d = rotate(m->d, 21) ^ m->a;
        m->c = rotate(m->c, 32);
    }
}

static void absorb(struct mixer *m, uint64_t word)
{
    m->d ^= word;
    mix(m, 2);
    m->a ^= word;
}

/* SipHash-2-4 (Aumasson and Bernstein) of the 16 bytes, read in the machine's order. */
static uint64_t hash(const uint64_t secret[2], const unsigned char client[16])
{
    uint64_t words[2];
    struct mixer m = {.a = secret[0] ^ UINT64_C(0x736f6d6570736575),
                      .b = secret[1] ^ UINT64_C(0x646f72616e646f6d),
                      .c = secret[0] ^ UINT64_C(0x6c7967656e657261),
                      .d = secret[1] ^ UINT64_C(0x7465646279746573)};
    memcpy(words, client, sizeof words);
    absorb(&m, words[0]);
    absorb(&m, words[1]);
    absorb(&m, UINT64_C(16) << 56);
    m.c ^= 0xff;
    mix(&m, 4);
    return m.a ^ m.b ^ m.c ^ m.d;
}

/* ---- taking ---- */

static uint64_t time_of(uint64_t word)
{
    return word & ((UINT64_C(1) << TIME_BITS) - 1);
}

/* What a look at a client's row has found. */
struct look {
    atomic_uint_fast64_t *place; /* the client's own, or a free one; NULL: neither */
    uint64_t word;               /* what was in it */
    uint64_t taken;              /* ticks */
};

static struct look look_for(atomic_uint_fast64_t row[WAYS], uint64_t tag, uint64_t now)
{
    struct look free = {0}, own = {0};
    for (size_t i = 0; i < WAYS; i++) {
        uint64_t word = atomic_load(&row[i]);
        if (time_of(word) <= now) {
            if (free.place == NULL)
                free = (struct look){.place = &row[i], .word = word};
        } else if (word >> TIME_BITS == tag) {
            own.place = &row[i];
            own.word = word;
            own.taken += time_of(word) - now;
        }
    }
    return own.place != NULL ? own : free;
}

enum rates_verdict rates_take(struct rates *r, const unsigned char client[16], int64_t now)
{
    uint64_t h = hash(r->secret, client), tag = h >> TIME_BITS;
    uint64_t ticks = (uint64_t)(now - r->began) * TICKS_A_MS;
    atomic_uint_fast64_t *row = r->words[h % ROWS];
    for (;;) {
        struct look l = look_for(row, tag, ticks);
        uint64_t before = l.taken > 0 ? time_of(l.word) : ticks;
        if (l.place == NULL)
            return RATES_UNCOUNTED;
        if (l.taken + r->cost > r->most)
            return RATES_OVER;
        uint64_t word = tag << TIME_BITS | (before + r->cost);
        if (atomic_compare_exchange_strong(l.place, &l.word, word))
            return RATES_GOOD;
    }
}

bool rates_may_tell(struct rates *r, int64_t now)
{
    int64_t last = atomic_load(&r->told);
    return now - last >= RATES_TELL_SECONDS * INT64_C(1000) &&
           atomic_compare_exchange_strong(&r->told, &last, now);
}
