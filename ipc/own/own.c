/* What the owner of descriptors calls: see own.h. */
#include "ipc/own/own.h"

#include "ipc/os/log.h"
#include "ipc/os/os.h"
#include "ipc/own/board.h"

_Thread_local void (*ipc_own_closes)(int fd);

void ipc_own_init(struct ipc_own *own)
{
	*own = (struct ipc_own){.next = own,
				.prev = own,
				.epoch = ipc_epoch(),
				.spare = {-1, -1},
				.r = {.fd = -1},
				.w = {.fd = -1}};
}

int ipc_own_set(struct ipc_own *own, int rfd, int wfd)
{
	struct ipc_fd r, w;

	if (ipc_fd_set(&r, rfd) == -1 || (wfd != rfd && ipc_fd_set(&w, wfd) == -1))
		return -1;
	own->r = r;
	own->w = wfd == rfd ? r : w;
	return 0;
}

int ipc_own_transfer(struct ipc_own *to, struct ipc_own *from)
{
	if (ipc_own_check(from) == -1 || ipc_own_hold() == -1)
		return -1;
	if (from->moved || from->detacher) {
		errno = from->moved ? EBADF : EBUSY;
		ipc_own_let_go();
		return -1;
	}
	ipc_own_unlink(from);
	*to = *from;
	ipc_own_link(to);
	from->r.fd = from->w.fd = -1;
	ipc_own_let_go();
	return 0;
}

void ipc_own_remove(struct ipc_own *own)
{
	bool held = ipc_own_hold_anyway();

	ipc_own_undetach_held(own);
	ipc_own_unlink(own);
	if (held)
		ipc_own_let_go();
}

int ipc_own_set_nonblock(struct ipc_own *own)
{
	int error;

	if (ipc_fd_nonblock(&own->r) == -1)
		return -1;
	if (ipc_fd_nonblock(&own->w) == 0)
		return 0;
	error = errno;
	ipc_fd_give_flags_back(&own->r);
	own->r.nonblock = false;
	errno = error;
	return -1;
}

/* A shell's terminal and pipes must block again when this process has ended. */
static void give_all_flags_back(const struct ipc_own *own)
{
	if (!own->adopted)
		return;
	if (ipc_fd_is_ours(&own->r))
		ipc_fd_give_flags_back(&own->r);
	if (ipc_fd_is_ours(&own->w))
		ipc_fd_give_flags_back(&own->w);
}

static void tell_closing(const struct ipc_own *own, int fd)
{
	if (ipc_own_closes && fd != -1 && own->epoch == ipc_epoch())
		ipc_own_closes(fd);
}

static void close_one(struct ipc_own *own, struct ipc_fd *f)
{
	bool held;

	if (f->fd == -1)
		return;
	if (own->r.fd != own->w.fd)
		tell_closing(own, f->fd);
	held = ipc_own_hold_anyway();
	ipc_own_close_fd_held(own, f);
	if (held)
		ipc_own_let_go();
}

void ipc_own_close_read(struct ipc_own *own)
{
	close_one(own, &own->r);
}

void ipc_own_close_write(struct ipc_own *own)
{
	close_one(own, &own->w);
}

void ipc_own_close(struct ipc_own *own)
{
	bool held;

	tell_closing(own, own->r.fd);
	tell_closing(own, own->w.fd);
	held = ipc_own_hold_anyway();
	ipc_own_close_held(own);
	if (held)
		ipc_own_let_go();
}

__attribute__((destructor)) void ipc_own_end_in_order(void)
{
	bool held = ipc_own_hold_anyway();

	for (struct ipc_own *own = ipc_own_list.next; own != &ipc_own_list; own = own->next) {
		if (ipc_own_check(own) == -1)
			continue;
		if (own->in_order)
			own->in_order(own);
		give_all_flags_back(own);
	}
	if (held)
		ipc_own_let_go();
	ipc_board_end();
}

int ipc_own_detach(struct ipc_own *own)
{
	uint64_t self = ipc_thread_serial();
	int rc = -1;

	if (ipc_own_check(own) == -1 || ipc_own_hold() == -1)
		return -1;
	if (own->moved)
		errno = EBADF;
	else if (own->detacher && own->detacher != self)
		errno = EBUSY;
	else if (own->detacher || ipc_os_pipe(own->spare) == 0) {
		own->detacher = self;
		rc = 0;
	}
	ipc_own_let_go();
	return rc;
}

int ipc_own_reclaim(struct ipc_own *own)
{
	bool was_detached, moved;

	if (ipc_own_check(own) == -1 || ipc_own_hold() == -1)
		return -1;
	moved = own->moved;
	was_detached = own->detacher != 0;
	if (!moved && was_detached)
		ipc_own_undetach_held(own);
	ipc_own_let_go();
	if (moved) {
		errno = EBADF;
		return -1;
	}
	return was_detached ? 0 : ipc_refuse("aioend_reclaim: this end is not detached");
}

size_t ipc_own_detached(struct ipc_own **list, size_t room)
{
	uint64_t self = ipc_thread_serial();
	struct ipc_own *own;
	size_t n = 0;

	if (ipc_own_hold() == -1)
		return 0;
	for (own = ipc_own_list.next; own != &ipc_own_list; own = own->next) {
		if (own->detacher != self)
			continue;
		if (n < room)
			list[n] = own;
		n++;
	}
	ipc_own_let_go();
	return n;
}
