/* SPDX-License-Identifier: ISC */
#include "proxy/turns.h"

void turns_begin(struct turns *t, int64_t began, int64_t pretls_deadline)
{
    *t = (struct turns){.pretls_deadline = pretls_deadline, .until = began + TURNS_MS};
    if (t->until > pretls_deadline)
        t->until = pretls_deadline;
}

bool turns_are_left(const struct turns *t, const struct backends *b, int64_t now)
{
    if (b->redirected || b->program || now + TURN_LEAST_MS > t->until)
        return false;
    for (size_t i = 0; i < b->count; i++)
        if (!t->used[i])
            return true;
    return false;
}

int64_t turns_deadline(const struct turns *t, const struct backends *b, int64_t now)
{
    if (turns_are_left(t, b, now))
        return now + (t->until - now) / 2;
    return t->moved && t->until > now ? t->until : t->pretls_deadline;
}

int64_t turns_first_deadline(const struct turns *t, const struct backends *b)
{
    return b->count > 1 ? t->until : WIRE_FOREVER;
}

void turns_take(const struct turns *t, const struct backends *b, struct dialogue *d)
{
    int64_t now = wire_now();
    d->others_left = turns_are_left(t, b, now);
    d->pretls_deadline = turns_deadline(t, b, now);
}

void turns_move(struct turns *t)
{
    t->moved = true;
}

void turns_only(bool used[BACKENDS_MAX], size_t n)
{
    for (size_t i = 0; i < BACKENDS_MAX; i++)
        used[i] = i != n;
}
