/* Least and most of a column in groups of rows: the lowest level of a recording's overview. */
#ifndef BMS_FOLD_H
#define BMS_FOLD_H

#include <stdint.h>

/* A column: `values` of a FIELD_ type, `width` of them a sample, `count` samples. `rows[k]` is the row of sample k; NULL: sample k
 * is row k. A value is value * scale + offset; `missing`, where has_missing is set, and not-a-number are no values. */
typedef struct {
    const void *values;
    const int64_t *rows;
    uint32_t type, width, count, has_missing;
    double scale, offset;
    int64_t missing;
} fold_column_t;

/* Joins the column into bins[(first + row) / group], each a pair of least and most, not-a-number while empty. Values that float32
 * cannot hold are rounded outwards, so that every value lies within its pair. Rows that would lie beyond `bin_count` are left out. */
void fold_column(const fold_column_t *column, uint32_t first, uint32_t group, float *bins, uint32_t bin_count);

#endif
