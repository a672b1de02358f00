/* SPDX-License-Identifier: ISC */
#include "protocols/socks.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

enum {
    VERSION = 5,
    LOGIN_VERSION = 1, /* of RFC 1929 */
    CONNECT = 1,
    KIND_IPV4 = 1,
    KIND_NAME = 3,
    KIND_IPV6 = 4,
    REPLY_HEAD = 4, /* version, code, reserved, kind of the address */
    PORT_LEN = 2,
};

/* ---- what we say ---- */

size_t socks_write_greeting(bool has_password, unsigned char out[SOCKS_GREETING_MAX])
{
    out[0] = VERSION;
    out[1] = has_password ? 2 : 1;
    out[2] = SOCKS_NO_LOGIN;
    out[3] = SOCKS_PASSWORD;
    return has_password ? 4 : 3;
}

/* Its length in a byte, then the text. */
static unsigned char *put_text(unsigned char *at, const char *text)
{
    size_t n = strlen(text);
    assert(n > 0 && n <= SOCKS_PART_MAX);
    *at = (unsigned char)n;
    memcpy(at + 1, text, n);
    return at + 1 + n;
}

size_t socks_write_login(const char *user, const char *password, unsigned char out[SOCKS_LOGIN_MAX])
{
    out[0] = LOGIN_VERSION;
    return (size_t)(put_text(put_text(out + 1, user), password) - out);
}

static unsigned char *put_host(unsigned char *at, const char *host)
{
    if (inet_pton(AF_INET, host, at + 1) == 1) {
        *at = KIND_IPV4;
        return at + 1 + sizeof(struct in_addr);
    }
    if (inet_pton(AF_INET6, host, at + 1) == 1) {
        *at = KIND_IPV6;
        return at + 1 + sizeof(struct in6_addr);
    }
    *at = KIND_NAME;
    return put_text(at + 1, host);
}

size_t socks_write_request(const char *host, uint16_t port, unsigned char out[SOCKS_REQUEST_MAX])
{
    out[0] = VERSION;
    out[1] = CONNECT;
    out[2] = 0;
    unsigned char *at = put_host(out + 3, host);
    *at++ = (unsigned char)(port >> 8);
    *at++ = (unsigned char)port;
    return (size_t)(at - out);
}

/* ---- what is read ---- */

/* Two bytes: a version, and the code. */
static ssize_t read_pair(const char *data, size_t len, int version, int *code)
{
    if (len > 0 && data[0] != version)
        return -1;
    if (len < 2)
        return 0;
    *code = (unsigned char)data[1];
    return 2;
}

ssize_t socks_read_method(const char *data, size_t len, int *code)
{
    ssize_t n = read_pair(data, len, VERSION, code);
    if (n > 0 && *code != SOCKS_NO_LOGIN && *code != SOCKS_PASSWORD && *code != SOCKS_NOTHING_FITS)
        return -1;
    return n;
}

ssize_t socks_read_login(const char *data, size_t len, int *code)
{
    return read_pair(data, len, LOGIN_VERSION, code);
}

/* Where the proxy has connected from is of no interest, but has a length. */
ssize_t socks_read_reply(const char *data, size_t len, int *code)
{
    size_t whole = REPLY_HEAD + PORT_LEN;
    ssize_t n = read_pair(data, len, VERSION, code);
    if (n <= 0 || *code != 0)
        return n;
    if (len < REPLY_HEAD)
        return 0;
    switch (data[3]) {
    case KIND_IPV4:
        whole += sizeof(struct in_addr);
        break;
    case KIND_IPV6:
        whole += sizeof(struct in6_addr);
        break;
    case KIND_NAME:
        if (len == REPLY_HEAD)
            return 0;
        whole += 1 + (size_t)(unsigned char)data[REPLY_HEAD];
        break;
    default:
        return -1;
    }
    return len < whole ? 0 : (ssize_t)whole;
}

const char *socks_reply_text(int code)
{
    static const char *const texts[] = {
        [1] = "has failed (1, general failure)",
        [2] = "does not allow this connection (2)",
        [3] = "cannot reach the network of the server (3)",
        [4] = "cannot reach the server, or does not find its name (4)",
        [5] = "was refused by the server (5)",
        [6] = "got no answer from the server in time (6)",
        [7] = "does not do CONNECT (7)",
        [8] = "does not take addresses of this kind (8)",
    };
    if (code < 1 || (size_t)code >= sizeof texts / sizeof *texts)
        return "has failed, in a way that RFC 1928 does not know";
    return texts[code];
}
