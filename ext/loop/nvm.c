/* The ECU's non-volatile memory, as a serial flash: one operation at a time, each takes its time; programming only clears bits. */
#include <string.h>

#include "loop/loop.h"

#define NVM_PROGRAM_MS 3u /* typical page program time of a serial flash */
#define NVM_ERASE_MS 40u

static void nvm_execute(loop_t *l, ecu_nvm_t *op)
{
    uint8_t *page = l->nvm + (size_t)op->page * ECU_NVM_PAGE;
    op->status = ECU_NVM_OK;
    if (op->page >= ECU_NVM_PAGES) {
        op->status = ECU_NVM_FAILED;
    } else if (op->op == ECU_NVM_READ) {
        memcpy(op->data, page, ECU_NVM_PAGE);
    } else if (op->op == ECU_NVM_PROGRAM) {
        for (uint32_t k = 0; k < ECU_NVM_PAGE; ++k) page[k] &= op->data[k];
    } else if (op->op == ECU_NVM_ERASE) {
        memset(page, 0xFF, ECU_NVM_PAGE);
    } else {
        op->status = ECU_NVM_FAILED;
    }
}

void loop_nvm_step(world_t *w)
{
    loop_t *l = &w->loop;
    w->in.nvm_done.op = ECU_NVM_NONE;
    if (l->nvm_left_ms == 0u && w->out.nvm_want.op != ECU_NVM_NONE) {
        memcpy(l->nvm_pending, &w->out.nvm_want, sizeof w->out.nvm_want);
        l->nvm_left_ms = w->out.nvm_want.op == ECU_NVM_READ ? 1u : w->out.nvm_want.op == ECU_NVM_ERASE ? NVM_ERASE_MS : NVM_PROGRAM_MS;
    }
    if (l->nvm_left_ms == 0u) return;
    if (--l->nvm_left_ms == 0u) {
        memcpy(&w->in.nvm_done, l->nvm_pending, sizeof w->in.nvm_done);
        nvm_execute(l, &w->in.nvm_done);
    }
}
