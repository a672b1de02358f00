/* SPDX-License-Identifier: ISC */
#include "certs/staple.h"

#include <stdio.h>

#include <gnutls/gnutls.h>
#include <gnutls/ocsp.h>
#include <gnutls/x509.h>

enum { STATUS_REQUEST = 5, SECONDS_WITHOUT_NEXT = 3 * 24 * 3600 };

/* NULL when `resp` is the issuer's word on `crt`. */
static const char *objection(gnutls_ocsp_resp_t resp, gnutls_x509_crt_t crt,
                             gnutls_x509_crt_t issuer)
{
    unsigned status = 0;
    if (gnutls_ocsp_resp_get_status(resp) != GNUTLS_OCSP_RESP_SUCCESSFUL)
        return "the one sent is an error message";
    if (gnutls_ocsp_resp_check_crt(resp, 0, crt) != 0)
        return "the one sent is for another certificate";
    if (gnutls_ocsp_resp_verify_direct(resp, issuer, &status, GNUTLS_VERIFY_DISABLE_TIME_CHECKS) !=
            0 ||
        status != 0)
        return "the one sent was not signed by the issuer";
    return NULL;
}

static const char *age_objection(time_t from, time_t next, time_t now)
{
    if (from > now)
        return "the one sent is from the future";
    if (next == (time_t)-1 ? now - from > SECONDS_WITHOUT_NEXT : next < now)
        return "the one sent is too old";
    return NULL;
}

static enum staple_state judge(gnutls_ocsp_resp_t resp, gnutls_x509_crt_t crt,
                               gnutls_x509_crt_t issuer, time_t now, const char **why)
{
    unsigned status;
    time_t from, next;
    *why = objection(resp, crt, issuer);
    if (*why != NULL)
        return STAPLE_USELESS;
    *why = "the one sent cannot be read";
    if (gnutls_ocsp_resp_get_single(resp, 0, NULL, NULL, NULL, NULL, &status, &from, &next, NULL,
                                    NULL) != 0)
        return STAPLE_USELESS;
    *why = "the one sent says that it is revoked";
    if (status == GNUTLS_OCSP_CERT_REVOKED)
        return STAPLE_REVOKED;
    *why = "the one sent does not know it";
    if (status != GNUTLS_OCSP_CERT_GOOD)
        return STAPLE_USELESS;
    *why = age_objection(from, next, now);
    return *why == NULL ? STAPLE_GOOD : STAPLE_USELESS;
}

enum staple_state staple_judge(const unsigned char *data, size_t len,
                               struct gnutls_x509_crt_int *crt, struct gnutls_x509_crt_int *issuer,
                               time_t now, char *why, size_t why_size)
{
    gnutls_datum_t der = {.data = (unsigned char *)data, .size = (unsigned)len};
    gnutls_ocsp_resp_t resp = NULL;
    enum staple_state state = STAPLE_USELESS;
    const char *text = len == 0 ? "none was sent" : "the one sent cannot be read";
    if (len > 0 && gnutls_ocsp_resp_init(&resp) == 0 && gnutls_ocsp_resp_import(resp, &der) == 0)
        state = judge(resp, crt, issuer, now, &text);
    if (resp != NULL)
        gnutls_ocsp_resp_deinit(resp);
    snprintf(why, why_size, "%s", text != NULL ? text : "");
    return state;
}

bool staple_is_must(struct gnutls_x509_crt_int *crt)
{
    gnutls_x509_tlsfeatures_t features;
    unsigned critical, feature;
    bool must = false;
    if (gnutls_x509_tlsfeatures_init(&features) != 0)
        return true;
    if (gnutls_x509_crt_get_tlsfeatures(crt, features, 0, &critical) == 0)
        for (unsigned i = 0; gnutls_x509_tlsfeatures_get(features, i, &feature) == 0; i++)
            must = must || feature == STATUS_REQUEST;
    gnutls_x509_tlsfeatures_deinit(features);
    return must;
}
