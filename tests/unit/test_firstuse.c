/* SPDX-License-Identifier: ISC
 *
 * Keys that are trusted on first use: who is the first, and what is remembered of it.
 */
#include "tests/unit/unit.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/claim.h"
#include "proxy/config.h"
#include "proxy/firstuse.h"
#include "proxy/log.h"
#include "proxy/tlsmemory.h"

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define PIN   "spki-sha256:" ZEROS

static const unsigned char red[CLAIM_BYTES] = {1}, blue[CLAIM_BYTES] = {2}, zeros[CLAIM_BYTES];

/* ---- claims ---- */

static void first_one_decides(void **state)
{
    (void)state;
    unsigned char held[CLAIM_BYTES];
    struct claim *c = claim_create();
    assert_non_null(c);
    assert_false(claim_read(c, held));
    assert_int_equal(claim_make(c, red, held), CLAIM_FIRST);
    assert_memory_equal(held, red, CLAIM_BYTES);
    assert_int_equal(claim_make(c, red, held), CLAIM_SAME);
    assert_int_equal(claim_make(c, blue, held), CLAIM_OTHER);
    assert_memory_equal(held, red, CLAIM_BYTES);
    assert_true(claim_read(c, held));
    assert_memory_equal(held, red, CLAIM_BYTES);
    claim_release(c, getpid()); /* it has been said */
    assert_int_equal(claim_make(c, blue, held), CLAIM_OTHER);
    claim_destroy(c);
    claim_destroy(NULL);
}

enum { RACERS = 4, ROUNDS = 100 };

struct race {
    atomic_uint ready;
    atomic_int results[RACERS];
};

/* Each has a key of its own; the last byte says whose is held. */
static _Noreturn void race(struct race *r, struct claim *c, unsigned char who)
{
    unsigned char key[CLAIM_BYTES], held[CLAIM_BYTES];
    memset(key, who, sizeof key);
    atomic_fetch_add(&r->ready, 1);
    while (atomic_load(&r->ready) < RACERS)
        ;
    enum claim_result result = claim_make(c, key, held);
    for (size_t i = 1; i < sizeof held; i++)
        if (held[i] != held[0])
            _exit(1);
    bool fits = result == CLAIM_FIRST ? held[0] == who : result == CLAIM_OTHER && held[0] != who;
    atomic_store(&r->results[who], fits ? held[0] : -1);
    _exit(0);
}

static void run_race(struct race *r)
{
    pid_t pids[RACERS];
    int status;
    struct claim *c = claim_create();
    *r = (struct race){0};
    claim_share(c, true);
    for (unsigned char i = 0; i < RACERS; i++)
        if ((pids[i] = fork()) == 0)
            race(r, c, i);
    for (size_t i = 0; i < RACERS; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    for (size_t i = 0; i < RACERS; i++)
        assert_int_equal(atomic_load(&r->results[i]), atomic_load(&r->results[0]));
    assert_in_range(atomic_load(&r->results[0]), 0, RACERS - 1);
    claim_destroy(c);
}

static void of_those_that_race_one_is_first(void **state)
{
    (void)state;
    struct race *r =
        mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < ROUNDS; i++)
        run_race(r);
    munmap(r, sizeof *r);
}

/* The layout is that of claim.c: whoever is to write comes first. */
static void claim_of_one_who_died_over_it_is_free_again(void **state)
{
    (void)state;
    unsigned char held[CLAIM_BYTES];
    struct claim *c = claim_create();
    atomic_store((atomic_int *)c, 12345);
    claim_release(c, 12344);
    assert_int_equal(claim_make(c, red, held), CLAIM_UNDECIDED);
    claim_release(c, 12345);
    assert_int_equal(claim_make(c, red, held), CLAIM_FIRST);
    claim_destroy(c);
}

static bool lives(void *ctx, pid_t pid)
{
    return pid == *(const pid_t *)ctx;
}

/* A worker that has been taken over can put any number there. */
static void claim_of_nobody_is_released(void **state)
{
    unsigned char held[CLAIM_BYTES];
    struct first_uses list = {0};
    pid_t worker = 12345;
    (void)state;
    struct first_use *f = first_uses_add(&list, "out", "a:25");
    f->claim = claim_create();
    atomic_store((atomic_int *)f->claim, 12345);
    first_uses_release(&list, lives, &worker);
    assert_int_equal(claim_make(f->claim, red, held), CLAIM_UNDECIDED);
    worker = 12346;
    first_uses_release(&list, lives, &worker);
    assert_int_equal(claim_make(f->claim, red, held), CLAIM_FIRST);
    first_uses_release(&list, lives, &worker);
    assert_int_equal(claim_make(f->claim, blue, held), CLAIM_OTHER);
    first_uses_finish(&list, NULL);
}

