/* member: a real program with a fake runtime preloaded (fake_stem.c) that plays each part of the control
   page's conversation, honest and hostile. */
#include "member/member.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "member/private.h"

enum { PATIENCE_S = 30 };

struct seen {
    unsigned faults, functions, misplaced;
    struct report_fault fault[8];
    char names[256];
};

static enum wire_level level_of(void *context, const struct member_object *object,
                                const struct member_function *function)
{
    struct seen *seen = context;
    assert_non_null(object->path);
    seen->functions++;
    if (function->name && strlen(seen->names) + strlen(function->name) + 2 < sizeof seen->names)
        strcat(strcat(seen->names, function->name), " ");
    return object->image && image_matches(object->image, function->offset, "victim_pointer")
               ? WIRE_LEVEL_PROTECT
               : WIRE_LEVEL_MONITOR;
}

static void fault_of(void *context, const struct report_fault *fault)
{
    struct seen *seen = context;
    seen->misplaced += fault->address != seen->faults;
    if (seen->faults < 8)
        seen->fault[seen->faults] = *fault;
    seen->faults++;
}

static struct member *open_member(struct seen *seen)
{
    struct base_error error;
    struct member *member;
    memset(seen, 0, sizeof *seen);
    const struct member_options options = {.mode = WIRE_MODE_FULL,
                                           .default_level = WIRE_LEVEL_MONITOR,
                                           .stem = getenv("FAKE_STEM"),
                                           .objects = "main,lib*"};
    const struct member_hooks hooks = {.context = seen, .level = level_of, .fault = fault_of};
    if (member_open(&error, &member, &options, &hooks))
        fail_msg("%s", error.text);
    return member;
}

static void begin(struct member *member, const char *play, const char *argument)
{
    struct base_error error;
    setenv("FAKE_PLAY", play, 1);
    char *argv[] = {getenv("FAKE_PROGRAM"), (char *)argument, NULL};
    if (member_start(&error, member, argv))
        fail_msg("%s", error.text);
}

static int finish(struct member *member)
{
    int status;
    for (int i = 0; i < PATIENCE_S * 20; i++)
        if (member_serve(member, &status, 50))
            return status;
    kill(member_pid(member), SIGKILL);
    fail_msg("the program did not end");
    return -1;
}

static void status_passes_through(void **state)
{
    (void)state;
    struct seen seen;
    struct member *member = open_member(&seen);
    begin(member, "run", "37");
    assert_int_equal(finish(member), 37 << 8);
    assert_int_equal(member_pid(member), 0);
    begin(member, "reopen", "5"); /* the second start, by the page's other way */
    assert_int_equal(finish(member), 5 << 8);
    member_close(member);
}

static void objects_are_answered(void **state)
{
    (void)state;
    struct seen seen;
    struct member *member = open_member(&seen);
    begin(member, "levels", NULL);
    /* level 1 of the first, 2 of the second, and an integer return */
    assert_int_equal(finish(member), (1 + 4 * 2 + 16 * WIRE_RETURNS_INTEGER) << 8);
    assert_int_equal(seen.functions, 3);
    assert_string_equal(seen.names, "victim_integer victim_pointer caller ");
    struct member_stats stats;
    member_stats(member, &stats);
    assert_int_equal(stats.functions_supervised, 3);
    assert_int_equal(stats.entries, 3);
    assert_int_equal(stats.objects_own, 1);
    assert_memory_equal(member->page->config.objects, "main\0lib*\0", 11);
    member_close(member);
}

static void level_reaches_running_program(void **state)
{
    (void)state;
    struct seen seen;
    struct member *member = open_member(&seen);
    const uint8_t *id = member->objects[0].build_id;
    assert_int_equal(member_set_level(member, id, 20, 0x1234, WIRE_LEVEL_PROTECT), 0);
    begin(member, "levels", NULL);
    finish(member);
    uint32_t bytes = member->objects[0].build_id_bytes, offset = member->page->functions[1].offset;
    assert_int_equal(member_set_level(member, id, bytes, offset, WIRE_LEVEL_MONITOR), 1);
    begin(member, "await", NULL);
    for (int i = 0, status; i < 5; i++)
        assert_false(member_serve(member, &status, 10));
    assert_int_equal(member_set_level(member, id, bytes, offset + 1, WIRE_LEVEL_PROTECT), 0);
    assert_int_equal(member_set_level(member, id, bytes, offset, WIRE_LEVEL_PROTECT), 1);
    assert_int_equal(finish(member), WIRE_LEVEL_PROTECT << 8);
    begin(member, "levels", NULL); /* started again: what was set stays */
    assert_int_equal((finish(member) >> 8) / 4 % 4, WIRE_LEVEL_PROTECT);
    member_close(member);
}

