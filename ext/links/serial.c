#define _GNU_SOURCE
#include "links/serial.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int ioctl(int fd, unsigned long request, ...); /* <sys/ioctl.h> and <asm/termbits.h> cannot be included together */

#define LOW_PULSE_BAUD 20000u /* slower than any chip talks; see SLUSE81: pulses are 250 us and longer */
#define LOW_BITS 9u           /* start bit and eight zeros */

static int set_raw(int fd, uint32_t baud, bool marks)
{
    struct termios2 t;
    if (ioctl(fd, TCGETS2, &t) != 0) {
        return -errno;
    }
    t.c_iflag = marks ? (tcflag_t)(PARMRK | INPCK) : 0u;
    t.c_oflag = 0;
    t.c_lflag = 0;
    t.c_cflag = (t.c_cflag & (tcflag_t)CBAUD) | CS8 | CREAD | CLOCAL;
    if (baud != 0u) {
        t.c_cflag = (t.c_cflag & ~(tcflag_t)CBAUD) | BOTHER;
        t.c_ispeed = t.c_ospeed = baud;
    }
    t.c_cc[VMIN] = 1; /* so that 0 bytes read means hung up, never "nothing yet" */
    t.c_cc[VTIME] = 0;
    return ioctl(fd, TCSETS2, &t) == 0 ? 0 : -errno;
}

static void ask_for_low_latency(int fd)
{
    struct serial_struct s;
    memset(&s, 0, sizeof s);
    if (ioctl(fd, TIOCGSERIAL, &s) == 0) {
        s.flags |= (int)ASYNC_LOW_LATENCY;
        (void)ioctl(fd, TIOCSSERIAL, &s); /* a driver that has no such thing refuses, and is used as it is */
    }
}

int serial_open(const char *path, uint32_t baud, uint32_t options)
{
    int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int failed = set_raw(fd, baud, (options & SERIAL_MARKS) != 0u);
    if (failed == 0 && (options & SERIAL_EXCLUSIVE) != 0u && ioctl(fd, TIOCEXCL) != 0) {
        failed = -errno;
    }
    if (failed != 0) {
        close(fd);
        return failed;
    }
    if ((options & SERIAL_LOW_LATENCY) != 0u) {
        ask_for_low_latency(fd);
    }
    (void)ioctl(fd, TCFLSH, TCIOFLUSH); /* what lies there is older than us */
    return fd;
}

int serial_pty(char *path, size_t path_size)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int failed = 0;
    if (grantpt(fd) != 0 || unlockpt(fd) != 0) {
        failed = -errno;
    } else if (ptsname_r(fd, path, path_size) != 0) {
        failed = -ERANGE;
    }
    /* Opened and closed once: it is raw before the first client, and from now on says when nobody is there. */
    int client = failed == 0 ? serial_open(path, 0, 0) : failed;
    if (client < 0) {
        close(fd);
        return client;
    }
    close(client);
    return fd;
}

int serial_link(const char *device, const char *path)
{
    char old[512];
    if (symlink(device, path) == 0) {
        return 0;
    }
    if (errno != EEXIST) {
        return -errno;
    }
    if (readlink(path, old, sizeof old) < 0) {
        return -EEXIST; /* a file or a folder: not ours to remove */
    }
    return unlink(path) == 0 && symlink(device, path) == 0 ? 0 : -errno;
}

void serial_unlink(const char *device, const char *path)
{
    char now[512];
    ssize_t length = readlink(path, now, sizeof now - 1u);
    if (length > 0) {
        now[length] = '\0';
        if (strcmp(now, device) == 0) {
            (void)unlink(path);
        }
    }
}

bool serial_is_alone(int pty)
{
    struct pollfd p = {pty, POLLIN, 0};
    return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP) != 0;
}

void serial_discard(int fd)
{
    (void)ioctl(fd, TCFLSH, TCIOFLUSH);
}

int serial_set_baud(int fd, uint32_t baud)
{
    struct termios2 t;
    if (ioctl(fd, TCGETS2, &t) != 0) {
        return -errno;
    }
    t.c_cflag = (t.c_cflag & ~(tcflag_t)CBAUD) | BOTHER;
    t.c_ispeed = t.c_ospeed = baud;
    return ioctl(fd, TCSETS2, &t) == 0 ? 0 : -errno;
}

uint32_t serial_baud(int fd)
{
    struct termios2 t;
    return ioctl(fd, TCGETS2, &t) == 0 ? t.c_ospeed : 0u;
}

bool serial_is_low_pulse(uint32_t baud, uint8_t byte, uint32_t *low_us)
{
    if (byte != 0u || baud == 0u || baud >= LOW_PULSE_BAUD) {
        return false;
    }
    *low_us = LOW_BITS * 1000000u / baud;
    return true;
}

int serial_low_begin(int fd, uint32_t low_us)
{
    static const uint8_t zero = 0;
    if (low_us < 400u || low_us > 100000u) {
        return -EINVAL;
    }
    int failed = serial_set_baud(fd, LOW_BITS * 1000000u / low_us);
    if (failed != 0) {
        return failed;
    }
    ssize_t written = write(fd, &zero, 1);
    return written == 1 ? 0 : written == 0 ? -EAGAIN : -errno;
}

int serial_low_end(int fd, uint32_t baud)
{
    int left = 0;
    if (ioctl(fd, TIOCOUTQ, &left) == 0 && left > 0) {
        return 1;
    }
    return serial_set_baud(fd, baud);
}

uint32_t serial_unmark(serial_unmark_t *s, const uint8_t *in, uint32_t count, uint16_t *out)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < count; k++) {
        const uint8_t byte = in[k];
        if (s->pending == 0u && byte == 0xFFu) {
            s->pending = 1;
        } else if (s->pending == 1u && byte == 0x00u) {
            s->pending = 2;
        } else if (s->pending == 2u) {
            out[n++] = byte == 0u ? (uint16_t)SERIAL_BREAK : (uint16_t)(SERIAL_ERROR | byte);
            s->pending = 0;
        } else {
            if (s->pending == 1u && byte != 0xFFu) {
                out[n++] = 0xFFu; /* a driver that does not double: the FF was data */
            }
            out[n++] = byte;
            s->pending = 0;
        }
    }
    return n;
}
