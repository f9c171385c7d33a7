/* Called by Unicorn before every instruction; in C, because so much is counted. */
#include <stdint.h>

void count_instruction(void *machine, uint64_t address, uint32_t size, uint64_t *count)
{
    (void)machine;
    (void)address;
    (void)size;
    ++*count;
}
