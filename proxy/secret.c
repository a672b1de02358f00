/* SPDX-License-Identifier: ISC */
#include "proxy/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocols/memory.h"

struct secret {
    size_t size; /* of the mapping */
    char text[];
};

/* ---- memory ---- */

struct secret *secret_create(const char *bytes, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (sizeof(struct secret) + len + page) / page * page;
    struct secret *s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    s->size = size;
    memcpy(s->text, bytes, len);
    s->text[len] = '\0';
    (void)madvise(s, size, MADV_DONTDUMP);
    secret_share(s, false);
    return s;
}

void secret_destroy(struct secret *s)
{
    if (s == NULL)
        return;
    size_t size = s->size;
    explicit_bzero(s, size);
    munmap(s, size);
}

const char *secret_text(const struct secret *s)
{
    return s->text;
}

void secret_share(struct secret *s, bool with_children)
{
    (void)madvise(s, s->size, with_children ? MADV_DOFORK : MADV_DONTFORK);
}

/* ---- lines ---- */

size_t secret_line_size(size_t max)
{
    return max + 3; /* with a line end, and one more than that */
}

/* NULL, or what is wrong with it; *len loses the line end. */
static const char *check_line(const char *text, size_t *len, enum secret_form form)
{
    if (*len > 0 && text[*len - 1] == '\n')
        --*len;
    if (*len > 0 && text[*len - 1] == '\r')
        --*len;
    if (*len == 0)
        return "holds nothing, where one line should be";
    for (size_t i = 0; i < *len; i++)
        if (text[i] == '\n')
            return "has more than one line";
        else if ((unsigned char)text[i] < ' ' || text[i] == '\x7f')
            return "has control characters in its line";
        else if (text[i] == ' ' && form == SECRET_WORD)
            return "has blanks in its line: an access token has none";
    return NULL;
}

struct secret *secret_from_line(const char *text, size_t len, size_t max, enum secret_form form,
                                char *error, size_t error_size)
{
    struct secret *s = NULL;
    bool is_whole = len < secret_line_size(max);
    const char *wrong = is_whole ? check_line(text, &len, form) : NULL;
    if (!is_whole || len > max)
        snprintf(error, error_size, "holds more than %zu bytes", max);
    else if (wrong != NULL)
        snprintf(error, error_size, "%s", wrong);
    else if ((s = secret_create(text, len)) == NULL)
        snprintf(error, error_size, "cannot be kept: out of memory");
    return s;
}

/* ---- files ---- */

/* Fewer bytes than `size`, or -1 with errno. */
static ssize_t read_all(const char *path, char *out, size_t size)
{
    size_t len = 0;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return -1;
    while (len < size && (n = read(fd, out + len, size - len)) > 0)
        len += (size_t)n;
    int error = n < 0 ? errno : EFBIG;
    close(fd);
    errno = error;
    return n == 0 ? (ssize_t)len : -1;
}

struct secret *secret_read(const char *path, size_t max, enum secret_form form, char *error,
                           size_t error_size)
{
    struct secret *s = NULL;
    char wrong[128];
    size_t size = secret_line_size(max);
    char *text = memory_alloc(size);
    ssize_t n = read_all(path, text, size);
    if (n < 0 && errno == EFBIG)
        n = (ssize_t)size; /* it is said below */
    if (n < 0)
        snprintf(error, error_size, "cannot read %s: %s", path, strerror(errno));
    else if ((s = secret_from_line(text, (size_t)n, max, form, wrong, sizeof wrong)) == NULL)
        snprintf(error, error_size, "%s %s", path, wrong);
    explicit_bzero(text, size);
    free(text);
    return s;
}

bool secret_is_public(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IROTH | S_IWOTH)) != 0;
}
