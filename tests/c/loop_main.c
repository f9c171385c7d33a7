/* Continues a snapshot of the closed loop without Python, so that the same bits can be asked of another compiler.
 * Usage: loop_main ARENA CONFIG PROFILE MILLISECONDS   -> prints trace_hash and truth_hash. */
#include "loop/loop.h"

#include <stdio.h>
#include <stdlib.h>

static void *slurp(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file) exit(3);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    void *bytes = NULL;
    if (posix_memalign(&bytes, 64, *size + 64u) != 0 || fread(bytes, 1, *size, file) != *size) exit(3);
    fclose(file);
    return bytes;
}

int main(int argc, char **argv)
{
    static const ecu_api_t ours = {ecu_abi, ecu_version, ecu_size, ecu_init, ecu_step, ecu_probes};
    if (argc != 5) return 2;
    size_t size, config_size, profile_size;
    world_t *w = slurp(argv[1], &size);
    const void *config = slurp(argv[2], &config_size);
    const double *profile = slurp(argv[3], &profile_size);
    if (size != loop_arena_size(&ours)) {
        fprintf(stderr, "the snapshot has %zu bytes, this build's arena %zu\n", size, loop_arena_size(&ours));
        return 4;
    }
    const loop_inputs_t in = {&ours, config, config_size, NULL, profile, (uint32_t)(profile_size / sizeof *profile)};
    uint32_t left = (uint32_t)atoi(argv[4]), why = 0;
    while (left) {
        left -= loop_run(w, &in, left, &why);
        w->loop.event_count = 0;
    }
    printf("%016llx %016llx\n", (unsigned long long)w->loop.trace_hash, (unsigned long long)loop_truth_hash(w, w->loop.truth_hash));
    return 0;
}
