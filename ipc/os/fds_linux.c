/*
 * Closing all descriptors of a range, also where the kernel has no call for it: see os.h, and the rule of child.h. The highest open number may
 * exceed the present limit, which may have been lowered.
 */
#include "ipc/os/os.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/os/child.h"

#ifdef SYS_ppoll
#define SYS_PPOLL SYS_ppoll
#else
#define SYS_PPOLL SYS_ppoll_time64
#endif

#define POLLED_MOST 1024

/* For numbers without /proc: the kernel's usual limit, and the highest number that is tried. */
#define USUAL_MOST (1 << 20)
#define NUMBERS_MOST (1 << 24)

/* Of getdents64(2). */
struct entry {
	uint64_t ino;
	int64_t off;
	unsigned short size;
	unsigned char type;
	char name[];
};

/* -1: no number. */
static int number_of(const char *name)
{
	int n = 0;

	if (*name < '0' || *name > '9')
		return -1;
	for (; *name >= '0' && *name <= '9'; name++)
		n = n * 10 + (*name - '0');
	return n;
}

static void close_listed(const char *at, const char *end, int low, int high, int folder)
{
	while (at < end) {
		const struct entry *e = (const struct entry *)at;
		int fd = number_of(e->name);

		if (fd >= low && fd <= high && fd != folder)
			ipc_os_raw_close(fd);
		at += e->size;
	}
}

/* The kernel continues after the last number that it returned, so closing them meanwhile is fine. */
static int close_by_proc(int low, int high)
{
	int folder = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_Alignas(struct entry) char room[2048];
	long n;

	if (folder == -1)
		return -1;
	while ((n = syscall(SYS_getdents64, folder, room, sizeof room)) > 0)
		close_listed(room, room + n, low, high, folder);
	ipc_os_raw_close(folder);
	return n == 0 ? 0 : -1;
}

static int highest(const struct rlimit *l)
{
	rlim_t most = l->rlim_max > USUAL_MOST ? l->rlim_max : USUAL_MOST;

	return most > NUMBERS_MOST ? NUMBERS_MOST - 1 : (int)most - 1;
}

/* Closes @n numbers from @low. poll(2) tells which are open; when it fails, all are closed. */
static void close_some(int low, int n)
{
	const int64_t at_once[2] = {0, 0}; /* in either of its sizes */
	struct pollfd fds[POLLED_MOST];
	bool told;

	for (int i = 0; i < n; i++)
		fds[i] = (struct pollfd){.fd = low + i};
	told = syscall(SYS_PPOLL, fds, n, at_once, NULL, 0) >= 0;
	for (int i = 0; i < n; i++)
		if (!told || !(fds[i].revents & POLLNVAL))
			ipc_os_raw_close(low + i);
}

static void close_by_number(int low, int high, const struct rlimit *l)
{
	int n, most = highest(l);

	if (high > most)
		high = most;
	for (; low <= high; low += n) {
		n = high - low + 1;
		if (n > POLLED_MOST)
			n = POLLED_MOST;
		if (l->rlim_max && (rlim_t)n > l->rlim_max) /* more are refused */
			n = (int)l->rlim_max;
		close_some(low, n);
	}
}

/* With the highest possible soft limit meanwhile: poll(2) and opening the folder obey it too. */
void ipc_os_close_range_slowly(int low, int high)
{
	struct rlimit was = {0, 0}, l;

	if (low > high)
		return;
	getrlimit(RLIMIT_NOFILE, &was);
	l = was;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	if (close_by_proc(low, high) == -1)
		close_by_number(low, high, &l);
	setrlimit(RLIMIT_NOFILE, &was);
}

void ipc_os_close_range(int low, int high)
{
	if (low > high)
		return;
#ifdef SYS_close_range
	if (syscall(SYS_close_range, (unsigned)low, (unsigned)high, 0) == 0)
		return;
#endif
	ipc_os_close_range_slowly(low, high);
}
