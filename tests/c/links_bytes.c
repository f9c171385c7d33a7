/* Hostile bytes into every decoder and every stream of ext/links, in one process with sanitizers.
 *
 * The links are real ones: pseudo-terminals and loopback TCP, so that reads arrive in pieces. One input is a kind of target and
 * bytes for it. With a fuzzer (clang -fsanitize=fuzzer -DFUZZER) the inputs are its own; else main() makes them: noise, and good
 * messages with a few bytes changed, cut or doubled.    links_bytes COUNT SEED
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "links/datagram.h"
#include "links/internal.h"
#include "links/serial.h"
#include "links/slcan.h"
#include "links/socketcand.h"

enum { READ_SLCAN, READ_SOCKETCAND, READ_DATAGRAM, UNMARK, SLCAN_CLIENT, SLCAN_PTY, CAND_CLIENT, CAND_SERVER, TARGETS };
#define LONGEST 2048u

typedef struct {
    link_t *l;
    int far; /* where its bytes come from */
} target_t;

static target_t targets[TARGETS];
static uint64_t now_us = 1000000; /* advanced by each input, so that half messages also grow old */

static void must(int is_so, const char *what)
{
    if (!is_so) {
        fprintf(stderr, "cannot happen: %s\n", what);
        abort();
    }
}

static void frame_is_one(const link_frame_t *f)
{
    const uint32_t most = (f->flags & (ECU_CAN_EXTENDED | ECU_CAN_ERROR)) != 0u ? 0x1FFFFFFFu : 0x7FFu;
    must(f->id <= most, "an identifier out of range");
    must(f->length <= ((f->flags & ECU_CAN_FD) != 0u ? 64u : 8u), "a length out of range");
    must(fd_dlc(f->length) != 0xFFu, "a length that no frame has");
}

/* Gives the link one end of a socket pair in place of what it opened; the other end is ours. */
static void rewire(target_t *t)
{
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0, "no socket pair");
    must(dup2(pair[0], t->l->fd) >= 0, "no descriptor");
    close(pair[0]);
    t->far = pair[1];
}

static link_t *opened(uint32_t kind, uint32_t port, const char *name)
{
    char why[200];
    link_config_t c;
    memset(&c, 0, sizeof c);
    c.kind = kind;
    c.options = LINK_FD;
    c.port = port;
    c.ring = 64;
    snprintf(c.host, sizeof c.host, "127.0.0.1");
    snprintf(c.name, sizeof c.name, "%s", name);
    link_t *l = link_open(&c, now_us, why, sizeof why);
    if (l == NULL) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    return l;
}

static uint32_t port_of(const link_t *server)
{
    return (uint32_t)strtoul(strrchr(link_place(server), ':') + 1, NULL, 10);
}

static void set_up(void)
{
    char device[64];
    signal(SIGPIPE, SIG_IGN);
    const int adapter = serial_pty(device, sizeof device);
    must(adapter >= 0, "no pseudo-terminal");
    targets[SLCAN_CLIENT].l = opened(LINK_SLCAN, 0, device);
    rewire(&targets[SLCAN_CLIENT]);
    targets[SLCAN_PTY].l = opened(LINK_SLCAN_SERVER, 0, "");
    rewire(&targets[SLCAN_PTY]);
    link_t *server = targets[CAND_SERVER].l = opened(LINK_SOCKETCAND_SERVER, 0, "can0");
    targets[CAND_CLIENT].l = opened(LINK_SOCKETCAND, port_of(server), "can0");
    for (int k = 0; k < 1000 && link_state(targets[CAND_CLIENT].l) != LINK_UP; k++) {
        now_us = link_now_us();
        link_service(server, now_us);
        link_service(targets[CAND_CLIENT].l, now_us);
        usleep(1000);
    }
    must(link_state(targets[CAND_CLIENT].l) == LINK_UP, "client and server do not meet");
    rewire(&targets[CAND_CLIENT]);
    targets[CAND_SERVER].far = tcp_socket(&targets[CAND_CLIENT].l->config, false);
    must(targets[CAND_SERVER].far >= 0, "no connection");
    close(adapter);
}

static void into_stream(target_t *t, const uint8_t *bytes, size_t size)
{
    link_frame_t frames[64];
    uint8_t answers[65536];
    for (size_t at = 0; at < size;) {
        const size_t piece = size - at < 700u ? size - at : 700u;
        const ssize_t n = write(t->far, bytes + at, piece);
        at += n > 0 ? (size_t)n : piece;
        link_service(t->l, now_us);
        const uint32_t got = link_receive(t->l, frames, 64);
        for (uint32_t k = 0; k < got; k++) {
            frame_is_one(&frames[k]);
        }
        while (read(t->far, answers, sizeof answers) > 0) {
        }
    }
    must(link_state(t->l) == LINK_UP || t == &targets[CAND_SERVER], "a link went down over bytes");
    if (size > 0u && link_send(t->l, &(link_frame_t){.id = bytes[0], .length = 1}, 1) == 0u) {
        must(t->l->counters.tx_dropped != 0u, "a frame lost and not counted");
    }
}

