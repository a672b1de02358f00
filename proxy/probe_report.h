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

/* "login: pass (...)", "login: FAIL: ...", or that it was not tried. False: nothing, for the
 * service does not log in. `skipped`: it does, and the visitor was not to. */
bool probe_report_login(FILE *out, const struct visit *v, bool skipped);

/* "met: ...", "NOT MET: ..." or "NO ANSWER: ...". */
void probe_report_result(FILE *out, const struct visit *v, const struct measure *m);

/* What has become of all servers together. */
struct probe_tally {
    bool serves;               /* the one that was visited last would */
    size_t of, tried;          /* how many there are, and have had a turn */
    size_t not_met, no_answer; /* of these */
};

/* The same for the last one, with the others in the same line if any of them did not do. */
void probe_report_end(FILE *out, const struct visit *v, const struct measure *m,
                      const struct probe_tally *t);

#endif
