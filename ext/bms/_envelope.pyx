# distutils: sources = ext/envelope/envelope.c
# distutils: include_dirs = ext
"""Curves painted straight into the pixels of a picture: see ext/envelope/envelope.h."""

from libc.stdint cimport uint32_t

import numpy as np


cdef extern from "envelope/envelope.h" nogil:
    enum:
        ENVELOPE_WIDTH_MAX
    ctypedef struct envelope_canvas_t:
        uint32_t *pixels
        uint32_t width, height
        size_t stride
        double t0, t1, y0, y1
    ctypedef struct envelope_pen_t:
        uint32_t colour
        float thickness
        uint32_t dash, steps
    void envelope_curve(const envelope_canvas_t *canvas, const double *t, const float *y, size_t stride, size_t count,
                        const envelope_pen_t *pen)
    void envelope_band(const envelope_canvas_t *canvas, const double *t, const float *low, const float *high, size_t count,
                       uint32_t colour)
    int envelope_bounds(const double *t, const float *y, size_t stride, size_t count, double t0, double t1, float *low,
                        float *high)
    size_t envelope_find(const double *t, size_t count, double time)


WIDTH_MAX = ENVELOPE_WIDTH_MAX


cdef envelope_canvas_t _canvas(uint32_t[:, :] pixels, window) except *:
    cdef envelope_canvas_t c
    if pixels.shape[0] == 0 or pixels.shape[1] == 0 or pixels.shape[1] > ENVELOPE_WIDTH_MAX:
        raise ValueError(f"a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels cannot be drawn into")
    if pixels.strides[1] != 4:
        raise ValueError("the pixels of a row must lie side by side")
    c.pixels = &pixels[0, 0]
    c.stride = <size_t>(pixels.strides[0] // 4)
    c.height, c.width = <uint32_t>pixels.shape[0], <uint32_t>pixels.shape[1]
    c.t0, c.t1, c.y0, c.y1 = window
    return c


def curve(uint32_t[:, :] pixels, window, const double[::1] t, const float[:] y, uint32_t colour, float thickness=1.0,
          uint32_t dash=0, bint steps=False):
    """Draws one curve.

    pixels: (height, width) premultiplied ARGB, changed; may be some columns of a wider picture. window: (t0, t1, y0, y1), the edges left, right, bottom, top.
    t: (n,) rising. y: (n,), NaN breaks the line; any stride. colour: 0xAARRGGBB. dash: columns drawn and left out."""
    cdef envelope_canvas_t c = _canvas(pixels, window)
    cdef envelope_pen_t pen
    pen.colour, pen.thickness, pen.dash, pen.steps = colour, thickness, dash, steps
    if t.shape[0] != y.shape[0]:
        raise ValueError(f"{t.shape[0]} times and {y.shape[0]} values")
    if t.shape[0]:
        with nogil:
            envelope_curve(&c, &t[0], &y[0], <size_t>(y.strides[0] // 4), <size_t>t.shape[0], &pen)


def curves(uint32_t[:, :] pixels, window, const double[::1] t, const float[:, ::1] y, const uint32_t[::1] colours,
           float thickness=1.0):
    """Draws the columns of y, (n, curves), over the same times, in their order."""
    cdef envelope_canvas_t c = _canvas(pixels, window)
    cdef envelope_pen_t pen
    cdef Py_ssize_t k
    pen.thickness, pen.dash, pen.steps = thickness, 0, 0
    if t.shape[0] != y.shape[0] or colours.shape[0] != y.shape[1]:
        raise ValueError(f"{t.shape[0]} times, {y.shape[0]} x {y.shape[1]} values, {colours.shape[0]} colours")
    if t.shape[0] == 0:
        return
    with nogil:
        for k in range(y.shape[1]):
            pen.colour = colours[k]
            envelope_curve(&c, &t[0], &y[0, k], <size_t>y.shape[1], <size_t>t.shape[0], &pen)


def band(uint32_t[:, :] pixels, window, const double[::1] t, const float[::1] low, const float[::1] high, uint32_t colour):
    """Fills the area between two curves over the same times."""
    cdef envelope_canvas_t c = _canvas(pixels, window)
    if t.shape[0] != low.shape[0] or t.shape[0] != high.shape[0]:
        raise ValueError(f"{t.shape[0]} times, {low.shape[0]} and {high.shape[0]} values")
    if t.shape[0]:
        with nogil:
            envelope_band(&c, &t[0], &low[0], &high[0], <size_t>t.shape[0], colour)


def bounds(const double[::1] t, const float[:] y, double t0, double t1):
    """(lowest, highest) of the samples with t0 <= t < t1, or None if there is none that is a number."""
    cdef float low = 0, high = 0
    if t.shape[0] != y.shape[0]:
        raise ValueError(f"{t.shape[0]} times and {y.shape[0]} values")
    if t.shape[0] == 0 or not envelope_bounds(&t[0], &y[0], <size_t>(y.strides[0] // 4), <size_t>t.shape[0], t0, t1, &low, &high):
        return None
    return low, high


def find(const double[::1] t, double time):
    """Index of the first sample at or after a time."""
    return 0 if t.shape[0] == 0 else envelope_find(&t[0], <size_t>t.shape[0], time)
