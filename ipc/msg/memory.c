/*
 * Messages whose payload lies in memory that can be passed on by a descriptor, so that nobody copies it. Its maker writes into it until
 * it is sealed; a receiver maps it for reading, after it has looked whether anybody could change it. How such a message travels is the
 * business of connections.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ipc/msg/msg.h"
#include "ipc/os/memory.h"

struct aiomsg *ipc_msg_elsewhere(size_t len)
{
	struct aiomsg *m = ipc_msg_alloc(IPC_KIND_BYTES, sizeof(struct ipc_msgmemory));

	if (!m)
		return NULL;
	m->len = len;
	m->memory = 1;
	*ipc_msg_memory(m) = (struct ipc_msgmemory){.fd = -1};
	return m;
}

static struct aiomsg *fail(struct aiomsg *m, int error)
{
	aiomsg_free(m);
	errno = error;
	return NULL;
}

/* A NUL is behind the payload, as behind any. */
static size_t mapped(const struct aiomsg *m)
{
	return m->len + 1;
}

struct aiomsg *aiomsg_new_shared(size_t len, void **data)
{
	struct ipc_msgmemory *memory;
	struct aiomsg *m;

	if (len > UINT32_MAX)
		return fail(NULL, EMSGSIZE);
	m = ipc_msg_elsewhere(len);
	if (!m)
		return NULL;
	memory = ipc_msg_memory(m);
	memory->fd = ipc_os_memory_for_bytes(mapped(m));
	if (memory->fd == -1)
		return fail(m, errno);
	memory->at = ipc_os_memory_map_open(memory->fd, mapped(m));
	if (!memory->at)
		return fail(m, errno);
	memory->open = true;
	*data = memory->at;
	return m;
}

/* The bytes are lost with their place, and what is left is empty. */
static int lose(struct aiomsg *m, int error)
{
	ipc_msg_unmap(m);
	m->len = 0;
	m->memory = 0;
	m->data[0] = 0;
	errno = error;
	return -1;
}

/* A child that was forked before has it mapped for writing, or a device is at it: the bytes move to memory that nobody else has. */
static int move(struct aiomsg *m)
{
	struct ipc_msgmemory *memory = ipc_msg_memory(m);
	int fd = ipc_os_memory_for_bytes(mapped(m)), error;
	void *at = fd == -1 ? NULL : ipc_os_memory_map_open(fd, mapped(m));

	if (!at) {
		error = errno;
		if (fd >= 0)
			close(fd);
		errno = error;
		return -1;
	}
	memcpy(at, memory->at, mapped(m));
	ipc_os_memory_unmap(at, mapped(m));
	close(memory->fd);
	memory->fd = fd;
	memory->at = ipc_os_memory_map_frozen(memory->at, fd, mapped(m));
	return ipc_os_memory_freeze(fd);
}

static int seal(struct aiomsg *m)
{
	struct ipc_msgmemory *memory = ipc_msg_memory(m);

	memory->at[m->len] = 0;
	memory->at = ipc_os_memory_map_frozen(memory->at, memory->fd, mapped(m));
	if (!memory->at)
		return lose(m, errno);
	if (ipc_os_memory_freeze(memory->fd) == -1 && (errno != EBUSY || move(m) == -1))
		return lose(m, errno);
	memory->open = false;
	return memory->at ? 0 : lose(m, ENOMEM);
}

int aiomsg_seal(struct aiomsg *m)
{
	if (!ipc_msg_is_open(m))
		return 0;
	if (ipc_msg_unshared(m))
		return seal(m);
	errno = EBUSY;
	return -1;
}

int ipc_msg_map(struct aiomsg *m, int fd, const char **wrong)
{
	struct ipc_msgmemory *memory = ipc_msg_memory(m);

	*wrong = NULL;
	memory->fd = fd;
	if (!ipc_os_memory_is_frozen(fd, mapped(m)))
		*wrong = "message in memory that is not sealed, not of its length, or not all there";
	else if (!(memory->at = ipc_os_memory_map_frozen(NULL, fd, mapped(m))))
		return -1;
	else if (memory->at[m->len])
		*wrong = "message in memory without a NUL behind it";
	if (!*wrong)
		return 0;
	errno = EBADMSG;
	return -1;
}

struct aiomsg *ipc_msg_again(const struct aiomsg *m)
{
	struct aiomsg *again = ipc_msg_elsewhere(m->len);
	struct ipc_msgmemory *memory = again ? ipc_msg_memory(again) : NULL;

	if (!again)
		return NULL;
	memory->fd = fcntl(ipc_msg_memory(m)->fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (memory->fd == -1)
		return fail(again, errno);
	memory->at = ipc_os_memory_map_frozen(NULL, memory->fd, mapped(again));
	return memory->at ? again : fail(again, errno);
}
