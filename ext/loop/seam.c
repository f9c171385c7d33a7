#include "loop/loop.h"

/* The arena as the moves see it, and what must be looked at again after fields were written behind the backs of their owners. */
void loop_inject(world_t *w, const loop_inputs_t *in)
{
    const inject_arena_t arena = {(uint8_t *)w, loop_arena_size(in->firmware), w->loop.elapsed_us};
    inject_told_t told[INJECT_MOVES];
    const uint32_t count = inject_step(&w->inject, &arena, told);
    for (uint32_t k = 0; k < count; ++k)
        loop_event(&w->loop, LOOP_EVENT_FAULT, told[k].fault, told[k].is_on, told[k].index, (float)told[k].value);
    buses_look(w);
}
