/* parts FOLDER: runs every claim and prints "ok NAME" or "broken NAME"; what was broken goes to the error output. Exit code 1 if any. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "part.h"

enum { CLAIMS_MAX = 600, PACKS = 4 };

static struct {
    const char *name;
    claim_t claim;
} claims[CLAIMS_MAX];
static int count;
static const char *folder;
static int broken;

void part_add(const char *name, claim_t claim)
{
    if (count == CLAIMS_MAX) abort();
    claims[count].name = name;
    claims[count++].claim = claim;
}

void part_broken(const char *what, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: %s\n", file, line, what);
    broken = 1;
}

bms_t *part_pack(const char *moment)
{
    static bms_t pack[PACKS];
    static int next;
    char path[1024];
    bms_t *const self = &pack[next++ % PACKS];
    (void)snprintf(path, sizeof path, "%s/%s", folder, moment);
    FILE *const file = fopen(path, "rb");
    if (file == NULL || fread(self, 1, sizeof *self, file) != sizeof *self || fgetc(file) != EOF) {
        (void)fprintf(stderr, "%s is no snapshot of %zu bytes\n", path, sizeof *self);
        exit(2);
    }
    (void)fclose(file);
    return self;
}

const ecu_out_t *part_step(bms_t *self)
{
    static ecu_in_t in;
    static ecu_out_t out;
    memset(&in, 0, sizeof in);
    memset(&out, 0, sizeof out);
    in.now_us = self->now_us + 1000u;
    in.pins.digital = self->pins;
    in.pins.supply_mv = self->supply_mv;
    ecu_step(self, &in, &out);
    return &out;
}

int main(int words, char **word)
{
    int wrong = 0;
    if (words != 2) return 2;
    folder = word[1];
    for (int k = 0; k < count; ++k) {
        (void)fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            claims[k].claim();
            exit(broken);
        }
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) != child) return 2;
        printf("%s %s\n", status == 0 ? "ok" : "broken", claims[k].name);
        wrong |= status != 0;
    }
    return wrong;
}
