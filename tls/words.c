/* What went wrong in a session, as errno and in words. */
#include "tls/tls.h"

#include <errno.h>

#include <openssl/err.h>
#include <openssl/x509.h>

/* The peer's certificate was not taken here. */
static const struct {
	long code;
	const char *why;
} refusals[] = {
	{X509_V_ERR_CERT_HAS_EXPIRED, "the peer's certificate has expired"},
	{X509_V_ERR_CERT_NOT_YET_VALID, "the peer's certificate is not valid yet"},
	{X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
	 "no authority that is trusted here has signed the peer's certificate"},
	{X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
	 "no authority that is trusted here has signed the peer's certificate"},
	{X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
	 "no authority that is trusted here has signed the peer's certificate"},
	{X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "the peer has signed its certificate itself"},
	{X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "the authority of the peer's certificate is not trusted here"},
	{X509_V_ERR_CERT_SIGNATURE_FAILURE, "the signature of the peer's certificate is wrong"},
	{X509_V_ERR_INVALID_PURPOSE, "the peer's certificate is for another purpose"},
	{X509_V_ERR_INVALID_CA, "the signer of the peer's certificate is no authority"},
	{X509_V_ERR_HOSTNAME_MISMATCH, "the peer's certificate is for another name"},
	{X509_V_ERR_EE_KEY_TOO_SMALL, "the key of the peer's certificate is too short"},
	{X509_V_ERR_CA_KEY_TOO_SMALL, "the key of the peer's authority is too short"},
	{X509_V_ERR_CA_MD_TOO_WEAK, "the signature of the peer's certificate is too weak"},
};

/* The peer said why it does not go on. */
static const struct {
	int alert, error;
	const char *why;
} alerts[] = {
	{SSL_AD_BAD_CERTIFICATE, EACCES, "the peer does not take our certificate"},
	{SSL_AD_UNSUPPORTED_CERTIFICATE, EACCES,
	 "the peer does not take our certificate: it is for another purpose"},
	{SSL_AD_CERTIFICATE_REVOKED, EACCES, "the peer does not take our certificate: it was revoked"},
	{SSL_AD_CERTIFICATE_EXPIRED, EACCES, "the peer does not take our certificate: it is not valid now"},
	{SSL_AD_CERTIFICATE_UNKNOWN, EACCES, "the peer does not take our certificate"},
	{SSL_AD_UNKNOWN_CA, EACCES, "the peer does not trust the authority of our certificate"},
	{SSL_AD_ACCESS_DENIED, EACCES, "the peer lets us not in"},
	{SSL_AD_CERTIFICATE_REQUIRED, EACCES, "the peer asks for a certificate, and none was shown"},
	{SSL_AD_DECRYPT_ERROR, EPROTO, "the peer could not decrypt or verify what came"},
	{SSL_AD_BAD_RECORD_MAC, EPROTO, "what came to the peer was tampered with"},
	{SSL_AD_PROTOCOL_VERSION, EPROTO, "the peer does not speak TLS 1.3"},
	{SSL_AD_HANDSHAKE_FAILURE, EPROTO, "the peer and we have no cipher in common"},
};

static struct tls_fault refusal(long code)
{
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
		if (refusals[i].code == code)
			return (struct tls_fault){EACCES, refusals[i].why};
	return (struct tls_fault){EACCES, "the peer's certificate is no good"};
}

static struct tls_fault alert(int number)
{
	for (size_t i = 0; i < sizeof alerts / sizeof *alerts; i++)
		if (alerts[i].alert == number)
			return (struct tls_fault){alerts[i].error, alerts[i].why};
	return (struct tls_fault){EPROTO, "the peer broke off by an alert of TLS"};
}

struct tls_fault ipc_tls_fault_of(unsigned long e, long verified)
{
	int reason = ERR_GET_REASON(e);

	if (ERR_GET_LIB(e) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
		return alert(reason - SSL_AD_REASON_OFFSET);
	if (reason == ERR_R_MALLOC_FAILURE)
		return (struct tls_fault){ENOMEM, "there is no memory"};
	switch (ERR_GET_LIB(e) == ERR_LIB_SSL ? reason : 0) {
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return refusal(verified);
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return (struct tls_fault){EACCES, "the peer shows no certificate"};
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
	case SSL_R_BAD_RECORD_TYPE:
		return (struct tls_fault){EPROTO, "the peer does not speak TLS"};
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_UNKNOWN_PROTOCOL:
		return (struct tls_fault){EPROTO, "the peer does not speak TLS 1.3"};
	default:
		return (struct tls_fault){EPROTO, "what came is not TLS 1.3, or was tampered with"};
	}
}
