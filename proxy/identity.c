/* SPDX-License-Identifier: ISC */
#include "proxy/identity.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    SIGNATURE = 12, /* bytes of it */
    FIXED = 16,     /* signature, version and command, family, length */
    VERSION_2 = 2,
    COMMAND_LOCAL = 0,
    COMMAND_PROXY = 1,
    TLV_HEAD = 3, /* type and length */
    SSL_HEAD = 5, /* client and verify, in front of the inner TLVs */
};

/* Family and transport: the pairs that the specification lists. */
enum pair {
    PAIR_UNSPEC = 0x00,
    PAIR_TCP4 = 0x11,
    PAIR_UDP4 = 0x12,
    PAIR_TCP6 = 0x21,
    PAIR_UDP6 = 0x22,
    PAIR_UNIX_STREAM = 0x31,
    PAIR_UNIX_DGRAM = 0x32,
};

enum tlv {
    TLV_ALPN = 0x01,
    TLV_AUTHORITY = 0x02,
    TLV_CRC32C = 0x03,
    TLV_UNIQUE_ID = 0x05,
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    TLV_SSL_CN = 0x22,
    TLV_SSL_CIPHER = 0x23,
    TLV_SSL_SIGNATURE = 0x24,
    TLV_SSL_KEY = 0x25,
};

enum {
    CLIENT_SSL = 0x01,
    CLIENT_CERT_CONN = 0x02, /* showed a certificate on this connection */
    CLIENT_CERT_SESS = 0x04, /* or at least once in this TLS session */
};

static const char magic_v1[] = "PROXY ";
static const char magic_v2[SIGNATURE] = {'\r', '\n', '\r', '\n', '\0', '\r',
                                         '\n', 'Q',  'U',  'I',  'T',  '\n'};

static unsigned byte_at(const char *data, size_t i)
{
    return (unsigned char)data[i];
}

static unsigned two_bytes(const char *data)
{
    return byte_at(data, 0) << 8 | byte_at(data, 1);
}

/* ---- reading version 1 ---- */

/* RFC 791's form: four numbers without leading zeros. inet_pton is strict about that in some C
 * libraries only. */
static bool is_canonical_ipv4(const struct in_addr *ip, const char *text)
{
    char again[INET_ADDRSTRLEN];
    return inet_ntop(AF_INET, ip, again, sizeof again) != NULL && strcmp(again, text) == 0;
}

static bool parse_port(const char *text, uint16_t *port)
{
    unsigned n = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 5 || (text[0] == '0' && len > 1))
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        n = n * 10 + (unsigned)(*text - '0');
    }
    *port = (uint16_t)n;
    return n <= UINT16_MAX;
}

static bool parse_end(int family, const char *ip_text, const char *port_text, struct address *out)
{
    struct in6_addr ip; /* large enough for both */
    uint16_t port;
    if (inet_pton(family, ip_text, &ip) != 1 || !parse_port(port_text, &port))
        return false;
    if (family == AF_INET && !is_canonical_ipv4((const struct in_addr *)&ip, ip_text))
        return false;
    *out = address_of(family, &ip, port);
    return true;
}

/* What stands between "PROXY " and CRLF. */
static bool parse_words(char *text, struct identity *out)
{
    enum { PROTOCOL, SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT, WORDS };
    char *words[WORDS], *rest = text;
    static const char unknown[] = "UNKNOWN";
    if (strncmp(text, unknown, strlen(unknown)) == 0 &&
        (text[strlen(unknown)] == '\0' || text[strlen(unknown)] == ' '))
        return true;
    for (size_t i = 0; i < WORDS; i++) {
        words[i] = strsep(&rest, " ");
        if (words[i] == NULL)
            return false;
    }
    int family = strcmp(words[PROTOCOL], "TCP4") == 0   ? AF_INET
                 : strcmp(words[PROTOCOL], "TCP6") == 0 ? AF_INET6
                                                        : AF_UNSPEC;
    if (rest != NULL || family == AF_UNSPEC)
        return false;
    out->known = true;
    return parse_end(family, words[SOURCE], words[SOURCE_PORT], &out->source) &&
           parse_end(family, words[DESTINATION], words[DESTINATION_PORT], &out->destination);
}

