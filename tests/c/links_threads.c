/* Rings, clocks and the in-process bus, from inside; built with the thread sanitizer. Prints "fine" and ends with 0. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "links/internal.h"

#define SENDERS 3u
#define FRAMES 20000u
#define MUST(is_so)                                              \
    do {                                                         \
        if (!(is_so)) {                                          \
            fprintf(stderr, "line %d: %s\n", __LINE__, #is_so);  \
            exit(1);                                             \
        }                                                        \
    } while (0)

static void rings_go_round(void)
{
    ring_t r;
    link_frame_t in, out[8];
    memset(&in, 0, sizeof in);
    MUST(ring_make(&r, 5) == 0 && r.mask == 7u);
    r.head = r.tail = UINT32_MAX - 3u; /* the counters themselves wrap */
    for (uint32_t k = 0; k < 8u; k++) {
        in.id = k;
        MUST(ring_room(&r) == 8u - k && ring_put(&r, &in));
    }
    MUST(!ring_put(&r, &in) && ring_count(&r) == 8u && ring_room(&r) == 0u);
    MUST(ring_take(&r, out, 3) == 3u && out[0].id == 0u && out[2].id == 2u);
    MUST(ring_put_many(&r, out, 8) == 3u);
    MUST(ring_take(&r, out, 8) == 8u && out[0].id == 3u && out[5].id == 0u);
    MUST(ring_count(&r) == 0u && ring_take(&r, out, 8) == 0u);
    free(r.frames);
}

static void other_clocks_are_followed(void)
{
    far_clock_t c;
    memset(&c, 0, sizeof c);
    const uint64_t far = 5000000u, now = 900000000u;
    MUST(far_time(&c, far, now) == now);                                   /* the first is taken as prompt */
    MUST(far_time(&c, far + 1000u, now + 4000u) == now + 1000u);           /* late by 3 ms: when it was sent */
    MUST(far_time(&c, far + 9000u, now + 8500u) == now + 8500u);           /* earlier than ever: a new least delay */
    MUST(far_time(&c, far + 20000u, now + 20000u) <= now + 20000u);        /* never in the future */
    const uint64_t slow = far_time(&c, far + 60000000u, now + 60003000u);  /* a clock that lags by 50 ppm */
    MUST(slow > now + 60000000u && slow <= now + 60003000u);
    MUST(far_time(&c, 7u, now + 61000000u) == now + 61000000u);            /* it was set: begin again */
}

static void boxes_are_emptied_in_order(void)
{
    outbox_t o;
    MUST(outbox_make(&o, 16) == 0 && outbox_put(&o, "0123456789", 10));
    o.start = 6; /* six were written */
    MUST(outbox_free(&o) == 12u && outbox_put(&o, "abcdefghijkl", 12) && o.start == 0u && o.end == 16u);
    MUST(memcmp(o.bytes, "6789abcdefghijkl", 16) == 0 && !outbox_put(&o, "x", 1));
    free(o.bytes);
}

static link_t *joined(void)
{
    char why[100];
    link_config_t c;
    memset(&c, 0, sizeof c);
    c.kind = LINK_INPROC;
    c.ring = SENDERS * FRAMES;
    strcpy(c.name, "threads");
    link_t *l = link_open(&c, link_now_us(), why, sizeof why);
    MUST(l != NULL);
    return l;
}

static void *sender(void *number)
{
    link_t *l = joined();
    link_frame_t f;
    memset(&f, 0, sizeof f);
    f.length = 8;
    f.id = (uint32_t)(uintptr_t)number;
    for (uint32_t k = 0; k < FRAMES; k++) {
        memcpy(f.data, &k, sizeof k);
        MUST(link_send(l, &f, 1) == 1u);
    }
    link_close(l);
    return NULL;
}

/* Senders join, send and leave while a receiver sleeps and wakes: all arrives, each sender's in its order. */
static void threads_share_a_bus(void)
{
    pthread_t threads[SENDERS];
    uint32_t next[SENDERS] = {0}, total = 0;
    link_frame_t batch[64];
    link_t *l = joined();
    for (uint32_t k = 0; k < SENDERS; k++) {
        MUST(pthread_create(&threads[k], NULL, sender, (void *)(uintptr_t)k) == 0);
    }
    while (total < SENDERS * FRAMES) {
        MUST(link_wait(&l, 1, -1, 20u * SECOND_US) == 1u);
        const uint32_t n = link_receive(l, batch, 64);
        for (uint32_t k = 0; k < n; k++) {
            uint32_t number;
            memcpy(&number, batch[k].data, sizeof number);
            MUST(number == next[batch[k].id]++);
        }
        total += n;
    }
    for (uint32_t k = 0; k < SENDERS; k++) {
        pthread_join(threads[k], NULL);
    }
    MUST(link_counters(l)->rx_frames == total && link_counters(l)->rx_dropped == 0u);
    link_close(l);
}

int main(void)
{
    rings_go_round();
    other_clocks_are_followed();
    boxes_are_emptied_in_order();
    threads_share_a_bus();
    printf("fine\n");
    return 0;
}