/* ---- lines ---- */

static const struct pin_line {
    const char *name, *text, *want; /* what is wrong with it, or how it is written */
    bool good, is_other;
} lines[] = {
    {"a line", "a:25 pin " PIN " 7 out\n", "a:25 pin " PIN " 7 out\n", true, false},
    {"a path", "/run/x pin " PIN " 0 out.x-y_z\n", "/run/x pin " PIN " 0 out.x-y_z\n", true, false},
    {"base64", "a:25 pin spki-sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= 7 out\n",
     "a:25 pin " PIN " 7 out\n", true, false},
    {"offer", "a:25 yes 7\n", "", false, true},
    {"offer of a server with an odd name", "pin yes 7\n", "", false, true},
    {"nothing", "\n", "", false, true},
    {"no digest", "a:25 pin\n", "", false, true},
    {"no seconds", "a:25 pin " PIN "\n", "is not NAME pin", false, false},
    {"no service", "a:25 pin " PIN " 7\n", "is not NAME pin", false, false},
    {"no line end", "a:25 pin " PIN " 7 out", "is not NAME pin", false, false},
    {"more", "a:25 pin " PIN " 7 out more\n", "is not NAME pin", false, false},
    {"before 1970", "a:25 pin " PIN " -1 out\n", "is not NAME pin", false, false},
    {"no number", "a:25 pin " PIN " x out\n", "is not NAME pin", false, false},
    {"of the certificate", "a:25 pin sha256:" ZEROS " 7 out\n", "has no pin", false, false},
    {"a digit too many", "a:25 pin " PIN "0 7 out\n", "has no pin", false, false},
    {"byte that is none of ASCII", "\xe4:25 pin " PIN " 7 out\n", "is not NAME pin", false, false},
    {"known", "known:25 pin " PIN " 7 OUT\n", "is there twice", false, false},
    {"known to another service", "known:25 pin " PIN " 7 other\n", "known:25 pin " PIN " 7 other\n",
     true, false},
};

static void line_is_read_or_refused(void **state)
{
    const struct pin_line *l = *state;
    struct first_uses list = {0};
    char out[FIRST_USE_LINE] = "";
    bool is_other;
    assert_null(first_uses_read(&list, "known:25 pin " PIN " 1 out\n", &is_other));
    const char *wrong = first_uses_read(&list, l->text, &is_other);
    assert_int_equal(is_other, l->is_other);
    assert_int_equal(wrong == NULL, l->good);
    if (l->good) {
        FILE *f = fmemopen(out, sizeof out, "w");
        first_use_write(&list.items[1], f);
        fclose(f);
        assert_string_equal(out, l->want);
        assert_true(list.items[1].known && list.items[1].written);
        assert_memory_equal(list.items[1].key, zeros, CLAIM_BYTES);
    } else if (!l->is_other) {
        assert_int_equal(strncmp(wrong, l->want, strlen(l->want)), 0);
    }
    first_uses_finish(&list, NULL);
}

static const char *repeat(char *out, char c, size_t n)
{
    memset(out, c, n);
    out[n] = '\0';
    return out;
}

static void names_have_a_limit(void **state)
{
    (void)state;
    char name[FIRST_USE_NAME_MAX + 2], service[FIRST_USE_SERVICE_MAX + 2], line[FIRST_USE_LINE];
    struct first_uses list = {0};
    bool other;
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 2; k++) {
            bool good = i == 0 && k == 0;
            repeat(name, 'n', FIRST_USE_NAME_MAX + i);
            repeat(service, 's', FIRST_USE_SERVICE_MAX + k);
            assert_int_equal(first_use_can_be(service, name), good);
            snprintf(line, sizeof line, "%s pin " PIN " 1 %s\n", name, service);
            assert_int_equal(first_uses_read(&list, line, &other) == NULL, good);
        }
    assert_false(first_use_can_be("out", "a b"));
    assert_false(first_use_can_be("out", "#a"));
    assert_false(first_use_can_be("out", ""));
    first_uses_finish(&list, NULL);
}