static void faults_are_reported(void **state)
{
    (void)state;
    struct seen seen;
    struct member *member = open_member(&seen);
    begin(member, "fault", "3");
    assert_int_equal(finish(member), 3 << 8);
    assert_int_equal(seen.faults, 3);
    const struct report_fault *f = &seen.fault[0];
    assert_string_equal(f->kind, "heap-overflow");
    assert_string_equal(f->function, "victim_integer");
    assert_string_equal(f->access, "write");
    assert_string_equal(f->detected_by, "check");
    assert_string_equal(f->outcome, "undone");
    assert_string_equal(f->intrinsic, "memcpy");
    assert_string_equal(f->rescue_point, "victim_integer");
    assert_int_equal(f->returned, -1);
    assert_int_equal(f->object_bytes, 40);
    assert_int_equal(f->stack.count, 2);
    assert_int_equal(f->stack.frame[0].into, 4);
    assert_string_equal(f->stack.frame[1].function, "caller");
    assert_int_equal(f->stack.frame[1].into, 9);
    assert_non_null(f->stack.frame[1].file);
    assert_int_equal(f->alloc_stack.count, 1);
    assert_int_equal(strlen(f->build_id), 40);
    assert_non_null(strstr(f->not_undone[0], "outside"));
    assert_null(f->not_undone[1]);
    assert_string_equal(seen.fault[1].id, f->id);
    assert_string_equal(seen.fault[2].kind, "double-free");
    assert_string_not_equal(seen.fault[2].id, f->id);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(member->page->faults[i].state, WIRE_FAULT_FREE);
    member_close(member);
}

static void burst_arrives_whole(void **state)
{
    (void)state;
    struct seen seen;
    struct member *member = open_member(&seen);
    begin(member, "burst", "4");
    assert_int_equal(finish(member), 4 << 8);
    assert_int_equal(seen.faults, 2000);
    assert_int_equal(seen.misplaced, 0); /* in the order of their making */
    member_close(member);
}

static void crash_is_unwound(void **state)
{
    (void)state;
    struct seen seen;
    struct member *member = open_member(&seen);
    begin(member, "run", "crash");
    int status = finish(member);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    assert_int_equal(seen.faults, 1);
    const struct report_fault *f = &seen.fault[0];
    assert_string_equal(f->kind, "null-dereference");
    assert_string_equal(f->function, "victim_integer");
    assert_string_equal(f->outcome, "crashed");
    assert_true(f->stack.count >= 4);
    assert_string_equal(f->stack.frame[1].function, "caller");
    assert_string_equal(f->stack.frame[2].function, "main");
    assert_non_null(strstr(f->stack.frame[0].file, "fake_program.c"));
    assert_true(f->has_address && f->address == 0);
    begin(member, "run", "wild"); /* through a pointer to nowhere: the caller is to blame */
    finish(member);
    assert_int_equal(seen.faults, 2);
    assert_true(seen.fault[1].stack.count >= 2);
    assert_int_equal(seen.fault[1].stack.frame[0].offset, 8);
    assert_string_equal(seen.fault[1].stack.frame[1].function, "main");
    member_close(member);
}

static void abort_is_explained(void **state)
{
    (void)state;
    struct seen seen;
    struct member *member = open_member(&seen);
    begin(member, "run", "assert");
    int status = finish(member);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_int_equal(seen.faults, 1);
    assert_string_equal(seen.fault[0].kind, "assertion");
    assert_string_equal(seen.fault[0].stack.frame[seen.fault[0].stack.count - 1].function, "_start");
    member_close(member);
}

static void dead_process_gives_slot_back(void **state)
{
    (void)state;
    struct seen seen;
    struct member *member = open_member(&seen);
    begin(member, "die", NULL);
    assert_int_equal(finish(member), 9 << 8);
    begin(member, "run", "0");
    finish(member);
    assert_int_equal(seen.faults, 0);
    assert_int_equal(member->page->faults[7].state, WIRE_FAULT_FREE);
    member_close(member);
}

static void hostile_page_is_survived(void **state)
{
    (void)state;
    for (int seed = 1; seed <= 8; seed++) {
        struct seen seen;
        char text[16];
        snprintf(text, sizeof text, "%d", seed);
        setenv("FAKE_SEED", text, 1);
        struct member *member = open_member(&seen);
        begin(member, "hostile", NULL);
        assert_int_equal(finish(member), 0);
        assert_true(seen.faults >= WIRE_FAULTS_MAX);
        for (unsigned i = 0; i < 8; i++) {
            char *line = report_fault_json(&seen.fault[i]);
            assert_non_null(line);
            free(line);
        }
        FILE *sink = fopen("/dev/null", "w");
        report_fault_text(sink, &seen.fault[0], false);
        fclose(sink);
        struct member_stats stats;
        member_stats(member, &stats);
        member_close(member);
    }
}

