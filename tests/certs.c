/* See certs.h. */
#include "tests/certs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "tests/harness.h"

#define DAY 86400

static char folder[] = "/tmp/aioipc-certs.XXXXXX";

const char *cert_path(const char *name)
{
	static _Thread_local char room[64][300];
	static _Thread_local unsigned n;
	char *path = room[n++ % 64];

	snprintf(path, sizeof *room, "%s/%s", folder, name);
	return path;
}

static const char *with(const char *name, const char *end)
{
	char file[64];

	snprintf(file, sizeof file, "%s%s", name, end);
	return cert_path(file);
}

static EVP_PKEY *read_key(const char *name)
{
	FILE *f = must(fopen(with(name, ".key"), "re"));
	EVP_PKEY *key = must(PEM_read_PrivateKey(f, NULL, NULL, NULL));

	fclose(f);
	return key;
}

static X509 *read_cert(const char *name)
{
	FILE *f = must(fopen(with(name, ".pem"), "re"));
	X509 *x = must(PEM_read_X509(f, NULL, NULL, NULL));

	fclose(f);
	return x;
}

/* Whole or not at all, as who reloads may look at any time. */
static void write_files(const char *name, X509 *x, EVP_PKEY *key)
{
	FILE *f = must(fopen(with(name, ".new"), "we"));

	ck_assert_int_eq(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
	must(chmod(with(name, ".new"), 0600));
	must(rename(with(name, ".new"), with(name, ".key")));
	f = must(fopen(with(name, ".new"), "we"));
	ck_assert_int_eq(PEM_write_X509(f, x), 1);
	fclose(f);
	must(rename(with(name, ".new"), with(name, ".pem")));
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	if (!value)
		return;
	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = must(X509V3_EXT_conf_nid(NULL, &ctx, nid, value));
	ck_assert_int_eq(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

static void set_name(X509 *x, const char *name)
{
	ck_assert_int_eq(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
						    (const unsigned char *)name, -1, -1, 0),
			 1);
}

void make_cert(const struct cert *c)
{
	static long serial = 1;
	bool self = c->ca && strcmp(c->ca, "self") == 0;
	EVP_PKEY *key = must(c->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
	EVP_PKEY *signer = self ? key : read_key(c->ca ? c->ca : "ca");
	X509 *x = must(X509_new()), *issuer = self ? x : read_cert(c->ca ? c->ca : "ca");

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial++ * 1000 + (long)getpid());
	X509_gmtime_adj(X509_getm_notBefore(x), c->from ? c->from : -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), c->to ? c->to : DAY);
	X509_set_pubkey(x, key);
	set_name(x, c->name);
	X509_set_issuer_name(x, X509_get_subject_name(issuer));
	extend(x, issuer, NID_basic_constraints, c->authority ? "critical,CA:TRUE" : "CA:FALSE");
	extend(x, issuer, NID_key_usage, c->authority ? "critical,keyCertSign,cRLSign" : NULL);
	extend(x, issuer, NID_subject_key_identifier, "hash");
	extend(x, issuer, NID_authority_key_identifier, self ? NULL : "keyid:always");
	extend(x, issuer, NID_subject_alt_name, c->names);
	extend(x, issuer, NID_ext_key_usage, c->use);
	ck_assert_int_gt(X509_sign(x, signer, EVP_sha256()), 0);
	write_files(c->name, x, key);
	X509_free(x);
	EVP_PKEY_free(key);
	if (self)
		return;
	X509_free(issuer);
	EVP_PKEY_free(signer);
}

void make_certs(void)
{
	must(mkdtemp(folder));
	make_cert(&(struct cert){.name = "ca", .ca = "self", .authority = true});
}

void make_usual_certs(void)
{
	make_certs();
	make_cert(&(struct cert){.name = "server", .names = "DNS:localhost,IP:127.0.0.1"});
	make_cert(&(struct cert){.name = "client", .names = "DNS:client.example.org,URI:urn:aio:worker"});
}

void remove_certs(void)
{
	DIR *d = must(opendir(folder));
	struct dirent *e;

	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			must(unlink(cert_path(e->d_name)));
	closedir(d);
	must(rmdir(folder));
}

struct aiotls_options tls_options(const char *name)
{
	return (struct aiotls_options){.size = sizeof(struct aiotls_options),
				       .ca = with("ca", ".pem"),
				       .cert = name ? with(name, ".pem") : NULL,
				       .key = name ? with(name, ".key") : NULL};
}

struct aiotls *new_tls(const char *name)
{
	struct aiotls_options o = tls_options(name);

	return must(aiotls_new(&o));
}
