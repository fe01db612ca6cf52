// floor: the least that a room server on epoll has to do, written in C, to compare Martlet with in the same run.
//
// It speaks WebSocket without any care (no timeouts, no limits, no checks of what a peer sends, messages in one frame
// only), so it must never leave a test machine; it listens on 127.0.0.1. What it does is what no server can avoid: one
// read per wake-up of a connection, unmask, and one send per receiver and wake-up. Threads share nothing but the port
// (SO_REUSEPORT); a publication for members on other threads is handed over under a lock.
//
//   J<room>          join; the same text comes back          P<room>|<data>   every member gets <room>|<data>
//   anything else    comes back as it is
//
// usage: floor [PORT [THREADS]]; port 0 takes a free one; the line "listening on HOST:PORT" on stderr says which.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 256 * 1024, EVENTS = 512, ROOM_BUCKETS = 1024, THREADS_MAX = 64 };

typedef struct { char *bytes; size_t count, capacity; } buffer;

typedef struct room {
    struct room *next;          // in its hash bucket
    struct room *next_dirty;    // on the list of this wake-up
    bool dirty;
    int members_count, members_capacity;
    struct connection **members;
    buffer pending;             // frames that this wake-up brought, sent together
    size_t name_length;
    char name[];
} room;

typedef struct connection {
    int fd, place;              // place: index among the room's members
    bool open, wants_write, dead;
    room *room;
    buffer rest;                // an incomplete request or frame
    buffer backlog;             // what the socket did not take
    struct connection *next_dead;
} connection;

typedef struct {
    int epoll, listener, wake;
    room *buckets[ROOM_BUCKETS];
    room *dirty;
    connection *dead;
    char *input;
    buffer replies;             // answers to what one read brought, sent together
    pthread_mutex_t lock;
    buffer mail;                // from other threads: {u32 name length, u32 frame length, name, frame}...
} worker;

static worker *workers;
static int workers_count = 1;
static char listener_mark, wake_mark;

static void fail(const char *what) { perror(what); exit(1); }

static void reserve(buffer *b, size_t more) {
    if (b->count + more <= b->capacity) return;
    size_t capacity = b->capacity * 2 > b->count + more ? b->capacity * 2 : b->count + more;
    b->bytes = realloc(b->bytes, capacity);
    if (b->bytes == NULL) fail("realloc");
    b->capacity = capacity;
}

static void append(buffer *b, const void *bytes, size_t count) {
    if (count == 0) return;
    reserve(b, count);
    memcpy(b->bytes + b->count, bytes, count);
    b->count += count;
}

// ---- SHA-1 (RFC 3174), for Sec-WebSocket-Accept only ----------------------------------------------------------------

static uint32_t rotate(uint32_t x, int by) { return x << by | x >> (32 - by); }

