/* SPDX-License-Identifier: ISC
 *
 * Whether a certificate has a name (RFC 9525). Only subjectAltName counts: neither the common name
 * nor an e-mail address in the subject does.
 *
 * A wildcard is the whole left-most label and stands for exactly one label, and at least two
 * labels follow it: "*.example.org" is for mx.example.org; "f*.example.org", "*.*.example.org" and
 * "*.org" are for nobody. International names are compared in their ASCII form.
 *
 * Bugs: does not know which suffixes are public, so "*.co.uk" is a wildcard like others.
 * SmtpUTF8Mailbox (RFC 9598) is not looked at.
 */
#ifndef CERTS_NAMES_H
#define CERTS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

struct gnutls_x509_crt_int;

/* `host`: a DNS name in UTF-8 or ASCII, a dot at its end is ignored; an address literal is looked
 * for among the IP addresses and never among the names. */
bool names_have_host(struct gnutls_x509_crt_int *crt, const char *host);

/* The part before the @ is compared byte for byte, the domain as a domain. */
bool names_have_email(struct gnutls_x509_crt_int *crt, const char *email);

/* `address`: IPv4 or IPv6 in text, without a scope. */
bool names_have_address(struct gnutls_x509_crt_int *crt, const char *address);

/* True when `pattern`, `len` bytes of a certificate, is for the ASCII name `host`. Pure. */
bool names_pattern_fits(const char *pattern, size_t len, const char *host);

/* True when the text is an IPv4 or IPv6 address, with or without brackets, a scope ("%eth0") or a
 * dot at its end, or has a colon in it and so is no name. Pure. */
bool names_is_address(const char *text);

#endif
