/* The way from libtpl's nodes to messages; the way back is aiomsg_tpl(). */
#ifndef IPC_MSG_TPL_H
#define IPC_MSG_TPL_H

#include <aioipc/tpl.h>

/* A message with what @tn holds packed. NULL: EINVAL (it can't be dumped, or not as an image that others accept). */
struct aiomsg *ipc_tpl_dump(tpl_node *tn);

#endif
