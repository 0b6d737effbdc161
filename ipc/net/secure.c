/* Whether an address and a struct aiotls go together: see secure.h. */
#include "ipc/net/secure.h"

#include <errno.h>
#include <stddef.h>

#include "ipc/carry/engine.h"

static int refuse(int error, const char **why, const char *text)
{
	*why = text;
	errno = error;
	return -1;
}

int ipc_secure_check(const struct ipc_address *a, struct aiotls *t, bool accepts, const char **why)
{
	const char *lacks;

	if (!a->tls && !t)
		return 0;
	if (!a->tls)
		return refuse(EINVAL, why, "a struct aiotls is for addresses of tls: only");
	if (!t)
		return refuse(
			EPROTONOSUPPORT, why,
			"tls: needs a struct aiotls, which aiotls_new() of libaioipc-tls makes (link with "
			"-laioipc-tls, pkg-config aioipc-tls): give it as the option tls, or to "
			"aioconn_connect_tls()");
	if (t->engine->version != IPC_ENGINE_VERSION)
		return refuse(EPROTONOSUPPORT, why, "libaioipc-tls is not of the release of libaioipc");
	lacks = accepts ? t->engine->check_accepts(t) : NULL;
	return lacks ? refuse(EINVAL, why, lacks) : 0;
}

struct aiotls *ipc_secure_ref(struct aiotls *t)
{
	return t ? t->engine->ref(t) : NULL;
}

void ipc_secure_unref(struct aiotls *t)
{
	if (t)
		t->engine->unref(t);
}
