/* SPDX-License-Identifier: ISC
 *
 * Prints the option table for the check against the manual page: what kind of option it is, its
 * name, default, smallest, largest, words; separated by tabs.
 */
#include <stdio.h>

#include "proxy/options.h"

static const char *kind(const struct option_row *row)
{
    switch (row->type) {
    case OPTION_NUMBER:
        return "number";
    case OPTION_CHOICE:
        return "choice";
    case OPTION_TEXT:
    case OPTION_FILE:
    case OPTION_SECRET:
    case OPTION_LIST:
    case OPTION_FILES:
    case OPTION_INCLUDE:
        return "text";
    case OPTION_NOTHING:
        return "nothing";
    case OPTION_GONE:
        return "gone";
    }
    return "?";
}

int main(void)
{
    const struct option_row *row;
    for (size_t i = 0; (row = option_at(i)) != NULL; i++)
        printf("%s\t%s\t%s\t%d\t%d\t%s\n", kind(row), row->name,
               row->initial != NULL ? row->initial : "", row->min, row->max,
               row->choices != NULL ? row->choices : "");
    return 0;
}
