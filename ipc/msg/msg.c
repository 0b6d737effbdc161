/*
 * A message: counted memory with a payload, maybe with descriptors. What the payload says is the codec's business
 * (encode.c, decode.c), where it comes from the connection's. Everybody uses this.
 */
#include "ipc/msg/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/msg/format.h"
#include "ipc/msg/image.h"
#include "ipc/msg/pool.h"
#include "ipc/msg/ticket.h"
#include "ipc/os/log.h"
#include "ipc/os/memory.h"

/* A payload of 2^k bytes, and a NUL, fit into a block of the pool. With one byte more, 64 KiB would take 128. */
_Static_assert(sizeof(struct aiomsg) < IPC_POOL_HEADER, "IPC_POOL_HEADER is too small");

#define FDS_MOST 253 /* what the kernel lets one sendmsg carry */

struct aiomsg *ipc_msg_alloc(enum ipc_kind kind, size_t len)
{
	struct aiomsg *m;
	size_t block;

	if (len >= SIZE_MAX - sizeof *m) {
		errno = ENOMEM;
		return NULL;
	}
	m = ipc_pool_get(sizeof *m + len + 1, &block);
	if (!m)
		return NULL;
	*m = (struct aiomsg){.refs = 1, .kind = kind & 31U, .role = IPC_PLAIN, .block = block, .len = len};
	m->data[len] = 0;
	return m;
}

size_t ipc_msg_room(const struct aiomsg *m)
{
	return m->block - sizeof *m - 1;
}

int ipc_msg_grow(struct aiomsg **m, size_t len, size_t keep)
{
	struct aiomsg *old = *m, *new;

	new = ipc_msg_alloc(old->kind, len);
	if (!new)
		return -1;
	memcpy(new->data, old->data, keep);
	new->len = old->len;
	new->role = old->role;
	new->fds = old->fds;
	ipc_pool_put(old, old->block);
	*m = new;
	return 0;
}

int ipc_msg_seal(struct aiomsg *m, char *why, size_t size)
{
	const char *wrong = NULL;

	m->data[m->len] = 0;
	if (m->kind == IPC_KIND_TPL)
		wrong = ipc_msg_check(m);
	if (!wrong)
		return 0;
	snprintf(why, size, "%s", wrong);
	errno = EBADMSG;
	return -1;
}

static struct ipc_msgstrings *copy_strings(const struct aiomsg *m)
{
	struct ipc_msgstrings *s;
	size_t most = m->len, block; /* each has a length in the image, its NUL needs less */

	if (most > 4096)
		most = ipc_image_strings(m->data, m->len, NULL);
	s = ipc_pool_get(sizeof *s + most, &block);
	if (!s)
		return NULL;
	s->block = block;
	ipc_image_strings(m->data, m->len, s->text);
	return s;
}

/* The strings of an image, made by the first who asks. NULL with ENOMEM. */
static const char *strings_of(const struct aiomsg *m)
{
	struct ipc_msgstrings *s = atomic_load_explicit(&m->strings, memory_order_acquire), *mine;

	if (s)
		return s->text;
	mine = copy_strings(m);
	if (!mine)
		return NULL;
	/* Threads that share the message may be here at once: the first one's copy stays. */
	if (atomic_compare_exchange_strong(&((struct aiomsg *)m)->strings, &s, mine))
		return mine->text;
	ipc_pool_put(mine, mine->block);
	return s->text;
}

/* In two passes: how long it is, and then the values. */
static struct aiomsg *from_any_values(const char *format, va_list values)
{
	struct aiomsg *m = NULL;
	va_list again;
	size_t len;

	va_copy(again, values);
	if (ipc_image_size(format, values, &len) == 0)
		m = ipc_msg_alloc(IPC_KIND_TPL, len);
	if (m)
		ipc_image_write(m->data, len, format, again);
	va_end(again);
	return m;
}

struct aiomsg *ipc_msg_from_values(const char *format, va_list values)
{
	struct aiomsg *m = ipc_msg_alloc(IPC_KIND_TPL, 0); /* most fit into the smallest block */
	va_list once;

