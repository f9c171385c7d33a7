#include "links/socketcand.h"

#include <string.h>

#include "links/slcan.h"

#define WORDS 12u

typedef struct {
    const uint8_t *at;
    uint32_t length;
} word_t;

static uint32_t split(const uint8_t *text, uint32_t length, word_t *words)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < length;) {
        while (k < length && text[k] <= ' ') {
            k++;
        }
        const uint32_t start = k;
        while (k < length && text[k] > ' ') {
            k++;
        }
        if (k > start) {
            if (n == WORDS) {
                return WORDS + 1u;
            }
            words[n++] = (word_t){text + start, k - start};
        }
    }
    return n;
}

static bool is(const word_t *w, const char *name)
{
    return w->length == strlen(name) && memcmp(w->at, name, w->length) == 0;
}

static bool hex(const word_t *w, uint32_t most, uint32_t *value)
{
    return w->length >= 1u && w->length <= most && slcan_number(w->at, w->length, value);
}

/* Seconds, a point, up to six decimals. */
static bool read_time(const word_t *w, uint64_t *stamp_us)
{
    uint64_t whole = 0, part = 0;
    uint32_t k = 0, decimals = 0;
    for (; k < w->length && w->at[k] >= '0' && w->at[k] <= '9' && k < 12u; k++) {
        whole = whole * 10u + (uint64_t)(w->at[k] - '0');
    }
    if (k == 0u || (k < w->length && w->at[k] != '.')) {
        return false;
    }
    for (k++; k < w->length && decimals < 6u; k++, decimals++) {
        if (w->at[k] < '0' || w->at[k] > '9') {
            return false;
        }
        part = part * 10u + (uint64_t)(w->at[k] - '0');
    }
    for (; decimals < 6u; decimals++) {
        part *= 10u;
    }
    *stamp_us = whole * SECOND_US + part;
    return k >= w->length;
}

static socketcand_word_t read_id(const word_t *w, link_frame_t *f)
{
    if (!hex(w, 8, &f->id)) {
        return SC_DIGIT;
    }
    const bool extended = w->length == 8u;
    f->flags = extended ? ECU_CAN_EXTENDED : 0u;
    f->reserved = 0;
    return f->id <= (extended ? 0x1FFFFFFFu : 0x7FFu) ? SC_FRAME : SC_ID;
}

/* One word of pairs, or a byte a word. */
static socketcand_word_t read_data(const word_t *words, uint32_t n, link_frame_t *f)
{
    uint32_t value = 0;
    f->length = 0;
    if (n == 1u && words[0].length > 2u) {
        if (words[0].length > 16u || words[0].length % 2u != 0u) {
            return SC_LENGTH;
        }
        for (uint32_t k = 0; k < words[0].length; k += 2u) {
            if (!slcan_number(words[0].at + k, 2, &value)) {
                return SC_DIGIT;
            }
            f->data[f->length++] = (uint8_t)value;
        }
        return SC_FRAME;
    }
    for (uint32_t k = 0; k < n; k++) {
        if (k == 8u || words[k].length > 2u) {
            return SC_LENGTH;
        }
        if (!hex(&words[k], 2, &value)) {
            return SC_DIGIT;
        }
        f->data[f->length++] = (uint8_t)value;
    }
    return SC_FRAME;
}

static socketcand_word_t read_length(const word_t *w, link_frame_t *f)
{
    uint32_t value = 0;
    if (!hex(w, 2, &value)) {
        return SC_DIGIT;
    }
    f->length = (uint8_t)value;
    return value <= 8u ? SC_FRAME : SC_LENGTH;
}

static socketcand_word_t read_received(const word_t *w, uint32_t n, link_frame_t *f, uint64_t *stamp_us)
{
    const bool remote = is(&w[0], "rtr");
    if (n < 3u || (remote && n != 4u)) {
        return SC_LENGTH;
    }
    socketcand_word_t result = read_id(&w[1], f);
    if (result == SC_FRAME && !read_time(&w[2], stamp_us)) {
        result = SC_DIGIT;
    }
    if (result == SC_FRAME && remote) {
        f->flags |= ECU_CAN_REMOTE;
        return read_length(&w[3], f);
    }
    return result == SC_FRAME ? read_data(w + 3, n - 3u, f) : result;
}

static socketcand_word_t read_send(const word_t *w, uint32_t n, link_frame_t *f)
{
    const bool remote = is(&w[0], "sendrtr");
    if (n < 3u || (remote && n != 3u)) {
        return SC_LENGTH;
    }
    socketcand_word_t result = read_id(&w[1], f);
    if (result == SC_FRAME) {
        result = read_length(&w[2], f);
    }
    const uint8_t said = f->length;
    if (result == SC_FRAME && remote) {
        f->flags |= ECU_CAN_REMOTE;
        return SC_SEND;
    }
    if (result == SC_FRAME) {
        if (n - 3u != said) {
            return SC_LENGTH;
        }
        for (uint32_t k = 3; k < n; k++) {
            if (w[k].length > 2u) {
                return SC_LENGTH;
            }
        }
        result = read_data(w + 3, n - 3u, f);
    }
    return result == SC_FRAME ? SC_SEND : result;
}

static socketcand_word_t read_error(const word_t *w, uint32_t n, link_frame_t *f, uint64_t *stamp_us)
{
    if (n != 3u || !hex(&w[1], 8, &f->id) || !read_time(&w[2], stamp_us)) {
        return SC_ERROR;
    }
    f->id &= 0x1FFFFFFFu;
    f->flags = ECU_CAN_ERROR;
    f->reserved = 0;
    f->length = 8;
    memset(f->data, 0, 8);
    return SC_FRAME;
}