static void sha1_block(uint32_t h[5], const uint8_t *block) {
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? ((b & c) | (~b & d)) + 0x5A827999 : i < 40 ? (b ^ c ^ d) + 0x6ED9EBA1
                   : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC : (b ^ c ^ d) + 0xCA62C1D6;
        uint32_t t = rotate(a, 5) + f + e + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = t;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

// The key is 24 characters and RFC 6455's GUID 36: 60 bytes, which with their padding are always two blocks.
static void accept_key(const char *key, char out[29]) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t blocks[128] = {0}, digest[21] = {0};
    memcpy(blocks, key, 24);
    memcpy(blocks + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
    blocks[60] = 0x80;
    blocks[126] = 480 >> 8, blocks[127] = 480 & 255;
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    sha1_block(h, blocks);
    sha1_block(h, blocks + 64);
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
    for (int i = 0; i < 7; i++) {
        uint32_t three = digest[3 * i] << 16 | digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (int j = 0; j < 4; j++) out[4 * i + j] = alphabet[three >> (18 - 6 * j) & 63];
    }
    out[27] = '=';
    out[28] = 0;
}

// ---- output ---------------------------------------------------------------------------------------------------------

static void leave(connection *c) {
    room *r = c->room;
    if (r == NULL) return;
    connection *last = r->members[--r->members_count];
    r->members[c->place] = last;
    last->place = c->place;
    c->room = NULL;
}

// Marked here, freed at the end of the wake-up: the caller may be in the middle of a room's members.
static void finish(worker *w, connection *c) {
    if (c->dead) return;
    c->dead = true;
    c->next_dead = w->dead;
    w->dead = c;
}

static void watch(worker *w, connection *c, bool writing) {
    if (c->wants_write == writing) return;
    c->wants_write = writing;
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(w->epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void send_all(worker *w, connection *c, const char *bytes, size_t count) {
    if (c->dead) return;
    if (c->backlog.count > 0) { append(&c->backlog, bytes, count); return; }
    ssize_t sent = send(c->fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == (ssize_t)count) return;
    if (sent < 0 && errno != EAGAIN) { finish(w, c); return; }
    if (sent < 0) sent = 0;
    append(&c->backlog, bytes + sent, count - sent);
    watch(w, c, true);
}

static void drain_backlog(worker *w, connection *c) {
    ssize_t sent = send(c->fd, c->backlog.bytes, c->backlog.count, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) { if (errno != EAGAIN) finish(w, c); return; }
    memmove(c->backlog.bytes, c->backlog.bytes + sent, c->backlog.count - sent);
    c->backlog.count -= sent;
    if (c->backlog.count == 0) watch(w, c, false);
}

static void append_header(buffer *b, uint8_t first, size_t length) {
    uint8_t head[10] = {first, (uint8_t)length};
    size_t size = 2;
    if (length > 65535) {
        head[1] = 127, size = 10;
        for (int i = 0; i < 8; i++) head[2 + i] = (uint8_t)((uint64_t)length >> (56 - 8 * i));
    } else if (length > 125) {
        head[1] = 126, head[2] = (uint8_t)(length >> 8), head[3] = (uint8_t)length, size = 4;
    }
    append(b, head, size);
}

// ---- rooms ----------------------------------------------------------------------------------------------------------

static room *find_room(worker *w, const char *name, size_t length, bool make) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)name[i]) * 1099511628211u;
    room **bucket = &w->buckets[hash % ROOM_BUCKETS];
    for (room *r = *bucket; r != NULL; r = r->next)
        if (r->name_length == length && memcmp(r->name, name, length) == 0) return r;
    if (!make) return NULL;
    room *r = calloc(1, sizeof *r + length);
    if (r == NULL) fail("calloc");
    memcpy(r->name, name, length);
    r->name_length = length;
    r->next = *bucket;
    return *bucket = r;
}

static void join(worker *w, connection *c, const char *name, size_t length) {
    leave(c);
    room *r = find_room(w, name, length, true);
    if (r->members_count == r->members_capacity) {
        r->members_capacity = r->members_capacity ? 2 * r->members_capacity : 8;
        r->members = realloc(r->members, r->members_capacity * sizeof *r->members);
        if (r->members == NULL) fail("realloc");
    }
    c->room = r;
    c->place = r->members_count;
    r->members[r->members_count++] = c;
}

static void mark_dirty(worker *w, room *r) {
    if (r->dirty) return;
    r->dirty = true;
    r->next_dirty = w->dirty;
    w->dirty = r;
}

static void publish(worker *w, uint8_t opcode, const char *text, size_t length) {
    const char *bar = memchr(text, '|', length);
    if (bar == NULL) return;
    size_t name_length = bar - text;
    room *r = find_room(w, text, name_length, true);
    size_t before = r->pending.count;
    append_header(&r->pending, 0x80 | opcode, length);
    append(&r->pending, text, length);
    mark_dirty(w, r);
    uint32_t head[2] = {(uint32_t)name_length, (uint32_t)(r->pending.count - before)};
    for (int i = 0; i < workers_count; i++) {
        worker *other = &workers[i];
        if (other == w) continue;
        pthread_mutex_lock(&other->lock);
        bool first = other->mail.count == 0;
        append(&other->mail, head, sizeof head);
        append(&other->mail, text, name_length);
        append(&other->mail, r->pending.bytes + before, head[1]);
        pthread_mutex_unlock(&other->lock);
        if (first && eventfd_write(other->wake, 1) != 0) fail("eventfd_write");
    }
}

