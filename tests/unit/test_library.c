/* SPDX-License-Identifier: ISC */
#include "tests/unit/unit.h"

#include <math.h>

#include "protocols/library.h"

/* Of a library that nothing else here is linked with. */
static struct {
    double (*cbrt)(double x);
    double (*hypot)(double x, double y);
} lib;

static void functions_can_be_called(void **state)
{
    static const struct library_symbol symbols[] = {LIBRARY_SYMBOL(lib, cbrt),
                                                    LIBRARY_SYMBOL(lib, hypot)};
    char error[200] = "";
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_true(library_load("libm.so.6", symbols, 2, error, sizeof error));
        assert_true(lib.cbrt(27) > 2.99 && lib.cbrt(27) < 3.01);
        assert_true(lib.hypot(3, 4) > 4.99 && lib.hypot(3, 4) < 5.01);
    }
    assert_string_equal(error, "");
}

static void what_is_missing_is_named(void **state)
{
    static double (*nothing)(double x);
    static const struct library_symbol symbols[] = {{"cbrt_of_another_library", &nothing}};
    char error[200];
    (void)state;
    assert_false(library_load("libno-such-thing.so.9", NULL, 0, error, sizeof error));
    assert_non_null(strstr(error, "libno-such-thing.so.9"));
    assert_false(library_load("libm.so.6", symbols, 1, error, sizeof error));
    assert_non_null(strstr(error, "cbrt_of_another_library"));
    assert_null(nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_can_be_called),
        cmocka_unit_test(what_is_missing_is_named),
    };
    return cmocka_run_group_tests_name("library", tests, NULL, NULL);
}
