/* Whether a peer's certificate is good for a name, and what it says. */
#include "tls/tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/x509v3.h>

#include <aioipc/listener.h>

#define FLAGS (X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS)
#define SHOWN 256

/* @host without an interface ("%eth0") and without the dot at its end. */
static const char *plain_host(const char *host, char buf[SHOWN])
{
	size_t len = strcspn(host, "%");

	if (len && host[len - 1] == '.')
		len--;
	if (len >= SHOWN)
		return host;
	memcpy(buf, host, len);
	buf[len] = '\0';
	return buf;
}

bool ipc_tls_is_ip(const char *host)
{
	char buf[SHOWN];
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(plain_host(host, buf));

	ASN1_OCTET_STRING_free(ip);
	return ip;
}

static bool has_uri(X509 *x, const char *uri)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	size_t len = strlen(uri);
	bool found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(all) && !found; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);

		found = g->type == GEN_URI &&
			(size_t)ASN1_STRING_length(g->d.uniformResourceIdentifier) == len &&
			memcmp(ASN1_STRING_get0_data(g->d.uniformResourceIdentifier), uri, len) == 0;
	}
	GENERAL_NAMES_free(all);
	return found;
}

/* ".example.org" is for OpenSSL what "*.example.org" is for us. */
static bool has_dns(X509 *x, const char *name)
{
	char buf[SHOWN];

	if (name[0] == '*' && name[1] == '.')
		return X509_check_host(x, name + 1, 0, FLAGS | X509_CHECK_FLAG_SINGLE_LABEL_SUBDOMAINS,
				       NULL) == 1;
	name = plain_host(name, buf);
	return *name && *name != '.' && X509_check_host(x, name, 0, FLAGS, NULL) == 1;
}

static bool has_name(X509 *x, const char *name)
{
	char buf[SHOWN];

	if (ipc_tls_is_ip(name))
		return X509_check_ip_asc(x, plain_host(name, buf), 0) == 1;
	if (strchr(name, ':'))
		return has_uri(x, name);
	if (strchr(name, '@'))
		return X509_check_email(x, name, 0, FLAGS) == 1;
	return has_dns(x, name);
}

bool ipc_tls_is_good_for(X509 *x, const struct tls_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		if (has_name(x, names->name[i]))
			return true;
	return false;
}

/* Text that is cut to its place. */
struct out {
	char *at;
	size_t left;
};

static void say(struct out *o, const char *text, size_t len)
{
	for (; len && o->left > 1; len--, text++, o->left--)
		*o->at++ = *text ? *text : '?';
	*o->at = '\0';
}

static void say_ip(struct out *o, const ASN1_OCTET_STRING *ip)
{
	const unsigned char *p = ASN1_STRING_get0_data(ip);
	int n = ASN1_STRING_length(ip);
	char text[64] = "";

	if (n == 4)
		snprintf(text, sizeof text, "%d.%d.%d.%d", p[0], p[1], p[2], p[3]);
	for (int i = 0; n == 16 && i < 16; i += 2)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%x", i ? ":" : "",
			 (unsigned)p[i] << 8 | p[i + 1]);
	say(o, text, strlen(text));
}

static void say_name(struct out *o, const GENERAL_NAME *g)
{
	const ASN1_STRING *s = g->type == GEN_DNS     ? g->d.dNSName
			       : g->type == GEN_URI   ? g->d.uniformResourceIdentifier
			       : g->type == GEN_EMAIL ? g->d.rfc822Name
						      : NULL;

	if (s)
		say(o, (const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
	else if (g->type == GEN_IPADD)
		say_ip(o, g->d.iPAddress);
}

static void say_names(struct out *o, X509 *x)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
		if (i)
			say(o, ",", 1);
		say_name(o, sk_GENERAL_NAME_value(all, i));
	}
	GENERAL_NAMES_free(all);
}

static void say_common_name(struct out *o, X509 *x)
{
	const X509_NAME *subject = X509_get_subject_name(x);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1), n;
	unsigned char *utf8;

	if (at < 0)
		return;
	n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (n < 0)
		return;
	say(o, (const char *)utf8, (size_t)n);
	OPENSSL_free(utf8);
}

static void say_digest(struct out *o, X509 *x)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n;
	char hex[3];

	if (X509_digest(x, EVP_sha256(), digest, &n) != 1)
		return;
	for (unsigned i = 0; i < n; i++) {
		snprintf(hex, sizeof hex, "%02x", digest[i]);
		say(o, hex, 2);
	}
}

int ipc_tls_tell_of(X509 *x, int field, char *buf, size_t size)
{
	struct out o = {buf, size};

	if (field < AIOTLS_COMMON_NAME || field > AIOTLS_SHA256 || size == 0) {
		errno = EINVAL;
		return -1;
	}
	*buf = '\0';
	if (field == AIOTLS_COMMON_NAME)
		say_common_name(&o, x);
	else if (field == AIOTLS_NAMES)
		say_names(&o, x);
	else
		say_digest(&o, x);
	return 0;
}
