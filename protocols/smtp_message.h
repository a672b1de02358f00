/* SPDX-License-Identifier: ISC
 *
 * Mail data: DATA (RFC 5321 §4.1.1.4), BDAT (RFC 3030), and the verdict, of which LMTP has one for
 * each recipient (RFC 2033 §4.2).
 */
#ifndef PROTOCOLS_SMTP_MESSAGE_H
#define PROTOCOLS_SMTP_MESSAGE_H

#include "protocols/smtp_session.h"

smtp_handler smtp_do_data;

/* Refuses for itself where the command may not be given: its chunk has to be thrown away first. */
smtp_handler smtp_do_bdat;

#endif
