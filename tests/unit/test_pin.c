/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include "certs/pin.h"

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define COLONS                                                                                     \
    "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E" \
    ":1F"
#define BASE64 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

struct row {
    const char *name, *text;
    bool want_ok, want_key;
};

static const struct row rows[] = {
    {"hexadecimal", "sha256:" HEX, true, false},
    {"hexadecimal-of-the-key", "spki-sha256:" HEX, true, true},
    {"colons", "sha256:" COLONS, true, false},
    {"colons-of-the-key", "SPKI-SHA256:" COLONS, true, true},
    {"base64", "sha256:" BASE64, true, false},
    {"base64-of-the-key", "spki-sha256:" BASE64, true, true},

    {"nothing", "", false, false},
    {"no-prefix", HEX, false, false},
    {"another-hash", "sha1:" HEX, false, false},
    {"only-the-prefix", "sha256:", false, false},

    {"one-digit-short", "sha256:00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
     false, false},
    {"one-digit-more", "sha256:" HEX "0", false, false},
    {"a-letter-that-is-no-digit",
     "sha256:g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", false, false},
    {"blank-in-front", "sha256: " HEX, false, false},
    {"blank-behind", "sha256:" HEX " ", false, false},
    {"colon-behind", "sha256:" COLONS ":", false, false},
    {"colon-out-of-place",
     "sha256:0:001:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:"
     "1C:1D:1E:1F",
     false, false},
    {"dashes-for-colons",
     "sha256:00-01-02-03-04-05-06-07-08-09-0A-0B-0C-0D-0E-0F-10-11-12-13-14-15-16-17-18-19-1A-1B-"
     "1C-1D-1E-1F",
     false, false},
    {"base64-of-31-bytes", "sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", false, false},
    {"base64-of-33-bytes", "sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", false, false},
    {"base64-without-padding", "sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", false, false},
    {"not-base64", "sha256:????????????????????????????????????????????", false, false},
};

static void text_is_read(void **state)
{
    const struct row *r = *state;
    struct pin pin;
    memset(&pin, 0xee, sizeof pin);
    const char *complaint = pin_parse(r->text, &pin);
    assert_int_equal(complaint == NULL, r->want_ok);
    if (!r->want_ok)
        return;
    assert_int_equal(pin.of_key, r->want_key);
    for (unsigned char i = 0; i < 32; i++)
        assert_int_equal(pin.sha256[i], i);
}

int main(void)
{
    static struct unit u;
    UNIT_ADD_TABLE(&u, text_is_read, rows);
    return unit_run(&u, "pin");
}
