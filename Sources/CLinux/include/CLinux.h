// What Glibc's Swift module lacks: epoll, eventfd, signalfd, accept4 and a few macros, as plain functions and
// constants. No logic beyond turning a macro or a variadic call into something that Swift can import.
#ifndef MARTLET_CLINUX_H
#define MARTLET_CLINUX_H

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static inline int martlet_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }
static inline int martlet_epoll_ctl(int ep, int op, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(ep, op, fd, &event);
}
// The event's fields are packed in the kernel's struct; these read them without an unaligned access in Swift.
static inline uint64_t martlet_event_data(const struct epoll_event *events, int index) {
    return events[index].data.u64;
}
static inline uint32_t martlet_event_bits(const struct epoll_event *events, int index) { return events[index].events; }

static inline int martlet_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
static inline int martlet_signalfd(const sigset_t *set) { return signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK); }
// The next two are in CLinux.c: they need _GNU_SOURCE, which must not be defined here, since it changes the layout of
// structs that Glibc's own Swift module has already imported.
// Names the calling thread; longer names are cut to 15 bytes.
void martlet_name_thread(const char *name);
int martlet_accept(int fd, struct sockaddr_storage *address, socklen_t *length);
static inline int martlet_socket(int family) { return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }
static inline int martlet_set_option(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value);
}
static inline int martlet_get_option(int fd, int level, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}
static inline int martlet_local_address(int fd, void *address, socklen_t *length) {
    return getsockname(fd, address, length);
}
static inline int martlet_peer_address(int fd, void *address, socklen_t *length) {
    return getpeername(fd, address, length);
}
static inline int martlet_bind(int fd, const void *address, socklen_t length) { return bind(fd, address, length); }
static inline int martlet_connect(int fd, const void *address, socklen_t length) {
    return connect(fd, address, length);
}
static inline int martlet_trim_memory(void) { return malloc_trim(0); }
static inline int martlet_open_null(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); }
static inline ssize_t martlet_send(int fd, const void *bytes, size_t count) {
    return send(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
}
static inline uint64_t martlet_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static inline uint64_t martlet_unix_milliseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}
static inline int martlet_window_size(int fd, uint16_t *rows, uint16_t *columns) {
    struct winsize w;
    if (ioctl(fd, TIOCGWINSZ, &w) != 0) return -1;
    *rows = w.ws_row;
    *columns = w.ws_col;
    return 0;
}

#endif
