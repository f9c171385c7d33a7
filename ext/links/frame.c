/* What a frame may be, and TCP sockets. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "links/internal.h"

#define FD_CODES 16u
static const uint8_t fd_lengths[FD_CODES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64};

uint8_t fd_length(uint8_t dlc)
{
    return fd_lengths[dlc & 15u];
}

uint8_t fd_dlc(uint8_t length)
{
    if (length <= 8u) {
        return length;
    }
    for (uint8_t k = 9; k < FD_CODES; k++) {
        if (fd_lengths[k] == length) {
            return k;
        }
    }
    return 0xFF;
}

bool frame_is_possible(const link_t *l, const link_frame_t *f)
{
    const uint32_t most = (f->flags & (ECU_CAN_EXTENDED | ECU_CAN_ERROR)) != 0u ? 0x1FFFFFFFu : 0x7FFu;
    if (f->id > most) {
        return false;
    }
    if ((f->flags & ECU_CAN_FD) != 0u) {
        const bool plain = (f->flags & (ECU_CAN_REMOTE | ECU_CAN_ERROR)) == 0u;
        return plain && (l->config.options & LINK_FD) != 0u && fd_dlc(f->length) != 0xFFu;
    }
    return f->length <= 8u && (f->flags & ECU_CAN_BRS) == 0u;
}

/* A far end that is gone without a word (a pulled cable) is noticed within some ten seconds. */
void tcp_tune(int fd)
{
    const int on = 1, idle_s = 4, interval_s = 2, probes = 3, unheard_ms = 10000;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unheard_ms, sizeof unheard_ms);
}

int tcp_socket(const link_config_t *c, bool listen_here)
{
    char service[8];
    struct addrinfo want, *found = NULL;
    const int on = 1;
    memset(&want, 0, sizeof want);
    want.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    want.ai_socktype = SOCK_STREAM;
    snprintf(service, sizeof service, "%u", (unsigned)(c->port & 0xFFFFu));
    if (getaddrinfo(c->host, service, &want, &found) != 0) {
        return -EADDRNOTAVAIL;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int failed = fd < 0 ? -errno : 0;
    if (failed == 0 && listen_here) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        failed = bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0 ? -errno : 0;
    } else if (failed == 0) {
        tcp_tune(fd);
        failed = connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS ? -errno : 0;
    }
    freeaddrinfo(found);
    if (failed != 0 && fd >= 0) {
        close(fd);
    }
    return failed != 0 ? failed : fd;
}
