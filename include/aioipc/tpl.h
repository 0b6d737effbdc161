/* For programs that use libtpl themselves: sending and receiving messages as tpl nodes. It needs <tpl.h>. */
#ifndef AIOIPC_TPL_H
#define AIOIPC_TPL_H

#include <tpl.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aioconn;
struct aiomsg;

/*
 * Sends what is packed in @tn. @tn stays the caller's.
 * Errno: as aioconn_send(); EINVAL also when libtpl can't dump @tn. Since 0.1.
 */
AIOIPC_API int aioconn_send_tpl(struct aioconn *c, tpl_node *tn);

/*
 * Makes a tpl node and loads the message into it, for tpl_unpack(). The arguments after @format are the variables that
 * tpl_map() takes for it. The caller frees the node with tpl_free(), before the message.
 * Errno: EBADMSG (plain bytes, or a message of another format), EINVAL (@format is not a format). Since 0.1.
 */
AIOIPC_API tpl_node *aiomsg_tpl(const struct aiomsg *m, const char *format, ...);

#ifdef __cplusplus
}
#endif

#endif
