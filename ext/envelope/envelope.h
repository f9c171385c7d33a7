/* Curves as pixels: what a screen can show of many samples, found and painted column by column.
 *
 * For each column of the picture a curve covers the span of its samples and of the lines between them, so a spike of one sample is
 * seen at any zoom, and the work is one pass over the visible samples whatever their number. */
#ifndef BMS_ENVELOPE_H
#define BMS_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

#define ENVELOPE_WIDTH_MAX 8192u

/* Part of the picture that is drawn into: x from time t0 (left edge) to t1, y from y0 (bottom edge) to y1. */
typedef struct {
    uint32_t *pixels; /* premultiplied ARGB, row by row from the top */
    uint32_t width, height;
    size_t stride; /* pixels from one row to the next: at least width, more for a part of a wider picture */
    double t0, t1, y0, y1;
} envelope_canvas_t;

/* How a curve is drawn. */
typedef struct {
    uint32_t colour; /* ARGB, not premultiplied */
    float thickness; /* pixels */
    uint32_t dash;   /* columns drawn, then as many left out; 0 solid */
    uint32_t steps;  /* 1: a value holds until the next sample */
} envelope_pen_t;

/* One curve of `count` samples; times rise. A NaN breaks the line. stride: elements from one sample of y to the next. */
void envelope_curve(const envelope_canvas_t *canvas, const double *t, const float *y, size_t stride, size_t count,
                    const envelope_pen_t *pen);
/* The area between two curves over the same times, for intervals. */
void envelope_band(const envelope_canvas_t *canvas, const double *t, const float *low, const float *high, size_t count,
                   uint32_t colour);
/* Smallest and largest value of the samples between two times; 0 if there is none. */
int envelope_bounds(const double *t, const float *y, size_t stride, size_t count, double t0, double t1, float *low, float *high);
/* First sample at or after a time. */
size_t envelope_find(const double *t, size_t count, double time);

#endif
