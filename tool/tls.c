/* Addresses of TLS: who we are and whom we trust, as the options say it. Other addresses need none of this. */
#include "tool/tool.h"

#include <errno.h>
#include <string.h>

#include <aioipc/tls.h>

bool tls_is_of(const char *address)
{
	return address && (strncmp(address, "tls:", 4) == 0 || strncmp(address, "rediss:", 7) == 0);
}

#ifdef WITHOUT_TLS

int tls_make(struct tool_options *o)
{
	(void)o;
	say_error("this aioipc was built without TLS");
	errno = EPROTONOSUPPORT;
	return -1;
}

void tls_free(struct tool_options *o)
{
	(void)o;
}

#else

/* The log says what is wrong with a file. */
int tls_make(struct tool_options *o)
{
	const struct aiotls_options to = {.size = sizeof to,
					  .ca = o->tls_ca ? o->tls_ca : "system",
					  .cert = o->tls_cert,
					  .key = o->tls_key,
					  .names = o->tls_name,
					  .n_names = o->n_tls_names,
					  .anonymous = o->tls_anonymous};

	o->tls = aiotls_new(&to);
	return o->tls ? 0 : -1;
}

void tls_free(struct tool_options *o)
{
	aiotls_free(o->tls);
}

#endif

struct aiotls *tls_for(const struct tool_options *o, const char *address)
{
	return tls_is_of(address) ? o->tls : NULL;
}

struct aioconn *tls_connect(const struct tool_options *o, const char *address, struct event_base *base,
			    int64_t deadline)
{
	return tls_is_of(address) ? aioconn_connect_tls(address, o->tls, base, deadline)
				  : aioconn_connect(address, base, deadline);
}
