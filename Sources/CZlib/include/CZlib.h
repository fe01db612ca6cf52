// zlib's streaming half: raw deflate and inflate with a reset between messages. Its gzip files are never used.
#ifndef MARTLET_CZLIB_H
#define MARTLET_CZLIB_H
#include <zlib.h>
#endif