static enum identity_result read_v1(const char *data, size_t len, struct identity *out,
                                    size_t *used)
{
    size_t most = len < IDENTITY_V1_MAX ? len : IDENTITY_V1_MAX, n = 0;
    char text[IDENTITY_V1_MAX];
    while (n < most && data[n] != '\r' && data[n] != '\n' && data[n] != '\0')
        n++;
    if (n + 1 >= IDENTITY_V1_MAX || (n < most && data[n] != '\r'))
        return IDENTITY_BAD;
    if (n + 1 >= most)
        return IDENTITY_MORE;
    if (data[n + 1] != '\n')
        return IDENTITY_BAD;
    size_t start = strlen(magic_v1);
    memcpy(text, data + start, n - start);
    text[n - start] = '\0';
    *used = n + 2;
    return parse_words(text, out) ? IDENTITY_OK : IDENTITY_BAD;
}

/* ---- reading version 2 ---- */

/* RFC 9260, appendix A: the Castagnoli polynomial, reflected; `skip` and the three bytes behind it
 * count as zero. A header is short and comes once a connection: no table. */
static uint32_t crc32c(const char *data, size_t len, size_t skip)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= i >= skip && i < skip + 4 ? 0 : byte_at(data, i);
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static bool crc_is_right(const char *header, size_t len, size_t at)
{
    uint32_t told = (uint32_t)two_bytes(header + at) << 16 | two_bytes(header + at + 2);
    return told == crc32c(header, len, at);
}

/* Bytes of addresses, or -1 for a pair that nobody may send. */
static int address_bytes(unsigned pair)
{
    switch (pair) {
    case PAIR_UNSPEC:
        return 0;
    case PAIR_TCP4:
    case PAIR_UDP4:
        return 12;
    case PAIR_TCP6:
    case PAIR_UDP6:
        return 36;
    case PAIR_UNIX_STREAM:
    case PAIR_UNIX_DGRAM:
        return 216;
    }
    return -1;
}

/* Whether TLVs fill header[at .. end) without gap or overhang. */
static bool tlvs_fit(const char *header, size_t at, size_t end)
{
    while (at < end) {
        if (end - at < TLV_HEAD || end - at - TLV_HEAD < two_bytes(header + at + 1))
            return false;
        at += TLV_HEAD + two_bytes(header + at + 1);
    }
    return true;
}

/* What the TLVs at header[at .. len) say; unknown ones are passed over. */
static bool read_tlvs(const char *header, size_t at, size_t len, struct identity *out)
{
    if (!tlvs_fit(header, at, len))
        return false;
    for (size_t n; at < len; at += TLV_HEAD + n) {
        const char *value = header + at + TLV_HEAD;
        n = two_bytes(header + at + 1);
        switch (byte_at(header, at)) {
        case TLV_CRC32C:
            if (n != 4 || !crc_is_right(header, len, at + TLV_HEAD))
                return false;
            break;
        case TLV_UNIQUE_ID:
            if (n > sizeof out->id)
                return false;
            memcpy(out->id, value, n);
            out->id_len = n;
            break;
        case TLV_SSL:
            if (n < SSL_HEAD || !tlvs_fit(value, SSL_HEAD, n))
                return false;
            break;
        }
    }
    return true;
}

static void take_addresses(int family, const char *data, struct identity *out)
{
    size_t ip = family == AF_INET ? 4 : 16;
    out->known = true;
    out->source = address_of(family, data, (uint16_t)two_bytes(data + 2 * ip));
    out->destination = address_of(family, data + ip, (uint16_t)two_bytes(data + 2 * ip + 2));
}

