// The calls that need _GNU_SOURCE, kept out of the header: defining it there would change the layout of structs that
// Swift has imported through Glibc already.
#define _GNU_SOURCE
#include "CLinux.h"
#include <pthread.h>
#include <string.h>

int martlet_accept(int fd, struct sockaddr_storage *address, socklen_t *length) {
    return accept4(fd, (struct sockaddr *)address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

void martlet_name_thread(const char *name) {
    char cut[16];
    strncpy(cut, name, sizeof cut - 1);
    cut[sizeof cut - 1] = 0;
    pthread_setname_np(pthread_self(), cut);
}