	if (!m)
		return NULL;
	va_copy(once, values);
	m->len = ipc_image_write_plain(m->data, ipc_msg_room(m), format, once);
	va_end(once);
	m->data[m->len] = 0;
	if (m->len)
		return m;
	aiomsg_free(m);
	return from_any_values(format, values);
}

struct aiomsg *aiomsg_new(const char *format, ...)
{
	struct aiomsg *m;
	va_list values;

	va_start(values, format);
	m = ipc_msg_from_values(format, values);
	va_end(values);
	return m;
}

struct aiomsg *aiomsg_new_bytes(const void *data, size_t len)
{
	struct aiomsg *m;

	if (len > UINT32_MAX) {
		errno = EMSGSIZE;
		return NULL;
	}
	m = ipc_msg_alloc(IPC_KIND_BYTES, len);
	if (m && len > 0)
		memcpy(m->data, data, len);
	return m;
}

struct aiomsg *aiomsg_from_image(const void *image, size_t len)
{
	struct aiomsg *m;
	char why[128];

	if (len > UINT32_MAX) {
		errno = EMSGSIZE;
		return NULL;
	}
	m = ipc_msg_alloc(IPC_KIND_TPL, len);
	if (!m)
		return NULL;
	if (len > 0)
		memcpy(m->data, image, len);
	if (ipc_msg_seal(m, why, sizeof why) == 0)
		return m;
	aiomsg_free(m);
	ipc_log("no image of a message: %s", why);
	errno = EBADMSG;
	return NULL;
}

const char *aiomsg_format(const struct aiomsg *m)
{
	return m->kind == IPC_KIND_TPL ? (const char *)m->data + IPC_IMAGE_FORMAT : NULL;
}

const void *aiomsg_bytes(const struct aiomsg *m, size_t *len)
{
	if (len)
		*len = m->len;
	return ipc_msg_bytes(m);
}

unsigned aiomsg_part(const struct aiomsg *m)
{
	return m->part;
}

/* Room for the most that a message can have: one size for the pool, and nothing grows. */
static struct ipc_msgfds *need_fds(struct aiomsg *m)
{
	size_t block;

	if (!m->fds) {
		m->fds = ipc_pool_get(sizeof *m->fds + FDS_MOST * sizeof m->fds->fd[0], &block);
		if (m->fds) {
			m->fds->block = block;
			m->fds->n = 0;
		}
	}
	return m->fds;
}

/* Descriptors that were taken leave holes. */
static void close_ranks(struct ipc_msgfds *fds)
{
	unsigned n = 0;

	for (unsigned i = 0; i < fds->n; i++) {
		int fd = atomic_load_explicit(&fds->fd[i], memory_order_relaxed);

		if (fd >= 0)
			atomic_store_explicit(&fds->fd[n++], fd, memory_order_relaxed);
	}
	fds->n = n;
}

int ipc_msg_give_fds(struct aiomsg *m, const int *fd, unsigned n)
{
	struct ipc_msgfds *fds;

	fds = need_fds(m);
	if (!fds)
		return -1;
	close_ranks(fds);
	if (n > FDS_MOST - fds->n) {
		errno = EMSGSIZE;
		return -1;
	}
	for (unsigned i = 0; i < n; i++)
		atomic_init(&fds->fd[fds->n++], fd[i]);
	return 0;
}

int aiomsg_add_fd(struct aiomsg *m, int fd)
{
	int copy, error;

	if (!ipc_msg_unshared(m)) {
		errno = EBUSY;
		return -1;
	}
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy == -1)
		return -1;
	if (ipc_msg_give_fds(m, &copy, 1) == 0)
		return 0;
	error = errno;
	close(copy);
	errno = error;
	return -1;
}

unsigned aiomsg_fds(const struct aiomsg *m)
{
	unsigned left = 0;

	for (unsigned i = 0; m->fds && i < m->fds->n; i++)
		left += atomic_load_explicit(&m->fds->fd[i], memory_order_relaxed) >= 0;
	return left;
}

int aiomsg_take_fd(struct aiomsg *m)
{
	for (unsigned i = 0; m->fds && i < m->fds->n; i++) {
		int fd = atomic_exchange(&m->fds->fd[i], -1);

		if (fd >= 0)
			return fd;
	}
	errno = ENOENT;
	return -1;
}

