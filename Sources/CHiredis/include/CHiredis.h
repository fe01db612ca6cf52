// hiredis' sans-IO half: the reply reader and command formatting. Its sockets and event adapters are never used.
#ifndef MARTLET_CHIREDIS_H
#define MARTLET_CHIREDIS_H
#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#endif
