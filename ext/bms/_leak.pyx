# distutils: sources = ext/trial/leak_trial.c
"""The firmware's soft-short detector in a small world of cells (ext/trial/leak_trial.h). Python's face of it is bms.bench.leak."""

include "fields.pxi"

cdef extern from "trial/leak_trial.h":
    ctypedef struct trial_t:
        uint32_t blocks, phases, short_block
    enum:
        TRIAL_BLOCKS_MAX, TRIAL_PHASES_MAX
    const field_t trial_fields[]
    const field_t trial_est_fields[]
    const size_t trial_field_count, trial_size, trial_est_field_count, trial_est_size, trial_state_size
    void trial_run(trial_t *, const void *, void *) noexcept nogil

BLOCKS_MAX = TRIAL_BLOCKS_MAX
PHASES_MAX = TRIAL_PHASES_MAX


cdef class Trial:
    """One trial: fill `fields` and `est` (name to array, shape (count,)), call `run`, read the results in `fields`."""

    cdef object _memory, _est_memory, _state_memory
    cdef readonly dict fields, est

    def __init__(self):
        self._memory = np.zeros(trial_size, dtype=np.uint8)
        self._est_memory = np.zeros(trial_est_size, dtype=np.uint8)
        self._state_memory = np.zeros(trial_state_size, dtype=np.uint8)
        self.fields = _views(self._memory, 0, trial_fields, trial_field_count)
        self.est = _views(self._est_memory, 0, trial_est_fields, trial_est_field_count)

    def run(self):
        """Until the alarm or the end, without the GIL."""
        cdef trial_t *trial = <trial_t *><uintptr_t>self._memory.ctypes.data
        cdef const void *est = <const void *><uintptr_t>self._est_memory.ctypes.data
        cdef void *state = <void *><uintptr_t>self._state_memory.ctypes.data
        if not 1 <= trial.blocks <= TRIAL_BLOCKS_MAX or not 1 <= trial.phases <= TRIAL_PHASES_MAX or trial.short_block >= trial.blocks:
            raise ValueError(f"1 to {TRIAL_BLOCKS_MAX} blocks, 1 to {TRIAL_PHASES_MAX} phases, a short in one of the blocks")
        with nogil:
            trial_run(trial, est, state)