socketcand_word_t socketcand_read(const uint8_t *text, uint32_t length, link_frame_t *f, uint64_t *stamp_us,
                                  const uint8_t **argument, uint32_t *argument_length)
{
    static const struct {
        const char *name;
        socketcand_word_t word;
    } plain[] = {{"hi", SC_HI}, {"ok", SC_OK}, {"echo", SC_ECHO}, {"rawmode", SC_RAWMODE}, {"bcmmode", SC_BCMMODE}};
    word_t w[WORDS];
    const uint32_t n = split(text, length, w);
    *argument = n > 1u ? w[1].at : NULL;
    *argument_length = n > 1u ? w[1].length : 0u;
    if (n == 0u || n > WORDS) {
        return n == 0u ? SC_UNKNOWN : SC_LENGTH;
    }
    if (is(&w[0], "frame") || is(&w[0], "rtr")) {
        return read_received(w, n, f, stamp_us);
    }
    if (is(&w[0], "send") || is(&w[0], "sendrtr")) {
        return read_send(w, n, f);
    }
    if (is(&w[0], "error")) {
        return read_error(w, n, f, stamp_us);
    }
    if (is(&w[0], "open")) {
        return n == 2u ? SC_OPEN : SC_LENGTH;
    }
    for (uint32_t k = 0; k < sizeof plain / sizeof plain[0]; k++) {
        if (n == 1u && is(&w[0], plain[k].name)) {
            return plain[k].word;
        }
    }
    return SC_UNKNOWN;
}

static char *put(char *to, const char *text)
{
    const size_t n = strlen(text);
    memcpy(to, text, n);
    return to + n;
}

static char *put_hex(char *to, uint32_t value, uint32_t digits)
{
    for (uint32_t k = digits; k > 0u; k--) {
        to[k - 1u] = "0123456789ABCDEF"[value & 15u];
        value >>= 4;
    }
    return to + digits;
}

static char *put_time(char *to, uint64_t stamp_us)
{
    char digits[24];
    uint32_t n = 0;
    for (uint64_t left = stamp_us; left != 0u || n < 8u; left /= 10u) {
        digits[n++] = (char)('0' + left % 10u);
        if (n == 6u) {
            digits[n++] = '.';
        }
    }
    while (n > 0u) {
        *to++ = digits[--n];
    }
    return to;
}

static char *put_id(char *to, const link_frame_t *f)
{
    return put_hex(to, f->id, (f->flags & ECU_CAN_EXTENDED) != 0u ? 8u : 3u);
}

uint32_t socketcand_write_frame(const link_frame_t *f, uint64_t stamp_us, char *text)
{
    char *to;
    if ((f->flags & ECU_CAN_FD) != 0u || f->length > 8u) {
        return 0;
    }
    if ((f->flags & ECU_CAN_ERROR) != 0u) {
        to = put_hex(put(text, "< error "), f->id, f->id > 0xFFFu ? 8u : 3u);
        return (uint32_t)(put(put_time(put(to, " "), stamp_us), " >") - text);
    }
    const bool remote = (f->flags & ECU_CAN_REMOTE) != 0u;
    to = put_id(put(text, remote ? "< rtr " : "< frame "), f);
    to = put(put_time(put(to, " "), stamp_us), " ");
    if (remote) {
        to = put_hex(to, f->length, 1);
    } else {
        for (uint32_t k = 0; k < f->length; k++) {
            to = put_hex(to, f->data[k], 2);
        }
    }
    return (uint32_t)(put(to, " >") - text);
}

uint32_t socketcand_write_send(const link_frame_t *f, char *text)
{
    const bool remote = (f->flags & ECU_CAN_REMOTE) != 0u;
    if ((f->flags & (ECU_CAN_FD | ECU_CAN_ERROR)) != 0u || f->length > 8u) {
        return 0;
    }
    char *to = put_id(put(text, remote ? "< sendrtr " : "< send "), f);
    to = put_hex(put(to, " "), f->length, 1);
    for (uint32_t k = 0; !remote && k < f->length; k++) {
        to = put_hex(put(to, " "), f->data[k], 2);
    }
    return (uint32_t)(put(to, " >") - text);
}

void socketcand_messages(stream_t *s, link_counters_t *c, socketcand_handler_t handle, void *context)
{
    uint32_t at = 0;
    bool more = true;
    while (more && at < s->have) {
        const uint8_t *from = s->bytes + at;
        const uint8_t *open = memchr(from, '<', s->have - at);
        if (open != from) { /* something that is no message, and no line end between two */
            const uint32_t junk = open != NULL ? (uint32_t)(open - from) : s->have - at;
            uint32_t k = 0;
            while (k < junk && from[k] <= ' ') {
                k++;
            }
            c->malformed_unknown += k < junk && !s->skipping;
            s->skipping = open == NULL && (s->skipping || k < junk);
            at += junk;
            continue;
        }
        s->skipping = false;
        const uint8_t *end = memchr(open, '>', s->have - at);
        if (end == NULL) {
            if (s->have - at > STREAM_MESSAGE) {
                c->malformed_overlong++;
                s->skipping = true;
                at = s->have;
            }
            break;
        }
        at += (uint32_t)(end - open) + 1u;
        more = handle(context, open + 1, (uint32_t)(end - open) - 1u);
    }
    if (more) {
        stream_consume(s, at);
    }
}

void socketcand_count_malformed(link_counters_t *c, socketcand_word_t word)
{
    c->malformed_unknown += word == SC_UNKNOWN;
    c->malformed_digit += word == SC_DIGIT;
    c->malformed_length += word == SC_LENGTH;
    c->malformed_id += word == SC_ID;
}