static void pins_have_a_limit(void **state)
{
    (void)state;
    struct first_uses list = {0};
    char line[FIRST_USE_LINE];
    bool other;
    for (size_t i = 0; i <= FIRST_USE_MAX; i++) {
        snprintf(line, sizeof line, "host%zu:25 pin " PIN " 1 out\n", i);
        assert_int_equal(first_uses_read(&list, line, &other) == NULL, i < FIRST_USE_MAX);
    }
    first_uses_finish(&list, NULL);
}

/* ---- judging ---- */

static void expect_verdict(const struct first_use *f, enum first_use_asker asker,
                           const unsigned char *key, enum verdict_cause cause, const char *want)
{
    struct verdict v = {.cause = VERDICT_OK};
    assert_int_equal(first_use_judge(f, asker, key, &v), cause == VERDICT_OK);
    assert_int_equal(v.cause, cause);
    const char *got = cause == VERDICT_OK ? v.matched : v.sentence;
    if (strncmp(got, want, strlen(want)) != 0)
        fail_msg("\"%s\" is not \"%s...\"", got, want);
}

static void known_key_is_the_only_one(void **state)
{
    (void)state;
    struct first_use f = {.known = true, .since = 1700000000};
    memcpy(f.key, red, CLAIM_BYTES);
    for (enum first_use_asker a = FIRST_USE_CLAIMS; a <= FIRST_USE_LOOKS; a++) {
        expect_verdict(&f, a, red, VERDICT_OK, "known-key");
        expect_verdict(&f, a, blue, VERDICT_KEY_MISMATCH,
                       "key is not the one seen first on 2023-11-14 (spki-sha256:0100");
    }
}

static void unknown_key_is_for_those_who_can_remember(void **state)
{
    (void)state;
    struct first_use f = {.known = false};
    expect_verdict(NULL, FIRST_USE_CLAIMS, red, VERDICT_KEY_UNKNOWN, "no key has been seen");
    expect_verdict(&f, FIRST_USE_CLAIMS, red, VERDICT_KEY_UNKNOWN, "no key has been seen");
    expect_verdict(NULL, FIRST_USE_KNOWS, red, VERDICT_KEY_UNKNOWN, "no key has been seen");
    expect_verdict(NULL, FIRST_USE_LOOKS, red, VERDICT_OK, "first-use");
    f.claim = claim_create();
    expect_verdict(&f, FIRST_USE_KNOWS, red, VERDICT_KEY_UNKNOWN, "no key has been seen");
    expect_verdict(&f, FIRST_USE_CLAIMS, red, VERDICT_OK, "first-use");
    expect_verdict(&f, FIRST_USE_CLAIMS, red, VERDICT_OK, "known-key");
    expect_verdict(&f, FIRST_USE_CLAIMS, blue, VERDICT_KEY_MISMATCH, "key is not the one");
    claim_destroy(f.claim);
}

/* ---- the memory ---- */

#define TRUSTING(host)                                                                             \
    "[out]\nclient = yes\naccept = 127.0.0.1:1\nprotocol = smtp\ntlsLevel = fingerprint\n"         \
    "trustOnFirstUse = yes\nconnect = " host "\n"

struct scene {
    char directory[32], path[64];
    struct config config;
    struct tls_memory memory;
};

static void configure(struct scene *s, const char *host)
{
    char text[512];
    snprintf(text, sizeof text, "tlsMemory = %s\n" TRUSTING("%s"), s->path, host);
    config_finish(&s->config);
    config_init(&s->config);
    assert_true(config_parse(&s->config, text, strlen(text), "c.conf") && config_check(&s->config));
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    *state = s;
    strcpy(s->directory, "/tmp/ehlock-test-XXXXXX");
    if (mkdtemp(s->directory) == NULL)
        return -1;
    snprintf(s->path, sizeof s->path, "%s/servers", s->directory);
    config_init(&s->config);
    configure(s, "a.example.org:25");
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    tls_memory_finish(&s->memory, NULL);
    config_finish(&s->config);
    (void)unlink(s->path);
    (void)rmdir(s->directory);
    free(s);
    return 0;
}

static void begin(struct scene *s)
{
    char error[512];
    if (!tls_memory_read(&s->memory, &s->config, FIRST_USE_CLAIMS, NULL, error, sizeof error))
        fail_msg("%s", error);
}

