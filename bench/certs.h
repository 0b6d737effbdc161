/* An authority and one certificate for both sides. Made with openssl. */
#ifndef BENCH_CERTS_H
#define BENCH_CERTS_H

/* The folder, which goes when the program ends, and in which "ca.pem" and "both.pem", a certificate and its key for 127.0.0.1, are. */
const char *certs_make(void);

#endif
