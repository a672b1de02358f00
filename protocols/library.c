/* SPDX-License-Identifier: ISC */
#include "protocols/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

bool library_load(const char *file, const struct library_symbol *symbols, size_t n, char *error,
                  size_t error_size)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library != NULL && i < n; i++) {
        void *function = dlsym(library, symbols[i].name);
        if (function == NULL)
            library = NULL;
        else
            memcpy(symbols[i].place, &function, sizeof function);
    }
    if (library == NULL)
        snprintf(error, error_size, "%s", dlerror());
    return library != NULL;
}
