/* SPDX-License-Identifier: ISC
 *
 * A shared library that few configurations need, loaded when one does. What is linked is mapped and
 * relocated at every start, and its mappings are copied for every worker, whether it is used or
 * not.
 *
 * The functions are called through a struct of pointers with their names:
 *
 *     static struct { int (*answer)(void); } lib;
 *     static const struct library_symbol symbols[] = {LIBRARY_SYMBOL(lib, answer)};
 */
#ifndef PROTOCOLS_LIBRARY_H
#define PROTOCOLS_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

struct library_symbol {
    const char *name;
    void *place; /* of the pointer to that function */
};

/* The compiler compares the pointer with the declaration of the function; nothing is linked. */
#define LIBRARY_SYMBOL(lib, function)                                                              \
    {                                                                                              \
#function, sizeof(true ? (lib).function : function)> 0 ? (void *)&(lib).function : NULL    \
    }

/* Sets all pointers. `file` is the name that the library has for programs ("libz.so.1"). Before the
 * jail: it reads files. Done a second time it costs little; nothing is ever unloaded. False:
 * `error` has the linker's words. */
bool library_load(const char *file, const struct library_symbol *symbols, size_t n, char *error,
                  size_t error_size);

#endif
