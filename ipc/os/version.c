/* Which library this is. */
#include <aioipc/base.h>

const char *aioipc_version(void)
{
	return AIOIPC_VERSION;
}
