/* A bell, as in ipc/os/bell.h, that fork closes in the child from the moment it exists. */
#ifndef IPC_OWN_BELL_H
#define IPC_OWN_BELL_H

#include "ipc/own/own.h"

/* To wait for at own->r, to ring at own->w; @own is initialised and empty. -1: EMFILE, ENFILE. */
int ipc_own_bell(struct ipc_own *own);

#endif
