#include "envelope.h"

#include <stdbool.h>

/* Span of a curve in each column, in pixels from the top; empty while low > high. */
typedef struct {
    float low[ENVELOPE_WIDTH_MAX], high[ENVELOPE_WIDTH_MAX];
} spans_t;

size_t envelope_find(const double *t, size_t count, double time)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (t[middle] < time) low = middle + 1;
        else high = middle;
    }
    return low;
}

int envelope_bounds(const double *t, const float *y, size_t stride, size_t count, double t0, double t1, float *low, float *high)
{
    const size_t first = envelope_find(t, count, t0), end = envelope_find(t, count, t1);
    float least = __builtin_inff(), most = -__builtin_inff();
    for (size_t k = first; k < end; ++k) {
        const float value = y[k * stride];
        least = value < least ? value : least; /* a NaN compares false and changes nothing */
        most = value > most ? value : most;
    }
    *low = least;
    *high = most;
    return least <= most;
}

static float clamp(float x, float low, float high) { return x < low ? low : (x > high ? high : x); }

static void widen(spans_t *s, uint32_t column, float a, float b)
{
    const float low = a < b ? a : b, high = a < b ? b : a;
    if (low < s->low[column]) s->low[column] = low;
    if (high > s->high[column]) s->high[column] = high;
}

/* The line from (xa, ya) to (xb, yb), xa <= xb, both in pixels: in each column it touches, the span it covers there. */
static void line(spans_t *s, uint32_t width, float xa, float ya, float xb, float yb)
{
    if (xb < 0.0f || xa >= (float)width) return;
    const uint32_t first = (uint32_t)clamp(xa, 0.0f, (float)(width - 1u)), last = (uint32_t)clamp(xb, 0.0f, (float)(width - 1u));
    if (first == last && xa >= 0.0f && xb < (float)width) {
        widen(s, first, ya, yb);
        return;
    }
    const float slope = xb > xa ? (yb - ya) / (xb - xa) : 0.0f;
    for (uint32_t c = first; c <= last; ++c) {
        const float from = clamp((float)c, xa, xb), to = clamp((float)(c + 1u), xa, xb);
        widen(s, c, ya + slope * (from - xa), ya + slope * (to - xa));
    }
}

/* How the samples map to the picture, and where the curve is in it. */
typedef struct {
    spans_t *spans;
    uint32_t width;
    float last_x, last_y; /* pixels; last_y is NaN after a gap */
    bool steps;
} tracer_t;

static void trace(tracer_t *to, float x, float y)
{
    if (to->last_y != to->last_y) {
        line(to->spans, to->width, x, y, x, y);
    } else if (to->steps) {
        line(to->spans, to->width, to->last_x, to->last_y, x, to->last_y);
        line(to->spans, to->width, x, to->last_y, x, y);
    } else {
        line(to->spans, to->width, to->last_x, to->last_y, x, y);
    }
    to->last_x = x;
    to->last_y = y;
}

static void gather(spans_t *s, const envelope_canvas_t *v, const double *t, const float *y, size_t stride, size_t count, bool steps)
{
    for (uint32_t c = 0; c < v->width; ++c) {
        s->low[c] = __builtin_inff();
        s->high[c] = -__builtin_inff();
    }
    const double per_s = (double)v->width / (v->t1 - v->t0), offset = -v->t0 * per_s, most = (double)v->width + 1e6;
    const float per_unit = (float)((double)v->height / (v->y1 - v->y0)), top = (float)v->y1;
    size_t first = envelope_find(t, count, v->t0), end = envelope_find(t, count, v->t1);
    if (first > 0) first--; /* the lines that come in from outside and go out */
    if (end < count) end++;
    tracer_t to = {s, v->width, 0.0f, __builtin_nanf(""), steps};
    int64_t here = -1; /* column of the last sample, while it lies inside */
    for (size_t k = first; k < end; ++k) {
        const float value = y[k * stride];
        double x = t[k] * per_s + offset;
        x = x < -1e6 ? -1e6 : (x > most ? most : x);
        if (value != value) { /* nothing to draw to, and nothing to draw from */
            to.last_y = value;
            here = -1;
            continue;
        }
        const float py = (top - value) * per_unit;
        const int64_t column = x < 0.0 ? -1 : (int64_t)x;
        if (column == here && column >= 0) { /* most samples: still in the same column */
            s->low[column] = py < s->low[column] ? py : s->low[column];
            s->high[column] = py > s->high[column] ? py : s->high[column];
            to.last_x = (float)x;
            to.last_y = py;
            continue;
        }
        trace(&to, (float)x, py);
        here = column < (int64_t)v->width ? column : -1;
    }
}

