/* SPDX-License-Identifier: ISC
 *
 * Runs a fuzz target on files, without libFuzzer and with any compiler: `fuzz_X-replay
 * FILE-or-DIRECTORY...`. Says each name before it is tried, so that the last one is the culprit.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { INPUT_MAX = 1024 * 1024 };

static bool run_file(const char *path)
{
    static uint8_t bytes[INPUT_MAX];
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        printf("%s: %s\n", path, strerror(errno));
        return false;
    }
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    printf("%s, %zu bytes\n", path, size);
    fflush(stdout);
    char *copy = copy_exactly(bytes, size);
    (void)LLVMFuzzerTestOneInput((const uint8_t *)copy, size);
    free(copy);
    return true;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Returns the number of files that were run. */
static unsigned run_directory(const char *directory)
{
    struct dirent **entries;
    unsigned done = 0;
    int n = scandir(directory, &entries, is_visible, alphasort);
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", directory, entries[i]->d_name);
        done += run_file(path);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return done;
}

int main(int argc, char **argv)
{
    unsigned done = 0;
    for (int i = 1; i < argc; i++) {
        struct stat info;
        unsigned before = done;
        bool directory = stat(argv[i], &info) == 0 && S_ISDIR(info.st_mode);
        done += directory ? run_directory(argv[i]) : run_file(argv[i]);
        if (done == before) {
            printf("%s: nothing to run there\n", argv[i]);
            return 1;
        }
    }
    printf("%u inputs\n", done);
    return done > 0 ? 0 : 1;
}