static void read_mail(worker *w) {
    eventfd_t ignored;
    eventfd_read(w->wake, &ignored);
    pthread_mutex_lock(&w->lock);
    buffer mail = w->mail;
    w->mail = (buffer){0};
    pthread_mutex_unlock(&w->lock);
    for (size_t at = 0; at < mail.count;) {
        uint32_t head[2];
        memcpy(head, mail.bytes + at, sizeof head);
        at += sizeof head;
        room *r = find_room(w, mail.bytes + at, head[0], false);
        at += head[0];
        if (r != NULL && r->members_count > 0) {
            append(&r->pending, mail.bytes + at, head[1]);
            mark_dirty(w, r);
        }
        at += head[1];
    }
    free(mail.bytes);
}

static void flush_rooms(worker *w) {
    while (w->dirty != NULL) {
        room *r = w->dirty;
        w->dirty = r->next_dirty;
        r->dirty = false;
        for (int i = 0; i < r->members_count; i++) send_all(w, r->members[i], r->pending.bytes, r->pending.count);
        r->pending.count = 0;
    }
}

// ---- input ----------------------------------------------------------------------------------------------------------

static void unmask(char *bytes, size_t count, uint32_t key) {
    uint64_t wide = (uint64_t)key << 32 | key, word;
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        memcpy(&word, bytes + i, 8);
        word ^= wide;
        memcpy(bytes + i, &word, 8);
    }
    for (; i < count; i++) bytes[i] ^= (char)(key >> (8 * (i % 4)));
}

static void message(worker *w, connection *c, uint8_t opcode, const char *bytes, size_t count) {
    if (opcode == 9) {
        append_header(&w->replies, 0x8A, count);
        append(&w->replies, bytes, count);
    } else if (opcode == 8) {
        append_header(&w->replies, 0x88, count > 2 ? 2 : count);
        append(&w->replies, bytes, count > 2 ? 2 : count);
    } else if (opcode == 10) {
        return;
    } else if (count > 1 && bytes[0] == 'P') {
        publish(w, opcode, bytes + 1, count - 1);
    } else {
        if (count > 1 && bytes[0] == 'J') join(w, c, bytes + 1, count - 1);
        append_header(&w->replies, 0x80 | opcode, count);
        append(&w->replies, bytes, count);
    }
}

// Takes the next whole frame off the input, in place; 0 when it has not all come yet.
static size_t take_frame(worker *w, connection *c, char *at, size_t count) {
    const uint8_t *head = (const uint8_t *)at;
    if (count < 6) return 0;
    uint64_t length = head[1] & 127;
    size_t size = 6;
    if (length == 126) {
        length = (uint64_t)head[2] << 8 | head[3], size = 8;
    } else if (length == 127) {
        if (count < 14) return 0;
        length = 0, size = 14;
        for (int i = 0; i < 8; i++) length = length << 8 | head[2 + i];
    }
    if (count < size || count - size < length) return 0;
    uint32_t key;
    memcpy(&key, at + size - 4, 4);
    unmask(at + size, length, key);
    message(w, c, head[0] & 15, at + size, length);
    return size + length;
}