static enum identity_result read_v2(const char *data, size_t len, struct identity *out,
                                    size_t *used)
{
    if (len > SIGNATURE && (byte_at(data, SIGNATURE) >> 4 != VERSION_2 ||
                            (byte_at(data, SIGNATURE) & 15) > COMMAND_PROXY))
        return IDENTITY_BAD;
    if (len < FIXED)
        return IDENTITY_MORE;
    bool local = (byte_at(data, SIGNATURE) & 15) == COMMAND_LOCAL;
    unsigned pair = byte_at(data, SIGNATURE + 1);
    size_t whole = FIXED + two_bytes(data + SIGNATURE + 2);
    int addresses = local ? 0 : address_bytes(pair);
    if (addresses < 0 || whole > IDENTITY_READ_MAX || whole < FIXED + (size_t)addresses)
        return IDENTITY_BAD;
    if (len < whole)
        return IDENTITY_MORE;
    *used = whole;
    if (local) /* whatever follows is to be skipped */
        return IDENTITY_OK;
    if (pair == PAIR_TCP4 || pair == PAIR_TCP6)
        take_addresses(pair == PAIR_TCP4 ? AF_INET : AF_INET6, data + FIXED, out);
    return read_tlvs(data, FIXED + (size_t)addresses, whole, out) ? IDENTITY_OK : IDENTITY_BAD;
}

/* Whether what is there of the magic is right. */
static bool may_begin_with(const char *data, size_t len, const char *magic, size_t magic_len)
{
    return memcmp(data, magic, len < magic_len ? len : magic_len) == 0;
}

enum identity_result identity_read(const char *data, size_t len, struct identity *out, size_t *used)
{
    *out = (struct identity){0};
    *used = 0;
    if (len == 0)
        return IDENTITY_MORE;
    if (may_begin_with(data, len, magic_v2, sizeof magic_v2))
        return read_v2(data, len, out, used);
    if (may_begin_with(data, len, magic_v1, strlen(magic_v1)))
        return len < strlen(magic_v1) ? IDENTITY_MORE : read_v1(data, len, out, used);
    return IDENTITY_BAD;
}

/* ---- writing ---- */

/* Client and server as they are written; AF_UNSPEC where they cannot be. */
struct ends {
    int family;
    struct address client, server;
};

static struct ends ends_of(const struct identity_facts *f)
{
    struct ends e = {.family = AF_UNSPEC};
    if (f->client == NULL || f->server == NULL)
        return e;
    e.client = address_unmapped(f->client);
    e.server = address_unmapped(f->server);
    int family = e.client.sa.ss_family;
    if ((family == AF_INET || family == AF_INET6) && family == e.server.sa.ss_family)
        e.family = family;
    return e;
}

static const void *ip_of(const struct address *a)
{
    return a->sa.ss_family == AF_INET
               ? (const void *)&((const struct sockaddr_in *)&a->sa)->sin_addr
               : (const void *)&((const struct sockaddr_in6 *)&a->sa)->sin6_addr;
}

size_t identity_write_v1(const struct identity_facts *f, char out[IDENTITY_WRITE_MAX])
{
    const struct ends e = ends_of(f);
    char client[INET6_ADDRSTRLEN], server[INET6_ADDRSTRLEN];
    int n;
    if (e.family == AF_UNSPEC ||
        inet_ntop(e.family, ip_of(&e.client), client, sizeof client) == NULL ||
        inet_ntop(e.family, ip_of(&e.server), server, sizeof server) == NULL)
        n = snprintf(out, IDENTITY_WRITE_MAX, "PROXY UNKNOWN\r\n");
    else
        n = snprintf(out, IDENTITY_WRITE_MAX, "PROXY %s %s %s %u %u\r\n",
                     e.family == AF_INET ? "TCP4" : "TCP6", client, server, address_port(&e.client),
                     address_port(&e.server));
    assert(n > 0 && n <= IDENTITY_V1_MAX);
    return (size_t)n;
}

struct header {
    char *bytes;
    size_t len;
};

static void put(struct header *h, const void *data, size_t len)
{
    assert(len <= IDENTITY_WRITE_MAX - h->len);
    memcpy(h->bytes + h->len, data, len);
    h->len += len;
}

static void put_byte(struct header *h, unsigned n)
{
    const unsigned char byte = (unsigned char)n;
    put(h, &byte, 1);
}

/* A number of two bytes at a place that has been left for it. */
static void set_length(struct header *h, size_t at, size_t n)
{
    h->bytes[at] = (char)(n >> 8);
    h->bytes[at + 1] = (char)(n & 255);
}

static void put_port(struct header *h, uint16_t port)
{
    put_byte(h, port >> 8);
    put_byte(h, port & 255);
}

