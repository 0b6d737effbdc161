/* One attempt to connect: see dial.h. */
#include "ipc/net/dial.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/end/end.h"
#include "ipc/end/log.h"
#include "ipc/net/address.h"
#include "ipc/net/lookup.h"
#include "ipc/net/socket.h"
#include "ipc/os/socket.h"

/* A unix peer's backlog is full: nothing tells when there is room. */
#define RETRY_NS (INT64_C(10) * 1000 * 1000)

struct ipc_dial {
	struct ipc_address address;
	struct ipc_os_keepalive keepalive;
	struct ipc_lookup *lookup;
	struct addrinfo *found;    /* of a name */
	struct addrinfo path;      /* of a unix socket */
	const struct addrinfo *at; /* the one that is tried */
	struct aioend *end;        /* being connected */
	bool begun, waits, connected;
	int error; /* of the first address that failed: they come best first */
	const char *why;
	uint32_t epoch;
};

struct ipc_dial *ipc_dial_new(const char *address)
{
	struct ipc_dial *d = calloc(1, sizeof *d);
	const char *why;

	if (!d)
		return NULL;
	d->why = "";
	d->epoch = ipc_epoch();
	if (ipc_address_read(&d->address, address, IPC_TO_CONNECT, &why) == 0)
		return d;
	ipc_log("connect to %s: %s", address ? address : "", why);
	free(d);
	errno = EINVAL;
	return NULL;
}

void ipc_dial_keep_alive(struct ipc_dial *d, const struct ipc_os_keepalive *k)
{
	d->keepalive = *k;
}

/* Finds out what to try. 1, 0, -1 as a step. */
static int begin(struct ipc_dial *d)
{
	d->begun = true;
	if (d->address.kind == IPC_ADDRESS_TCP) {
		d->lookup = ipc_lookup_start(d->address.host, d->address.port);
		return d->lookup ? 1 : -1;
	}
	d->path = (struct addrinfo){.ai_family = AF_UNIX,
				    .ai_addr = (struct sockaddr *)(void *)&d->address.un,
				    .ai_addrlen = d->address.un_len};
	d->at = &d->path;
	return 1;
}

static int look_up(struct ipc_dial *d, struct ipc_dial_wait *w)
{
	int r = ipc_lookup_take(d->lookup, &d->found, &d->why);

	if (r == 0) {
		w->fd = ipc_lookup_fd(d->lookup);
		w->events = POLLIN;
		return 0;
	}
	if (r == -1)
		ipc_log("connect to tcp://%s:%s: %s", d->address.host, d->address.port, d->why);
	ipc_lookup_free(d->lookup);
	d->lookup = NULL;
	d->at = d->found;
	return r;
}

/* A socket for the address that is tried, not connected. */
static int open_socket(struct ipc_dial *d)
{
	d->end = ipc_end_new();
	if (!d->end)
		return -1;
	if (ipc_net_socket(&d->end->own, d->at->ai_family, SOCK_STREAM) == 0) {
		if (d->at->ai_family != AF_UNIX)
			ipc_os_keep_alive(d->end->own.r.fd, &d->keepalive);
		return 0;
	}
	ipc_end_dispose(d->end);
	d->end = NULL;
	return -1;
}

/* One address: 1 connected, 0 wait, -1 not to be had. */
static int try_one(struct ipc_dial *d, struct ipc_dial_wait *w)
{
	int fd, r = 0;

	if (!d->end && open_socket(d) == -1)
		return -1;
	fd = d->end->own.r.fd;
	if (!d->waits) {
		r = ipc_os_connect(fd, d->at->ai_addr, d->at->ai_addrlen);
		if (r == -1 && errno == EAGAIN && d->at->ai_family == AF_UNIX) {
			w->ns = RETRY_NS;
			return 0;
		}
		if (r == -1 && errno != EINPROGRESS)
			return -1;
		d->waits = true;
	}
	r = ipc_os_connected(fd);
	w->fd = fd;
	w->events = POLLOUT;
	return r;
}

static void next(struct ipc_dial *d)
{
	if (!d->error)
		d->error = errno;
	aioend_free(d->end);
	d->end = NULL;
	d->waits = false;
	d->at = d->at->ai_next;
}

static int connect_to_one(struct ipc_dial *d, struct ipc_dial_wait *w)
{
	int r;

	while (d->at) {
		r = try_one(d, w);
		if (r >= 0) {
			d->connected = r == 1;
			return r;
		}
		next(d);
	}
	errno = d->error;
	return -1;
}

/* It stays so. */
static void fail(struct ipc_dial *d)
{
	d->error = errno;
	d->at = NULL;
	if (!*d->why)
		d->why = strerror(d->error);
}

int ipc_dial_step(struct ipc_dial *d, struct ipc_dial_wait *w)
{
	int r = 1;

	*w = (struct ipc_dial_wait){.fd = -1, .ns = -1};
	if (d->epoch != ipc_epoch()) {
		errno = ECHILD;
		return -1;
	}
	if (d->connected)
		return 1;
	if (!d->begun)
		r = begin(d);
	if (r == 1 && d->lookup)
		r = look_up(d, w);
	if (r == 1)
		r = connect_to_one(d, w);
	if (r == -1)
		fail(d);
	return r;
}

bool ipc_dial_looks_up(const struct ipc_dial *d)
{
	return d->lookup;
}

struct aioconn *ipc_dial_open(struct ipc_dial *d, struct event_base *base)
{
	struct aioconn *c;

	if (!d->connected || !d->end) {
		errno = ENOTCONN;
		return NULL;
	}
	ipc_os_set_nonblock(d->end->own.r.fd, false, NULL);
	c = aioend_open(d->end, base);
	if (c)
		d->end = NULL;
	return c;
}

const char *ipc_dial_why(const struct ipc_dial *d)
{
	return d->why;
}

void ipc_dial_free(struct ipc_dial *d)
{
	int error = errno;

	if (!d)
		return;
	ipc_lookup_free(d->lookup);
	aioend_free(d->end);
	if (d->found)
		freeaddrinfo(d->found);
	free(d);
	errno = error;
}
