/* SPDX-License-Identifier: ISC
 *
 * What the keeper signs: only what is, byte for byte, one of the two things a TLS server signs.
 */
#include "certs/keeper.h"
#include "fuzz.h"

/* RFC 8446 §4.4.3, with the hash of the text given, so that it alone may differ. */
static bool is_certificate_verify(const char *text, size_t len)
{
    static const char head[] = "                                                                "
                               "TLS 1.3, server CertificateVerify";
    return (len == sizeof head + 32 || len == sizeof head + 48) &&
           memcmp(text, head, sizeof head) == 0;
}

/* RFC 8422 §5.4: random, random, named_curve, curve, point. */
static bool is_key_exchange(const char *text, size_t len)
{
    return len >= 32 + 32 + 1 + 2 + 1 + 1 && text[64] == 3 &&
           len == 32 + 32 + 1 + 2 + 1 + (size_t)(unsigned char)text[67];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = copy_exactly(data, size);
    must(keeper_may_sign((const unsigned char *)text, size) ==
             (is_certificate_verify(text, size) || is_key_exchange(text, size)),
         "exactly what a TLS server signs may be signed");
    free(text);
    return 0;
}
