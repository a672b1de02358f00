/* SPDX-License-Identifier: ISC
 *
 * What is printed of a visit (visit.h): TLS, certificates, checks, levels; and the one line that
 * says what has come of it. Whatever a peer wrote is made printable here.
 */
#ifndef PROXY_PROBE_REPORT_H
#define PROXY_PROBE_REPORT_H

#include <stdio.h>

#include "proxy/measure.h"
#include "proxy/visit.h"

/* Everything but that line. Nothing, if no TLS was had. `m`: of all destinations. */
void probe_report_details(FILE *out, const struct visit *v, const struct measure *m);

/* True if the certificates will not be valid any more in so many days; `why` is a sentence then. */
bool probe_expires_within(const struct visit *v, const struct measure *m, unsigned days, char *why,
                          size_t size);

/* "met: ...", "NOT MET: ..." or "NO ANSWER: ...". */
void probe_report_result(FILE *out, const struct visit *v, const struct measure *m);

#endif
