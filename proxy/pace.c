/* SPDX-License-Identifier: ISC */
#include "proxy/pace.h"

#include "protocols/wire.h"
#include "proxy/log.h"

bool pace_is_exceeded(const struct pool *pool, struct rates *rates, const char *option,
                      const struct address *client)
{
    unsigned char key[16];
    int64_t now = wire_now();
    if (rates == NULL)
        return false;
    address_client_key(client, key);
    switch (rates_take(rates, key, now)) {
    case RATES_GOOD:
        break;
    case RATES_OVER:
        return true;
    case RATES_UNCOUNTED:
        if (rates_may_tell(rates, now))
            log_warn("service=%s %s: there are so many clients that some go uncounted",
                     pool->service->name, option);
        break;
    }
    return false;
}