static uint32_t draw(struct core_rng *random)
{
    return (uint32_t)core_rng_next(random);
}

/* A program wrote what it liked into the counting file: every number is checked, and an answer comes. */
static void hostile_counts_are_survived(void **state)
{
    (void)state;
    struct seen seen;
    struct base_error error;
    struct member *member;
    memset(&seen, 0, sizeof seen);
    const struct member_options options = {.mode = WIRE_MODE_TRANSLATE,
                                           .default_level = WIRE_LEVEL_MONITOR,
                                           .stem = getenv("FAKE_STEM"),
                                           .objects = "main,lib*",
                                           .counting = true,
                                           .sample_us = 1000};
    const struct member_hooks hooks = {.context = &seen, .level = level_of};
    if (member_open(&error, &member, &options, &hooks))
        fail_msg("%s", error.text);
    begin(member, "levels", NULL);
    finish(member);
    struct wire_counting *file = member->counting;
    struct core_rng random;
    core_rng_seed(&random, 1);
    for (int round = 0; round < 40; round++) {
        struct member_counts counts;
        file->segment_count = round % 4 ? 2000 : (uint32_t)-1;
        file->area_count = round % 3 ? 3 : (uint32_t)-1;
        file->name_count = draw(&random);
        for (unsigned i = 0; i < 2000; i++) {
            uint64_t callee = (uint64_t)(draw(&random) % 5) << 40 | (uint64_t)(draw(&random) % 300) << 32 |
                              (i % 2 ? draw(&random) : draw(&random) % 50);
            file->segments[i] = (struct wire_segment){.callee = callee,
                                                      .function = i % 5 ? draw(&random) % 10 : draw(&random),
                                                      .instructions = (uint16_t)draw(&random),
                                                      .kind = (uint8_t)(draw(&random) % 9)};
            file->edges[draw(&random) % WIRE_EDGES_MAX] =
                (struct wire_counted_edge){(uint64_t)draw(&random) << 40 ^ callee, draw(&random)};
            file->names[i % 50][draw(&random) % sizeof file->names[0]] = (char)draw(&random);
            uint64_t word = (uint64_t)draw(&random) << 34 | draw(&random);
            off_t at = (off_t)(sizeof *file + (i % 3) * WIRE_AREA_BYTES + i * sizeof word);
            assert_int_equal(pwrite(member->counting_fd, &word, sizeof word, at), sizeof word);
        }
        file->function_ns[draw(&random) % 10] = file->object_ns[draw(&random) % WIRE_OBJECTS_MAX] =
            draw(&random);
        if (member_counts(&error, &counts, member))
            fail_msg("%s", error.text);
        for (size_t i = 0; i < counts.edge_count; i++) {
            assert_true(counts.edges[i].caller < counts.own_count);
            assert_true(counts.edges[i].callee < counts.function_count);
        }
        for (size_t i = 0; i < counts.function_count; i++)
            assert_true(strlen(counts.functions[i].name) > 0);
        assert_true(counts.own_count > 0);
        member_counts_free(&counts);
    }
    member_close(member);
}

static void signals_are_passed_on(void **state)
{
    (void)state;
    struct seen seen;
    struct member *member = open_member(&seen);
    begin(member, "run", "wait");
    int status;
    assert_false(member_serve(member, &status, 50));
    raise(SIGTERM); /* to us: it is for the program */
    status = finish(member);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    member_close(member);
}

static void bad_programs_are_refused(void **state)
{
    (void)state;
    struct seen seen;
    struct base_error error;
    struct member *member = open_member(&seen);
    static const char *const names[] = {"/does/not/exist", "no-such-program-anywhere", "/etc/passwd", "/",
                                        ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(member_vet(&error, names[i]), -1);
        assert_int_equal(error.exit, BASE_EXIT_ENVIRONMENT);
        assert_true(strlen(error.text) > 10);
        char *argv[] = {(char *)names[i], NULL};
        assert_int_equal(member_start(&error, member, argv), -1);
    }
    const struct member_options options = {.stem = "/does/not/exist"};
    const struct member_hooks hooks = {.context = NULL};
    struct member *other;
    assert_int_equal(member_open(&error, &other, &options, &hooks), -1);
    assert_null(other);
    member_close(member);
}

static const struct member_finding *find(const struct member_finding *findings, unsigned count,
                                         const char *subject)
{
    for (unsigned i = 0; i < count; i++)
        if (!strcmp(findings[i].subject, subject))
            return &findings[i];
    fail_msg("nothing about %s", subject);
    return NULL;
}