static void into_codec(uint32_t which, const uint8_t *bytes, size_t size)
{
    link_frame_t f, frames[DATAGRAM_FRAMES_MAX];
    uint8_t line[SLCAN_LINE_MAX], sequence;
    char text[SOCKETCAND_MAX];
    uint16_t stamp, items[LONGEST + 1u];
    uint64_t stamp_us = 0;
    uint32_t count = 0;
    const uint8_t *argument;
    serial_unmark_t marks = {0};
    if (which == READ_SLCAN && slcan_read(bytes, (uint32_t)size, &f, &stamp) == SLCAN_FRAME) {
        frame_is_one(&f);
        const bool remote = (f.flags & ECU_CAN_REMOTE) != 0u; /* may have had data that are not written again */
        must(slcan_write(&f, stamp, line) == size + 1u || remote, "a line that is written otherwise than it was read");
    } else if (which == READ_SOCKETCAND) {
        const socketcand_word_t word = socketcand_read(bytes, (uint32_t)size, &f, &stamp_us, &argument, &count);
        if (word == SC_FRAME || word == SC_SEND) {
            frame_is_one(&f);
            must(socketcand_write_frame(&f, stamp_us, text) <= SOCKETCAND_MAX, "a message that is too long");
        }
    } else if (which == READ_DATAGRAM) {
        (void)datagram_read(bytes, (uint32_t)size, frames, &count, &sequence);
        for (uint32_t k = 0; k < count; k++) {
            frame_is_one(&frames[k]);
        }
    } else if (which == UNMARK) {
        must(serial_unmark(&marks, bytes, (uint32_t)size, items) <= size + 1u, "more marks than bytes");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t exact[LONGEST];
    if (targets[SLCAN_CLIENT].l == NULL) {
        set_up();
    }
    if (size == 0u || size > LONGEST) {
        return 0;
    }
    const uint32_t which = bytes[0] % TARGETS;
    now_us += 200000u * (bytes[0] / TARGETS % 8u);
    memcpy(exact, bytes + 1, size - 1u);
    if (which < SLCAN_CLIENT) {
        uint8_t *alone = malloc(size); /* a read beyond its end is seen */
        must(alone != NULL, "no memory");
        memcpy(alone, exact, size - 1u);
        into_codec(which, alone, size - 1u);
        free(alone);
    } else {
        into_stream(&targets[which], exact, size - 1u);
    }
    return 0;
}

#ifndef FUZZER
static uint32_t chance;

static uint32_t draw(uint32_t below)
{
    chance ^= chance << 13;
    chance ^= chance >> 17;
    chance ^= chance << 5;
    return chance % below;
}

#define T(text) {text, sizeof text - 1u}
static const struct {
    const char *text;
    size_t length;
} good[TARGETS][4] = {
    {T("t1232AABB"), T("T18FF50E58112233445566778812AB"), T("b123900112233445566778899AABB"), T("R000001238")},
    {T(" frame 123 1.000001 AABBCC "), T(" send 18FF50E5 3 1 2 3 "), T(" rtr 123 2.5 4 "), T(" error 004 1.5 ")},
    {T("\2\0\7\0\1\0\0\1\43\2AB"), T("\2\0\7\0\1\230\377\120\345\0"), T("\2\0\0\0\1\0\0\1\43\214\1123456789012"), T("\2\0\0\0\0")},
    {T("A\377\377B"), T("\377\1\1"), T("data"), T("\377\377")},
    {T("t1232AABB\rz\r"), T("T18FF50E5811223344556677881234\r"), T("F08\r\a"), T("V1013\rNABCD\r")},
    {T("O\rt1232AABB\rC\r"), T("X1\rZ1\rO\rb123900112233445566778899AABB\r"), T("W1\rM00000000\rX0\rO\rP\rA\r"), T("S6\rF\rL\r")},
    {T("< frame 123 1.000001 AABBCC >"), T("< ok >< hi >"), T("< error 004 1.5 >"), T("< rtr 123 2.5 4 >")},
    {T("< open can0 >< rawmode >"), T("< send 123 3 1 2 3 >"), T("< echo >< bcmmode >"), T("< sendrtr 18FF50E5 2 >")},
};

static size_t invent(uint8_t *to)
{
    const uint32_t which = draw(TARGETS);
    size_t n = 1;
    to[0] = (uint8_t)(which + TARGETS * draw(8));
    if (draw(4) == 0u) {
        for (uint32_t k = draw(draw(20) == 0u ? 2000u : 60u); k > 0u; k--) {
            to[n++] = (uint8_t)draw(256);
        }
        return n;
    }
    for (uint32_t pieces = 1u + draw(4); pieces > 0u; pieces--) {
        const uint32_t one = draw(4);
        memcpy(to + n, good[which][one].text, good[which][one].length);
        n += good[which][one].length;
    }
    for (uint32_t changes = draw(4); changes > 0u; changes--) {
        to[1u + draw((uint32_t)n - 1u)] = (uint8_t)draw(256);
    }
    return draw(3) == 0u ? 1u + draw((uint32_t)n) : n;
}

int main(int argc, char **argv)
{
    uint8_t input[LONGEST];
    const long count = argc > 1 ? strtol(argv[1], NULL, 10) : 100000;
    uint64_t malformed = 0, frames = 0;
    chance = (argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1u) * 2654435761u | 1u;
    for (long k = 0; k < count; k++) {
        LLVMFuzzerTestOneInput(input, invent(input));
    }
    for (uint32_t k = SLCAN_CLIENT; k < TARGETS; k++) {
        const link_counters_t *c = link_counters(targets[k].l);
        malformed += c->malformed_unknown + c->malformed_digit + c->malformed_length + c->malformed_id + c->malformed_cut;
        frames += c->rx_frames;
        close(targets[k].far);
    }
    for (uint32_t k = SLCAN_CLIENT; k < TARGETS; k++) {
        link_close(targets[k].l);
    }
    printf("inputs %ld frames %llu malformed %llu\n", count, (unsigned long long)frames, (unsigned long long)malformed);
    return 0;
}
#endif
