/* What a dial waits for, in a loop. See dial.h. */
#include "ipc/loop/watch.h"
#include "ipc/net/dial.h"

int ipc_dial_watch(struct ipc_watch *watch[IPC_DIAL_MOST], const struct ipc_dial_wait *w,
		   struct event_base *base, void (*ready)(short what, void *arg), void *arg)
{
	for (unsigned i = 0; i < w->n; i++) {
		short events = w->fd[i].events;
		short what = (short)((events & POLLOUT ? EV_WRITE : 0) | (events & POLLIN ? EV_READ : 0));

		watch[i] = ipc_watch_new(base, w->fd[i].fd, ready, arg);
		if (!watch[i] || ipc_watch_want(watch[i], what) == -1)
			return -1;
	}
	return 0;
}

void ipc_dial_unwatch(struct ipc_watch *watch[IPC_DIAL_MOST])
{
	for (int i = 0; i < IPC_DIAL_MOST; i++) {
		ipc_watch_free(watch[i]);
		watch[i] = NULL;
	}
}
