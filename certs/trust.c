/* SPDX-License-Identifier: ISC */
#include "certs/trust.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "certs/describe.h"
#include "certs/pin.h"

struct loading {
    struct trust *trust;
    char *error;
    size_t error_size;
};

__attribute__((format(printf, 2, 3))) static bool complain(struct loading *l, const char *format,
                                                           ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(l->error, l->error_size, format, ap);
    va_end(ap);
    return false;
}

static bool load_file(struct loading *l, const char *what, const char *path, gnutls_datum_t *out)
{
    int r = gnutls_load_file(path, out);
    if (r == 0)
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC); /* for the system's own word */
    int error = fd < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return complain(l, "cannot read %s file %s: %s", what, path,
                    error != 0 ? strerror(error) : gnutls_strerror(r));
}

static bool contains(const gnutls_datum_t *data, const char *word)
{
    return memmem(data->data, data->size, word, strlen(word)) != NULL;
}

static gnutls_x509_crt_fmt_t format_of(const gnutls_datum_t *data)
{
    return contains(data, "-----BEGIN ") ? GNUTLS_X509_FMT_PEM : GNUTLS_X509_FMT_DER;
}

/* ---- anchors ---- */

static bool has_anchor(const struct trust *t, gnutls_x509_crt_t crt)
{
    for (size_t i = 0; i < t->n_anchors; i++)
        if (gnutls_x509_crt_equals(t->anchors[i], crt))
            return true;
    return false;
}

/* Takes the certificate, whatever happens. */
static bool add_anchor(struct loading *l, gnutls_x509_crt_t crt)
{
    struct trust *t = l->trust;
    if (has_anchor(t, crt)) { /* as the hashed names in OpenSSL's directories are */
        gnutls_x509_crt_deinit(crt);
        return true;
    }
    gnutls_x509_crt_t *more = realloc(t->anchors, (t->n_anchors + 1) * sizeof *more);
    if (more != NULL)
        t->anchors = more;
    if (more == NULL || gnutls_x509_trust_list_add_cas(t->list, &crt, 1, 0) != 1) {
        gnutls_x509_crt_deinit(crt);
        return complain(l, "out of memory");
    }
    t->anchors[t->n_anchors++] = crt;
    return true;
}

/* Takes the certificates. */
static bool add_anchors(struct loading *l, gnutls_x509_crt_t *crts, unsigned n)
{
    bool ok = true;
    for (unsigned i = 0; i < n; i++)
        if (ok)
            ok = add_anchor(l, crts[i]);
        else
            gnutls_x509_crt_deinit(crts[i]);
    return ok;
}

static bool add_ca_data(struct loading *l, const char *path, const gnutls_datum_t *data)
{
    gnutls_x509_crt_t *crts = NULL;
    unsigned n = 0;
    int r = gnutls_x509_crt_list_import2(&crts, &n, data, format_of(data), 0);
    if (r < 0 || n == 0)
        return complain(l, "%s holds no certificate that can be used, or one that is damaged: %s",
                        path, gnutls_strerror(r));
    bool ok = add_anchors(l, crts, n);
    gnutls_free(crts);
    return ok;
}

static bool add_ca_file(struct loading *l, const char *path)
{
    gnutls_datum_t data = {0};
    if (!load_file(l, "CA", path, &data))
        return false;
    bool ok = add_ca_data(l, path, &data);
    gnutls_free(data.data);
    return ok;
}

static bool add_ca_dir_entry(struct loading *l, const char *dir, const char *name, size_t *found)
{
    char path[4096];
    struct stat st;
    gnutls_datum_t data = {0};
    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, name) >= sizeof path)
        return complain(l, "the name of a file in %s is too long", dir);
    if (stat(path, &st) != 0)
        return complain(l, "cannot read CA file %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return true;
    if (!load_file(l, "CA", path, &data))
        return false;
    bool ok = true;
    if (contains(&data, "-----BEGIN CERTIFICATE-----")) {
        ok = add_ca_data(l, path, &data);
        ++*found;
    }
    gnutls_free(data.data);
    return ok;
}