/* Returns the place behind the length, for end_tlv. */
static size_t begin_tlv(struct header *h, enum tlv type)
{
    put_byte(h, type);
    put(h, "\0\0", 2);
    return h->len;
}

static void end_tlv(struct header *h, size_t start)
{
    set_length(h, start - 2, h->len - start);
}

static void put_tlv(struct header *h, enum tlv type, const char *value, size_t len)
{
    size_t start = begin_tlv(h, type);
    put(h, value, len);
    end_tlv(h, start);
}

/* Nothing for a text that is missing ("-") or longer than any true one: better unsaid than cut. */
static void put_text(struct header *h, enum tlv type, const char *text)
{
    enum { TEXT_MAX = 255 };
    size_t len = strlen(text);
    if (len > 0 && len <= TEXT_MAX && strcmp(text, "-") != 0)
        put_tlv(h, type, text, len);
}

/* Everybody who writes this header writes "TLSv1.3"; GnuTLS says "TLS1.3". */
static void put_version(struct header *h, const char *version)
{
    char text[32];
    bool bare = strncmp(version, "TLS", 3) == 0 && version[3] != 'v';
    snprintf(text, sizeof text, "%s%s", bare ? "TLSv" : "", bare ? version + 3 : version);
    put_text(h, TLV_SSL_VERSION, text);
}

/* "EC256", "RSA2048"; GnuTLS says "EC/ECDSA", "EdDSA (Ed25519)". */
static void put_key(struct header *h, const struct tls_certificates *c)
{
    char text[48];
    snprintf(text, sizeof text, "%.*s%u", (int)strcspn(c->our_key, "/ "), c->our_key,
             c->our_key_bits);
    put_text(h, TLV_SSL_KEY, strcmp(c->our_key, "-") == 0 ? "-" : text);
}

static void put_ssl(struct header *h, const struct identity_facts *f)
{
    size_t start = begin_tlv(h, TLV_SSL);
    bool verified = f->name != NULL;
    put_byte(h, CLIENT_SSL | (verified ? CLIENT_CERT_CONN | CLIENT_CERT_SESS : 0));
    put(h, verified ? "\0\0\0\0" : "\0\0\0\1", 4); /* 0: a certificate, and it is good */
    put_version(h, f->tls->version);
    if (verified)
        put_text(h, TLV_SSL_CN, f->name);
    put_text(h, TLV_SSL_CIPHER, f->tls->cipher);
    if (f->certificates != NULL) {
        put_text(h, TLV_SSL_SIGNATURE, f->certificates->our_signature);
        put_key(h, f->certificates);
    }
    end_tlv(h, start);
}

static void put_addresses(struct header *h, const struct ends *e)
{
    size_t ip = e->family == AF_INET ? 4 : 16;
    if (e->family == AF_UNSPEC)
        return;
    put(h, ip_of(&e->client), ip);
    put(h, ip_of(&e->server), ip);
    put_port(h, address_port(&e->client));
    put_port(h, address_port(&e->server));
}

size_t identity_write_v2(const struct identity_facts *f, char out[IDENTITY_WRITE_MAX])
{
    struct header h = {.bytes = out};
    const struct ends e = ends_of(f);
    put(&h, magic_v2, sizeof magic_v2);
    put_byte(&h, VERSION_2 << 4 | (f->client != NULL ? COMMAND_PROXY : COMMAND_LOCAL));
    put_byte(&h, e.family == AF_INET ? PAIR_TCP4 : e.family == AF_INET6 ? PAIR_TCP6 : PAIR_UNSPEC);
    put(&h, "\0\0", 2);
    put_addresses(&h, &e);
    if (f->client != NULL && f->tls != NULL) {
        put_text(&h, TLV_ALPN, f->tls->alpn);
        put_text(&h, TLV_AUTHORITY, f->tls->sni);
    }
    if (f->client != NULL && f->id_len > 0)
        put_tlv(&h, TLV_UNIQUE_ID, f->id, f->id_len);
    if (f->client != NULL && f->tls != NULL)
        put_ssl(&h, f);
    set_length(&h, FIXED - 2, h.len - FIXED);
    return h.len;
}