static void reload(struct scene *s)
{
    char error[512];
    struct tls_memory fresh;
    if (!tls_memory_read(&fresh, &s->config, FIRST_USE_CLAIMS, &s->memory, error, sizeof error))
        fail_msg("%s", error);
    tls_memory_replace(&s->memory, &fresh);
}

static struct first_use *at(const struct scene *s, const char *host)
{
    return first_uses_find(&s->memory.firsts, "out", host);
}

static void put_file(const struct scene *s, const char *text)
{
    FILE *f = fopen(s->path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static bool file_has(const struct scene *s, const char *part)
{
    char text[4096] = "";
    FILE *f = fopen(s->path, "r");
    if (f == NULL)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    return strstr(text, part) != NULL;
}

static void claim_at(const struct scene *s, const char *host, const unsigned char *key)
{
    unsigned char held[CLAIM_BYTES];
    assert_int_equal(claim_make(at(s, host)->claim, key, held), CLAIM_FIRST);
}

static void key_is_learnt_once_and_written(void **state)
{
    struct scene *s = *state;
    begin(s);
    assert_false(tls_memory_learn(&s->memory, 7));
    assert_false(at(s, "a.example.org:25")->known);
    claim_at(s, "a.example.org:25", zeros);
    assert_true(tls_memory_learn(&s->memory, 7));
    assert_false(tls_memory_learn(&s->memory, 8));
    const struct first_use *f = at(s, "a.example.org:25");
    assert_true(f->known && !f->written && f->claim == NULL && f->since == 7);
    tls_memory_save(&s->memory);
    assert_true(file_has(s, "\na.example.org:25 pin " PIN " 7 out\n"));
    assert_true(f->written);
}

static void old_file_is_read_and_kept(void **state)
{
    struct scene *s = *state;
    put_file(s, "# servers\nold.example.org:25 yes 5\na.example.org:25 no 6\n");
    begin(s);
    assert_false(at(s, "a.example.org:25")->known);
    claim_at(s, "a.example.org:25", zeros);
    assert_true(tls_memory_learn(&s->memory, 7));
    tls_memory_save(&s->memory);
    assert_true(file_has(s, "\nold.example.org:25 yes 5\na.example.org:25 no 6\n"));
    assert_true(file_has(s, "\na.example.org:25 pin " PIN " 7 out\n"));
}

static void what_is_known_has_no_claim(void **state)
{
    struct scene *s = *state;
    put_file(s, "a.example.org:25 pin " PIN " 5 out\n");
    begin(s);
    assert_true(at(s, "a.example.org:25")->known);
    assert_null(at(s, "a.example.org:25")->claim);
    reload(s);
    assert_null(at(s, "a.example.org:25")->claim);
}

static void claim_of_before_a_reload_holds_after_it(void **state)
{
    struct scene *s = *state;
    begin(s);
    struct claim *before = at(s, "a.example.org:25")->claim;
    reload(s);
    assert_ptr_equal(at(s, "a.example.org:25")->claim, before);
    claim_at(s, "a.example.org:25", red);
    reload(s);
    assert_true(tls_memory_learn(&s->memory, 7));
}

static void failed_reload_changes_nothing(void **state)
{
    struct scene *s = *state;
    char error[512];
    struct tls_memory fresh;
    begin(s);
    claim_at(s, "a.example.org:25", red);
    put_file(s, "nonsense\n");
    assert_false(
        tls_memory_read(&fresh, &s->config, FIRST_USE_CLAIMS, &s->memory, error, sizeof error));
    put_file(s, "");
    assert_true(
        tls_memory_read(&fresh, &s->config, FIRST_USE_CLAIMS, &s->memory, error, sizeof error));
    tls_memory_finish(&fresh, &s->memory);
    assert_true(tls_memory_learn(&s->memory, 7));
    assert_memory_equal(at(s, "a.example.org:25")->key, red, CLAIM_BYTES);
}

static void line_that_is_gone_is_first_use_again(void **state)
{
    struct scene *s = *state;
    put_file(s, "a.example.org:25 pin " PIN " 5 out\n");
    begin(s);
    put_file(s, "");
    assert_true(at(s, "a.example.org:25")->known);
    reload(s);
    assert_false(at(s, "a.example.org:25")->known);
    assert_non_null(at(s, "a.example.org:25")->claim);
}

static void what_was_not_written_is_not_gone(void **state)
{
    struct scene *s = *state;
    begin(s);
    claim_at(s, "a.example.org:25", zeros);
    assert_true(tls_memory_learn(&s->memory, 7));
    configure(s, "b.example.org:25");
    reload(s);
    assert_true(at(s, "a.example.org:25")->known);
    assert_false(at(s, "b.example.org:25")->known);
    tls_memory_save(&s->memory);
    assert_true(file_has(s, "a.example.org:25 pin " PIN " 7 out\n"));
}

static void lines_of_others_stay_when_it_is_written(void **state)
{
    struct scene *s = *state;
    put_file(s, "gone.example.org:25 pin " PIN " 5 out\n");
    begin(s);
    put_file(s, "new.example.org:25 pin " PIN " 6 out\n");
    claim_at(s, "a.example.org:25", zeros);
    assert_true(tls_memory_learn(&s->memory, 7));
    tls_memory_save(&s->memory);
    assert_true(file_has(s, "new.example.org:25 pin " PIN " 6 out\n"));
    assert_true(file_has(s, "a.example.org:25 pin " PIN " 7 out\n"));
    assert_false(file_has(s, "gone.example.org"));
}

static void full_file_is_told(void **state)
{
    struct scene *s = *state;
    char error[512];
    FILE *f = fopen(s->path, "w");
    for (size_t i = 0; i < FIRST_USE_MAX; i++)
        fprintf(f, "host%zu:25 pin " PIN " 1 out\n", i);
    fclose(f);
    assert_false(
        tls_memory_read(&s->memory, &s->config, FIRST_USE_CLAIMS, NULL, error, sizeof error));
    assert_non_null(strstr(error, "has no place for one more of 1000 pins"));
    configure(s, "host7:25");
    begin(s);
}

static void single_session_reads_what_it_needs(void **state)
{
    struct scene *s = *state;
    char error[512];
    put_file(s, "nonsense\n");
    assert_true(
        tls_memory_read(&s->memory, &s->config, FIRST_USE_KNOWS, NULL, error, sizeof error));
    tls_memory_finish(&s->memory, NULL);
    s->config.only = &s->config.services[0];
    assert_false(
        tls_memory_read(&s->memory, &s->config, FIRST_USE_KNOWS, NULL, error, sizeof error));
    put_file(s, "");
    assert_true(
        tls_memory_read(&s->memory, &s->config, FIRST_USE_KNOWS, NULL, error, sizeof error));
    assert_int_equal(s->memory.firsts.count, 0);
}

static void add_scene(struct unit *u, const char *name, CMUnitTestFunction test)
{
    unit_add(u, name, test, NULL);
    u->tests[u->count - 1].setup_func = set_up;
    u->tests[u->count - 1].teardown_func = tear_down;
}
#define ADD(u, test)       unit_add(u, #test, test, NULL)
#define ADD_SCENE(u, test) add_scene(u, #test, test)

int main(void)
{
    static struct unit u;
    const struct log_settings quiet = {.level = 0};
    (void)log_open(&quiet);
    ADD(&u, first_one_decides);
    ADD(&u, of_those_that_race_one_is_first);
    ADD(&u, claim_of_one_who_died_over_it_is_free_again);
    ADD(&u, claim_of_nobody_is_released);
    UNIT_ADD_TABLE(&u, line_is_read_or_refused, lines);
    ADD(&u, names_have_a_limit);
    ADD(&u, pins_have_a_limit);
    ADD(&u, known_key_is_the_only_one);
    ADD(&u, unknown_key_is_for_those_who_can_remember);
    ADD_SCENE(&u, key_is_learnt_once_and_written);
    ADD_SCENE(&u, old_file_is_read_and_kept);
    ADD_SCENE(&u, what_is_known_has_no_claim);
    ADD_SCENE(&u, claim_of_before_a_reload_holds_after_it);
    ADD_SCENE(&u, failed_reload_changes_nothing);
    ADD_SCENE(&u, line_that_is_gone_is_first_use_again);
    ADD_SCENE(&u, what_was_not_written_is_not_gone);
    ADD_SCENE(&u, lines_of_others_stay_when_it_is_written);
    ADD_SCENE(&u, full_file_is_told);
    ADD_SCENE(&u, single_session_reads_what_it_needs);
    return unit_run(&u, "firstuse");
}
