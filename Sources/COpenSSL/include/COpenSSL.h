// The part of OpenSSL that Martlet uses: digests for the opening handshake, random bytes. TLS joins with the wss
// listener.
#ifndef MARTLET_COPENSSL_H
#define MARTLET_COPENSSL_H
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#endif