/* Source over destination, premultiplied, with coverage 0 to 256. Two channels at once in each half of a word. */
static uint32_t over(uint32_t under, uint32_t colour, uint32_t coverage)
{
    const uint32_t alpha = (colour >> 24) * coverage >> 8, weight = alpha + (alpha >> 7), rest = 256u - weight;
    const uint32_t source = colour | 0xFF000000u;
    const uint32_t even = ((source & 0x00FF00FFu) * weight + (under & 0x00FF00FFu) * rest) >> 8 & 0x00FF00FFu;
    const uint32_t odd = ((source >> 8 & 0x00FF00FFu) * weight + (under >> 8 & 0x00FF00FFu) * rest) & 0xFF00FF00u;
    return even | odd;
}

/* One column from `low` to `high` (pixels from the top); the ends are as faint as they cover little of their pixel. */
static void column(const envelope_canvas_t *v, uint32_t c, float low, float high, uint32_t colour)
{
    const float top = clamp(low, 0.0f, (float)v->height), bottom = clamp(high, 0.0f, (float)v->height);
    if (bottom <= top) return;
    const uint32_t first = (uint32_t)top, last = (uint32_t)bottom;
    uint32_t *pixel = v->pixels + (size_t)first * v->stride + c;
    if (first == last) {
        *pixel = over(*pixel, colour, (uint32_t)((bottom - top) * 256.0f));
        return;
    }
    *pixel = over(*pixel, colour, (uint32_t)(((float)(first + 1u) - top) * 256.0f));
    pixel += v->stride;
    const bool opaque = colour >> 24 == 255u;
    for (uint32_t r = first + 1u; r < last; ++r, pixel += v->stride) *pixel = opaque ? colour : over(*pixel, colour, 256u);
    if (last < v->height) *pixel = over(*pixel, colour, (uint32_t)((bottom - (float)last) * 256.0f));
}

static bool is_drawable(const envelope_canvas_t *v)
{
    return v->width > 0u && v->width <= ENVELOPE_WIDTH_MAX && v->height > 0u && v->t1 > v->t0 && v->y1 > v->y0;
}

void envelope_curve(const envelope_canvas_t *canvas, const double *t, const float *y, size_t stride, size_t count,
                    const envelope_pen_t *pen)
{
    spans_t s;
    if (!is_drawable(canvas)) return;
    gather(&s, canvas, t, y, stride, count, pen->steps != 0u);
    const float half = pen->thickness * 0.5f;
    for (uint32_t c = 0; c < canvas->width; ++c) {
        if (s.low[c] > s.high[c] || (pen->dash && c / pen->dash % 2u)) continue;
        column(canvas, c, s.low[c] - half, s.high[c] + half, pen->colour);
    }
}

void envelope_band(const envelope_canvas_t *canvas, const double *t, const float *low, const float *high, size_t count,
                   uint32_t colour)
{
    spans_t below, above;
    if (!is_drawable(canvas)) return;
    gather(&below, canvas, t, low, 1, count, false);
    gather(&above, canvas, t, high, 1, count, false);
    for (uint32_t c = 0; c < canvas->width; ++c) {
        if (below.low[c] > below.high[c] || above.low[c] > above.high[c]) continue;
        column(canvas, c, above.low[c], below.high[c], colour);
    }
}
