/* SPDX-License-Identifier: ISC
 *
 * Moves bytes both ways once no more words need to be understood.
 */
#ifndef PROXY_PUMP_H
#define PROXY_PUMP_H

#include "protocols/wire.h"

enum pump_end {
    PUMP_DONE,              /* the backend has said its end, and the client has all of it */
    PUMP_TRUNCATED,         /* the client ended without a close_notify */
    PUMP_BACKEND_TRUNCATED, /* the same of the backend; the client has what came of it */
    PUMP_TIMEOUT,           /* nothing moved for idle_seconds */
    PUMP_CANCELLED,
    PUMP_LOST_CLIENT,
    PUMP_LOST_BACKEND,
};

struct pump {
    struct wire *client, *backend;
    unsigned idle_seconds; /* both silent, or one has ended and the other is */
    /* Tells a side that no more bytes will come: a close_notify, a half-close. */
    void (*end_client)(void *ctx);
    void (*end_backend)(void *ctx);
    void *ctx;
};

/* Runs until an end. What the wires hold already is moved first. */
enum pump_end pump_run(const struct pump *p);

#endif
