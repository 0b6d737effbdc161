/*
 * The errnos of reads and writes, and who is at fault: the peer or the network (LOST), or this process or its system (FAILED). The
 * errno stays as the kernel gave it. aioconn(3) has the same table.
 */
#include "ipc/conn/blame.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

static const struct ipc_blame faults[] = {
	{AIOCONN_LOST, ECONNRESET, "connection reset by the peer"},
	{AIOCONN_LOST, ECONNABORTED, "the connection was aborted"},
	{AIOCONN_LOST, ECONNREFUSED, "the peer refused the connection"},
	{AIOCONN_LOST, ETIMEDOUT, "the connection timed out: the peer does not answer any more"},
	{AIOCONN_LOST, EHOSTUNREACH, "no route to the peer"},
	{AIOCONN_LOST, EHOSTDOWN, "the peer's host is down"},
	{AIOCONN_LOST, ENETUNREACH, "no route to the peer's network"},
	{AIOCONN_LOST, ENETDOWN, "the network is down"},
	{AIOCONN_LOST, ENETRESET, "the network dropped the connection"},
	{AIOCONN_BAD, EPROTO, "the peer wrote into the ring what can't be"},
	{AIOCONN_FAILED, ENOSPC, "the file system, or the device, is full"},
	{AIOCONN_FAILED, EDQUOT, "the user's share of the file system is used up"},
	{AIOCONN_FAILED, EFBIG, "the file may not grow any further"},
	{AIOCONN_FAILED, EROFS, "the file system can only be read"},
	{AIOCONN_FAILED, ESTALE, "the file is gone from its server"},
	{AIOCONN_FAILED, EIO, "input or output failed"},
	{AIOCONN_FAILED, ENXIO, "the device is gone"},
	{AIOCONN_FAILED, ENODEV, "the device is gone"},
	{AIOCONN_FAILED, EPERM, "the system forbids it"},
	{AIOCONN_FAILED, EACCES, "the system forbids it"},
	{AIOCONN_FAILED, EMFILE, "this process has no number left for a descriptor that came"},
	{AIOCONN_FAILED, ENFILE, "the system has no place left for a descriptor that came"},
	{AIOCONN_FAILED, ENOMEM, "there is no memory"},
	{AIOCONN_FAILED, EBADF, "the descriptor was closed by somebody else in this process"},
	{AIOCONN_FAILED, EISDIR, "this is a directory"},
	{AIOCONN_FAILED, ENOTCONN, "the socket is not connected"},
	{AIOCONN_FAILED, EINVAL, "the descriptor is not fit for this"},
};

static struct ipc_blame blame(int error, const char *otherwise)
{
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
		if (faults[i].error == error)
			return faults[i];
	return (struct ipc_blame){AIOCONN_FAILED, error, otherwise};
}

/* The carrier knows more: it tells of the peer what the system does not know. */
static struct ipc_blame by_carrier(int error, const char *why)
{
	bool theirs = error == EACCES || error == EPROTO;

	return (struct ipc_blame){theirs ? AIOCONN_BAD : blame(error, why).cause, error, why};
}

struct ipc_blame ipc_blame_read(int error, const char *why)
{
	if (why)
		return by_carrier(error, why);
	return blame(error == EPIPE ? ECONNRESET : error, "reading failed");
}

struct ipc_blame ipc_blame_write(int error, const char *why)
{
	if (why && error != EPIPE)
		return by_carrier(error, why);
	if (error == EPIPE)
		return (struct ipc_blame){AIOCONN_LOST, ECONNRESET, "the peer closed its reading end"};
	return blame(error, "writing failed");
}

int ipc_blame_send_error(const struct ipc_blame *b)
{
	return b->error == ECONNRESET || b->error == 0 ? EPIPE : b->error;
}
