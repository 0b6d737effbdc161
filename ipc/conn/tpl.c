/* Sends what a tpl node holds, for programs that use libtpl themselves. */
#include <aioipc/conn.h>
#include <aioipc/msg.h>
#include <aioipc/tpl.h>

#include "ipc/msg/tpl.h"

int aioconn_send_tpl(struct aioconn *c, tpl_node *tn)
{
	struct aiomsg *m = ipc_tpl_dump(tn);
	int r;

	if (!m)
		return -1;
	r = aioconn_send_msg(c, m);
	aiomsg_free(m);
	return r;
}