static void doctor_names_what_is_wrong(void **state)
{
    (void)state;
    struct member_finding findings[MEMBER_FINDINGS_MAX];
    unsigned count = member_examine_machine(findings);
    assert_true(count > 5 && count <= MEMBER_FINDINGS_MAX);
    for (unsigned i = 0; i < count; i++)
        assert_true(findings[i].text[0]);
    count = member_examine_program(findings, getenv("FAKE_PROGRAM"));
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(findings[i].verdict, MEMBER_GOOD);
    count = member_examine_program(findings, "/sbin/ldconfig");
    assert_int_equal(find(findings, count, "linking")->verdict, MEMBER_BAD);
    count = member_examine_program(findings, "/does/not/exist");
    assert_int_equal(find(findings, count, "file")->verdict, MEMBER_BAD);
    count = member_examine_program(findings, getenv("FAKE_STEM"));
    assert_int_equal(find(findings, count, "linking")->verdict, MEMBER_BAD);
}

static void count_refusal(void *context, const struct member_refusal *refusal)
{
    (void)refusal;
    ++*(unsigned *)context;
}

static void scan_stops_before_the_program(void **state)
{
    (void)state;
    struct base_error error;
    struct member_stats stats;
    unsigned refusals = 0;
    setenv("TESTUDO_STEM", getenv("FAKE_STEM"), 1);
    setenv("FAKE_PLAY", "run", 1);
    if (member_scan(&error, &stats, count_refusal, &refusals, getenv("FAKE_PROGRAM")))
        fail_msg("%s", error.text);
    assert_int_equal(stats.functions_found, 3);
    assert_int_equal(stats.functions_supervised, 3);
    assert_int_equal(refusals, 0);
    setenv("FAKE_PLAY", "levels", 1); /* ends in the runtime's constructor */
    assert_int_equal(member_scan(&error, &stats, NULL, NULL, getenv("FAKE_PROGRAM")), -1);
    assert_non_null(strstr(error.text, "ended"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
    unsetenv("TESTUDO_STEM");
}

static void refused_program_can_run_natively(void **state)
{
    (void)state;
    struct base_error error;
    struct member *member;
    const struct member_options options = {.stem = getenv("FAKE_STEM"), .native_if_refused = true};
    const struct member_hooks hooks = {.context = NULL};
    assert_int_equal(member_open(&error, &member, &options, &hooks), 0);
    char *argv[] = {"/sbin/ldconfig", "--no-such-option", NULL}; /* static */
    assert_int_equal(member_start(&error, member, argv), 0);
    assert_true(WIFEXITED(finish(member)));
    argv[0] = "/does/not/exist";
    assert_int_equal(member_start(&error, member, argv), -1);
    member_close(member);
}

static void backoff_doubles_and_forgets(void **state)
{
    (void)state;
    struct member_backoff backoff = {0};
    assert_int_equal(member_backoff_ms(&backoff, 1000), 0);
    assert_int_equal(member_backoff_ms(&backoff, 1000), 100);
    assert_int_equal(member_backoff_ms(&backoff, 1000), 200);
    for (int i = 0; i < 20; i++)
        member_backoff_ms(&backoff, 1000);
    assert_int_equal(member_backoff_ms(&backoff, 1000), 30000);
    assert_int_equal(member_backoff_ms(&backoff, 61000000000u), 0);
}

int main(void)
{
    if (!getenv("FAKE_STEM") || !getenv("FAKE_PROGRAM")) {
        fputs("test_member: FAKE_STEM and FAKE_PROGRAM name its two helpers; `meson test` sets them\n",
              stderr);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_passes_through),
        cmocka_unit_test(objects_are_answered),
        cmocka_unit_test(level_reaches_running_program),
        cmocka_unit_test(faults_are_reported),
        cmocka_unit_test(crash_is_unwound),
        cmocka_unit_test(dead_process_gives_slot_back),
        cmocka_unit_test(abort_is_explained),
        cmocka_unit_test(burst_arrives_whole),
        cmocka_unit_test(hostile_page_is_survived),
        cmocka_unit_test(hostile_counts_are_survived),
        cmocka_unit_test(signals_are_passed_on),
        cmocka_unit_test(bad_programs_are_refused),
        cmocka_unit_test(doctor_names_what_is_wrong),
        cmocka_unit_test(scan_stops_before_the_program),
        cmocka_unit_test(refused_program_can_run_natively),
        cmocka_unit_test(backoff_doubles_and_forgets),
    };
    return cmocka_run_group_tests_name("member", tests, NULL, NULL);
}
