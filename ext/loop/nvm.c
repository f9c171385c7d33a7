/* The ECU's non-volatile memory: one operation at a time, each takes its time (flash.h). */
#include <string.h>

#include "loop/flash.h"
#include "loop/loop.h"

void loop_nvm_step(world_t *w)
{
    loop_t *l = &w->loop;
    w->in.nvm_done.op = ECU_NVM_NONE;
    if (l->nvm_left_ms == 0u && w->out.nvm_want.op != ECU_NVM_NONE) {
        memcpy(l->nvm_pending, &w->out.nvm_want, sizeof w->out.nvm_want);
        l->nvm_left_ms = flash_ms(&w->out.nvm_want);
    }
    if (l->nvm_left_ms == 0u) return;
    if (--l->nvm_left_ms == 0u) {
        memcpy(&w->in.nvm_done, l->nvm_pending, sizeof w->in.nvm_done);
        if (w->seam.is_troubled) seam_nvm(w, &w->in.nvm_done);
        else flash_operate(l->nvm, &w->in.nvm_done);
    }
}
