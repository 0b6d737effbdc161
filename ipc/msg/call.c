/*
 * Messages that are calls, and those that answer them. Only what they are: how they travel, and who waits for whom, is the business
 * of connections.
 */
#include <errno.h>
#include <string.h>

#include <aioipc/call.h>

#include "ipc/msg/ticket.h"
#include "ipc/os/log.h"
#include "ipc/os/text.h"

static struct aiomsg *fail(int error)
{
	errno = error;
	return NULL;
}

/* The error of a refusal stands behind the NUL of its words, where nobody looks. */
static unsigned char *error_place(const struct aiomsg *m)
{
	return (unsigned char *)(uintptr_t)m->data + m->len + 1;
}

uint32_t ipc_msg_refusal_error(const struct aiomsg *m)
{
	uint32_t error;

	memcpy(&error, error_place(m), sizeof error);
	return error;
}

struct aiomsg *ipc_msg_refusal(uint32_t error, const char *text)
{
	size_t len = text ? strlen(text) : 0;
	struct aiomsg *m;

	if (len > UINT32_MAX - sizeof error)
		return fail(EMSGSIZE);
	m = ipc_msg_alloc(IPC_KIND_BYTES, len + sizeof error);
	if (!m)
		return NULL;
	m->role = IPC_REFUSAL;
	m->len = len;
	memcpy(m->data, text ? text : "", len + 1);
	memcpy(error_place(m), &error, sizeof error);
	return m;
}

int ipc_msg_split_refusal(struct aiomsg *m)
{
	const unsigned char *p = m->data;
	uint32_t error = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

	if (error == 0 || error > INT32_MAX)
		return -1;
	m->len -= sizeof error;
	memmove(m->data, m->data + sizeof error, m->len);
	m->data[m->len] = 0;
	ipc_text_tame((char *)m->data);
	memcpy(error_place(m), &error, sizeof error);
	return 0;
}

bool aiomsg_is_call(const struct aiomsg *m)
{
	return m->role == IPC_CALL;
}

bool aiomsg_is_wanted(const struct aiomsg *call)
{
	return call->role == IPC_CALL && call->ticket->ops->wanted(call->ticket);
}

int aiomsg_error(const struct aiomsg *m, const char **text)
{
	if (m->role != IPC_REFUSAL)
		return 0;
	if (text)
		*text = (const char *)m->data;
	return (int)ipc_msg_refusal_error(m);
}

static int check_call(const struct aiomsg *call)
{
	if (call->role == IPC_CALL)
		return call->ticket->ops->check(call->ticket);
	return ipc_refuse("only a call that came from a peer can be answered: see aiomsg_is_call()");
}

static struct aiomsg *make_answer(struct aiomsg *m, enum ipc_role role, const struct aiomsg *call)
{
	if (m)
		ipc_ticket_give(call->ticket, m, role);
	return m;
}

struct aiomsg *aiomsg_answer(const struct aiomsg *call, const char *format, ...)
{
	struct aiomsg *m;
	va_list values;

	if (check_call(call) < 0)
		return NULL;
	va_start(values, format);
	m = ipc_msg_from_values(format, values);
	va_end(values);
	return make_answer(m, IPC_ANSWER, call);
}

/* Duplicates of the descriptors, too. */
static int copy_fds(struct aiomsg *to, const struct aiomsg *from)
{
	for (unsigned i = 0; from->fds && i < from->fds->n; i++) {
		int fd = atomic_load_explicit(&from->fds->fd[i], memory_order_relaxed);

		if (fd >= 0 && aiomsg_add_fd(to, fd) < 0)
			return -1;
	}
	return 0;
}

struct aiomsg *ipc_msg_copy(const struct aiomsg *m)
{
	struct aiomsg *copy = m->memory ? ipc_msg_again(m) : ipc_msg_alloc(m->kind, m->len);
	int error;

	if (!copy)
		return NULL;
	if (!m->memory)
		memcpy(copy->data, m->data, m->len);
	if (copy_fds(copy, m) == 0)
		return copy;
	error = errno;
	aiomsg_free(copy);
	return fail(error);
}

struct aiomsg *aiomsg_answer_msg(const struct aiomsg *call, const struct aiomsg *m)
{
	if (check_call(call) < 0)
		return NULL;
	if (ipc_msg_is_open(m)) {
		ipc_refuse("aiomsg_answer_msg: the message is not sealed: see aiomsg_seal()");
		return NULL;
	}
	return make_answer(ipc_msg_copy(m), IPC_ANSWER, call);
}

struct aiomsg *aiomsg_answer_error(const struct aiomsg *call, int error, const char *text)
{
	if (error <= 0) {
		ipc_refuse("aiomsg_answer_error: %d is no error, they are above 0", error);
		return NULL;
	}
	if (check_call(call) < 0)
		return NULL;
	return make_answer(ipc_msg_refusal((uint32_t)error, text), IPC_REFUSAL, call);
}

int aiomsg_send_answer(struct aiomsg *answer)
{
	if (!answer->ticket || (answer->role != IPC_ANSWER && answer->role != IPC_REFUSAL))
		return ipc_refuse("aiomsg_send_answer: the message is no answer: see aiomsg_answer()");
	return answer->ticket->ops->send(answer->ticket, answer);
}
