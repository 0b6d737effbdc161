/* For those who hold tpl nodes: sending and reading messages with libtpl. Needs <tpl.h>. */
#ifndef AIOIPC_TPL_H
#define AIOIPC_TPL_H

#include <tpl.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aioconn;
struct aiomsg;

/* Sends what @tn holds packed; @tn stays the caller's. Errno: as aioconn_send(), EINVAL (it can't be dumped). Since 0.1. */
AIOIPC_API int aioconn_send_tpl(struct aioconn *c, tpl_node *tn);

/*
 * A node with the message loaded into it, mapped to the variables that follow as by tpl_map(), for
 * tpl_unpack(). The caller frees it with tpl_free(), before the message. Errno: EBADMSG (plain bytes, or another
 * format), EINVAL (not a format). Since 0.1.
 */
AIOIPC_API tpl_node *aiomsg_tpl(const struct aiomsg *m, const char *format, ...);

#ifdef __cplusplus
}
#endif

#endif