static bool add_ca_dir(struct loading *l, const char *dir)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, NULL, alphasort);
    size_t found = 0;
    bool ok = true;
    if (n < 0)
        return complain(l, "cannot read CA directory %s: %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (ok && entries[i]->d_name[0] != '.')
            ok = add_ca_dir_entry(l, dir, entries[i]->d_name, &found);
        free(entries[i]);
    }
    free(entries);
    if (ok && found == 0)
        return complain(l, "there is no certificate (PEM) in CA directory %s", dir);
    return ok;
}

/* The system's store may be a module that is asked anew each time; copies need nobody later. */
static bool add_system(struct loading *l)
{
    gnutls_x509_trust_list_t all;
    gnutls_x509_trust_list_iter_t next = NULL;
    gnutls_x509_crt_t crt;
    if (gnutls_x509_trust_list_init(&all, 0) != 0)
        return complain(l, "out of memory");
    int r = gnutls_x509_trust_list_add_system_trust(all, 0, 0);
    bool ok = true;
    size_t before = l->trust->n_anchors;
    while (ok && r >= 0 && gnutls_x509_trust_list_iter_get_ca(all, &next, &crt) == 0)
        ok = add_anchor(l, crt);
    gnutls_x509_trust_list_iter_deinit(next);
    gnutls_x509_trust_list_deinit(all, 1);
    if (ok && l->trust->n_anchors == before)
        return complain(l, "the system's store of CA certificates is empty or cannot be read: %s",
                        r < 0 ? gnutls_strerror(r) : "is the package ca-certificates installed?");
    return ok;
}

/* ---- revocation lists ---- */

static bool add_crl_file(struct loading *l, const char *path)
{
    struct trust *t = l->trust;
    gnutls_datum_t data = {0};
    gnutls_x509_crl_t *crls = NULL;
    unsigned n = 0;
    if (!load_file(l, "CRL", path, &data))
        return false;
    int r = gnutls_x509_crl_list_import2(&crls, &n, &data, format_of(&data), 0);
    gnutls_free(data.data);
    if (r < 0 || n == 0)
        return complain(l,
                        "%s holds no revocation list that can be used, or one that is damaged: %s",
                        path, gnutls_strerror(r));
    gnutls_x509_crl_t *more = realloc(t->crls, (t->n_crls + n) * sizeof *more);
    if (more != NULL) {
        t->crls = more;
        memcpy(t->crls + t->n_crls, crls, n * sizeof *crls);
        t->n_crls += n;
    } else {
        for (unsigned i = 0; i < n; i++)
            gnutls_x509_crl_deinit(crls[i]);
    }
    gnutls_free(crls);
    return more != NULL || complain(l, "out of memory");
}

/* ---- all ---- */

static bool add_all(struct loading *l, const struct trust_sources *s)
{
    bool ok = true;
    for (size_t i = 0; ok && i < s->n_ca_files; i++)
        ok = add_ca_file(l, s->ca_files[i]);
    for (size_t i = 0; ok && i < s->n_ca_dirs; i++)
        ok = add_ca_dir(l, s->ca_dirs[i]);
    if (ok && s->system)
        ok = add_system(l);
    for (size_t i = 0; ok && i < s->n_crl_files; i++)
        ok = add_crl_file(l, s->crl_files[i]);
    return ok;
}

struct trust *trust_create(const struct trust_sources *sources, char *error, size_t error_size)
{
    struct trust *t = calloc(1, sizeof *t);
    struct loading l = {.trust = t, .error = error, .error_size = error_size};
    if (t == NULL || gnutls_x509_trust_list_init(&t->list, 0) != 0) {
        complain(&l, "out of memory");
        free(t);
        return NULL;
    }
    if (add_all(&l, sources))
        return t;
    trust_destroy(t);
    return NULL;
}

bool trust_pin(const struct trust *t, size_t n, struct pin *out)
{
    out->of_key = false;
    return describe_hash(t->anchors[n], false, out->sha256);
}

void trust_destroy(struct trust *t)
{
    if (t == NULL)
        return;
    gnutls_x509_trust_list_deinit(t->list, 0); /* not what is in it: that is in the arrays */
    for (size_t i = 0; i < t->n_anchors; i++)
        gnutls_x509_crt_deinit(t->anchors[i]);
    for (size_t i = 0; i < t->n_crls; i++)
        gnutls_x509_crl_deinit(t->crls[i]);
    free(t->anchors);
    free(t->crls);
    free(t);
}