struct aiomsg *aiomsg_ref(struct aiomsg *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

static void free_fds(struct ipc_msgfds *fds)
{
	for (unsigned i = 0; i < fds->n; i++) {
		int fd = atomic_load_explicit(&fds->fd[i], memory_order_relaxed);

		if (fd >= 0)
			close(fd);
	}
	ipc_pool_put(fds, fds->block);
}

void ipc_msg_unmap(struct aiomsg *m)
{
	struct ipc_msgmemory *memory = ipc_msg_memory(m);

	if (memory->at)
		ipc_os_memory_unmap(memory->at, m->len + 1);
	if (memory->fd >= 0)
		close(memory->fd);
}

__attribute__((noinline)) static void free_extras(struct aiomsg *m, struct ipc_msgstrings *strings)
{
	if (strings)
		ipc_pool_put(strings, strings->block);
	if (m->fds)
		free_fds(m->fds);
	if (m->memory)
		ipc_msg_unmap(m);
	if (m->ticket)
		ipc_ticket_drop(m->ticket);
	if (m->receipt)
		m->receipt->freed(m->receipt, m->place);
}

void aiomsg_free(struct aiomsg *m)
{
	struct ipc_msgstrings *strings;

	if (!m)
		return;
	/* The last holder needs no atomic subtraction: nobody can take a reference behind its back. */
	if (!ipc_msg_unshared(m) && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	strings = atomic_load_explicit(&m->strings, memory_order_relaxed);
	if (strings || m->fds || m->ticket || m->receipt || m->memory)
		free_extras(m, strings);
	ipc_pool_put(m, m->block);
}

int ipc_msg_view(const struct aiomsg *m, const char *format, struct ipc_view *v)
{
	struct ipc_format f;

	if (m->kind == IPC_KIND_TPL && ipc_image_view(m->data, format, v))
		return 0;
	if (ipc_format_take(format, &f) == -1)
		return -1;
	if (m->kind == IPC_KIND_TPL)
		ipc_log("the message is \"%.100s\", not \"%.100s\" as it is asked for", aiomsg_format(m),
			format);
	else
		ipc_log("the message is plain bytes, not \"%.100s\" as it is asked for", format);
	errno = EBADMSG;
	return -1;
}

int ipc_msg_read(const struct aiomsg *m, const char *format, struct ipc_view *v)
{
	if (ipc_msg_view(m, format, v) == -1)
		return -1;
	if (!v->copies)
		return 0;
	v->place.text = strings_of(m);
	return v->place.text ? 0 : -1;
}

/* Is @format, of letters alone, known to be the image's? */
static inline bool is_plain(const struct aiomsg *m, const char *format)
{
	const char *p = (const char *)m->data + IPC_IMAGE_FORMAT;

	if (m->letters == 0)
		return false;
	while (*p && *p == *format)
		p++, format++;
	return *p == *format;
}

static inline int unpack_plain(const struct aiomsg *m, struct ipc_args *a)
{
	const char *format = (const char *)m->data + IPC_IMAGE_FORMAT, *end = format + m->letters;
	struct ipc_place place = {(const unsigned char *)end + 1, ipc_image_swapped(m->data), NULL};

	if (m->copies && !(place.text = strings_of(m)))
		return -1;
	ipc_image_read_plain(format, end, a, &place);
	return 0;
}

int aiomsg_unpack(const struct aiomsg *m, const char *format, ...)
{
	struct ipc_args a = {.differs = EBADMSG};
	struct ipc_view v;
	int error = 0;

	if (is_plain(m, format)) {
		va_start(a.ap, format);
		error = unpack_plain(m, &a);
		va_end(a.ap);
		return error;
	}
	if (ipc_msg_read(m, format, &v) == -1)
		return -1;
	a.counts = v.counts;
	a.swap = v.place.swap;
	va_start(a.ap, format);
	if (v.plain)
		ipc_image_read_plain(v.format, v.end, &a, &v.place);
	else
		error = ipc_image_read_part(v.format, v.end, &a, &v.place);
	va_end(a.ap);
	return error;
}
