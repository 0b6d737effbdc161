/* Certificates for tests: an authority, and what it signs, as files in a folder of the test's own. */
#ifndef TESTS_CERTS_H
#define TESTS_CERTS_H

#include <aioipc/tls.h>

/* Makes the folder, in which "ca.pem" and "ca.key" are; removes it with all that is in it. Each test for itself. */
void make_certs(void);
void remove_certs(void);

/* The path of @name in it; good until the 64th next call. */
const char *cert_path(const char *name);

/* What is not given is: of "ca", valid from an hour ago for a day, without extensions but that it is no authority. */
struct cert {
	const char *name;  /* the files NAME.pem and NAME.key, and the common name */
	const char *ca;    /* "self": signed by itself */
	const char *names; /* subjectAltName */
	const char *use;   /* extendedKeyUsage */
	long from, to;     /* seconds from now */
	bool authority;
	bool rsa; /* else P-256 */
};
void make_cert(const struct cert *c);

/* "server" is good for localhost and 127.0.0.1, "client" for client.example.org and urn:aio:worker. */
void make_usual_certs(void);

/* With NAME.pem and NAME.key; NULL: without a certificate. It trusts "ca". */
struct aiotls_options tls_options(const char *name);
struct aiotls *new_tls(const char *name);

#endif
