/* The addresses of a name: see lookup.h. */
#include "ipc/net/lookup.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/end/own.h"
#include "ipc/end/thread.h"
#include "ipc/net/address.h"
#include "ipc/net/socket.h"
#include "ipc/os/bell.h"

/* Of the caller, and while it runs of the thread; who comes last frees it. */
struct ipc_lookup {
	struct ipc_own bell; /* the caller's; the thread rings it unless given up, which the lock guards */
	pthread_mutex_t lock;
	bool over, given_up;
	int status, error; /* of getaddrinfo */
	struct addrinfo *found;
	char host[IPC_HOST_MOST + 1], port[6];
};

static void destroy(struct ipc_lookup *l)
{
	if (l->found)
		freeaddrinfo(l->found);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static void ask(struct ipc_lookup *l, int flags)
{
	const bool any = strcmp(l->host, "*") == 0;
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = flags | AI_NUMERICSERV | AI_PASSIVE};

	errno = 0;
	l->status = getaddrinfo(any ? NULL : l->host, l->port, &hints, &l->found);
	l->error = errno;
	if (l->status)
		l->found = NULL;
}

static void *look_up(void *arg)
{
	struct ipc_lookup *l = arg;
	bool given_up;

	ask(l, 0);
	pthread_mutex_lock(&l->lock);
	l->over = true;
	given_up = l->given_up;
	if (!given_up)
		ipc_os_bell_ring(l->bell.w.fd);
	pthread_mutex_unlock(&l->lock);
	if (given_up)
		destroy(l);
	return NULL;
}

/* Numbers are known at once: the bell rings before anyone waits. */
static int begin(struct ipc_lookup *l)
{
	ask(l, AI_NUMERICHOST);
	if (l->status == EAI_NONAME)
		return ipc_thread_start(look_up, l, 0);
	l->over = true;
	ipc_os_bell_ring(l->bell.w.fd);
	return 0;
}

struct ipc_lookup *ipc_lookup_start(const char *host, const char *port)
{
	struct ipc_lookup *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	ipc_own_init(&l->bell);
	pthread_mutex_init(&l->lock, NULL);
	snprintf(l->host, sizeof l->host, "%s", host);
	snprintf(l->port, sizeof l->port, "%s", port);
	if (ipc_net_bell(&l->bell) == 0 && begin(l) == 0)
		return l;
	ipc_own_close(&l->bell);
	destroy(l);
	return NULL;
}

int ipc_lookup_fd(const struct ipc_lookup *l)
{
	return l->bell.r.fd;
}

static int error_of(int status, int error)
{
	switch (status) {
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return ENOENT;
	case EAI_MEMORY:
		return ENOMEM;
	case EAI_SYSTEM:
		return error == EMFILE || error == ENFILE || error == ENOMEM ? error : EHOSTUNREACH;
	default:
		return EHOSTUNREACH;
	}
}

int ipc_lookup_take(struct ipc_lookup *l, struct addrinfo **found, const char **why)
{
	bool over;

	if (ipc_own_check(&l->bell) == -1)
		return -1;
	pthread_mutex_lock(&l->lock);
	over = l->over;
	pthread_mutex_unlock(&l->lock);
	if (!over)
		return 0;
	if (l->status) {
		*why = l->status == EAI_SYSTEM ? strerror(l->error) : gai_strerror(l->status);
		errno = error_of(l->status, l->error);
		return -1;
	}
	*found = l->found;
	l->found = NULL;
	return 1;
}

/* In a forked child there is no thread, and the lock may be as it left it. */
void ipc_lookup_free(struct ipc_lookup *l)
{
	bool over = true, ours;
	int error = errno;

	if (!l)
		return;
	ours = ipc_own_check(&l->bell) == 0;
	if (ours) {
		pthread_mutex_lock(&l->lock);
		over = l->over;
		l->given_up = true;
		ipc_own_close(&l->bell);
		pthread_mutex_unlock(&l->lock);
	} else {
		ipc_own_close(&l->bell);
		if (!l->over)
			l->found = NULL;
	}
	if (over)
		destroy(l);
	errno = error;
}
