/* Whether an address and a struct aiotls go together. */
#ifndef IPC_NET_SECURE_H
#define IPC_NET_SECURE_H

#include <stdbool.h>

#include "ipc/net/address.h"

struct aiotls;

/* -1: EPROTONOSUPPORT (there is none, or it is of another release), EINVAL; *@why, a string constant, says it in words. */
int ipc_secure_check(const struct ipc_address *a, struct aiotls *t, bool accepts, const char **why);

/* @t may be NULL. */
struct aiotls *ipc_secure_ref(struct aiotls *t);
void ipc_secure_unref(struct aiotls *t);

#endif