static size_t take_request(worker *w, connection *c, char *at, size_t count) {
    char *end = memmem(at, count, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    *end = 0;
    char *key = strcasestr(at, "\r\nsec-websocket-key:");
    if (key == NULL) { finish(w, c); return count; }
    key += strlen("\r\nsec-websocket-key:");
    while (*key == ' ') key++;
    if (end - key < 24) { finish(w, c); return count; }
    char accepted[29], response[256];
    accept_key(key, accepted);
    int length = snprintf(response, sizeof response, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accepted);
    append(&w->replies, response, length);
    c->open = true;
    return end + 4 - at;
}

static void readable(worker *w, connection *c) {
    size_t kept = c->rest.count;
    if (kept > READ_SIZE / 2) { finish(w, c); return; }
    if (kept > 0) memcpy(w->input, c->rest.bytes, kept);
    ssize_t got = recv(c->fd, w->input + kept, READ_SIZE - kept, MSG_DONTWAIT);
    if (got <= 0) { if (got == 0 || errno != EAGAIN) finish(w, c); return; }
    size_t count = kept + got, at = 0, taken;
    c->rest.count = 0;
    do {
        taken = c->open ? take_frame(w, c, w->input + at, count - at) : take_request(w, c, w->input + at, count - at);
        at += taken;
    } while (taken > 0 && !c->dead);
    if (at < count && !c->dead) append(&c->rest, w->input + at, count - at);
    if (w->replies.count > 0) send_all(w, c, w->replies.bytes, w->replies.count);
    w->replies.count = 0;
}

static void accept_all(worker *w) {
    for (;;) {
        int fd = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
        if (fd < 0) return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection *c = calloc(1, sizeof *c);
        if (c == NULL) fail("calloc");
        c->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
    }
}

static void free_dead(worker *w) {
    while (w->dead != NULL) {
        connection *c = w->dead;
        w->dead = c->next_dead;
        leave(c);
        close(c->fd);
        free(c->rest.bytes);
        free(c->backlog.bytes);
        free(c);
    }
}

static void *run(void *argument) {
    worker *w = argument;
    static _Thread_local struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(w->epoll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            void *subject = events[i].data.ptr;
            if (subject == &listener_mark) { accept_all(w); continue; }
            if (subject == &wake_mark) { read_mail(w); continue; }
            connection *c = subject;
            if (events[i].events & EPOLLOUT) drain_backlog(w, c);
            if (!c->dead && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(w, c);
        }
        flush_rooms(w);
        free_dead(w);
    }
    return NULL;
}

// ---- start ----------------------------------------------------------------------------------------------------------

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
    if (listen(fd, 4096) != 0) fail("listen");
    return fd;
}

int main(int count, char **arguments) {
    int port = count > 1 ? atoi(arguments[1]) : 0;
    workers_count = count > 2 ? atoi(arguments[2]) : 1;
    if (port < 0 || port > 65535 || workers_count < 1 || workers_count > THREADS_MAX) {
        fprintf(stderr, "usage: floor [PORT [THREADS]]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    workers = calloc(workers_count, sizeof *workers);
    if (workers == NULL) fail("calloc");
    for (int i = 0; i < workers_count; i++) {
        worker *w = &workers[i];
        w->listener = listen_on(port);
        struct sockaddr_in bound;
        socklen_t size = sizeof bound;
        getsockname(w->listener, (struct sockaddr *)&bound, &size);
        port = ntohs(bound.sin_port);
        w->epoll = epoll_create1(EPOLL_CLOEXEC);
        w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        w->input = malloc(READ_SIZE + 1);
        if (w->epoll < 0 || w->wake < 0 || w->input == NULL) fail("start");
        pthread_mutex_init(&w->lock, NULL);
        struct epoll_event listening = {.events = EPOLLIN, .data.ptr = &listener_mark};
        struct epoll_event waking = {.events = EPOLLIN, .data.ptr = &wake_mark};
        epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->listener, &listening);
        epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &waking);
    }
    fprintf(stderr, "listening on 127.0.0.1:%d\n", port);
    for (int i = 1; i < workers_count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, &workers[i]) != 0) fail("pthread_create");
    }
    run(&workers[0]);
}
