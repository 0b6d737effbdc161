/*
 * Waiting for descriptors, see ipc_os_poll(). poll(2) refuses more descriptors than RLIMIT_NOFILE; in a sandbox that may open nothing that is
 * even one. pselect(2) has no such limit, so it is used then.
 */
#include "ipc/os/os.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/select.h>
#include <time.h>

#define WORD_BITS (8 * sizeof(unsigned long))
#define FEW 16 /* words: 1024 descriptors */

static size_t words_for(const struct pollfd *fds, nfds_t n)
{
	int most = 0;

	for (nfds_t i = 0; i < n; i++)
		if (fds[i].fd > most)
			most = fds[i].fd;
	return (size_t)most / WORD_BITS + 1;
}

static unsigned long *word(unsigned long *set, int fd)
{
	return &set[(size_t)fd / WORD_BITS];
}

static unsigned long bit(int fd)
{
	return 1UL << ((size_t)fd % WORD_BITS);
}

static void ask(const struct pollfd *fds, nfds_t n, unsigned long *in, unsigned long *out)
{
	for (nfds_t i = 0; i < n; i++) {
		if (fds[i].fd >= 0 && (fds[i].events & POLLIN))
			*word(in, fds[i].fd) |= bit(fds[i].fd);
		if (fds[i].fd >= 0 && (fds[i].events & POLLOUT))
			*word(out, fds[i].fd) |= bit(fds[i].fd);
	}
}

/* How many are ready. After an error or a hang-up, a descriptor is readable or writable; the read or write reports it. */
static int answer(struct pollfd *fds, nfds_t n, unsigned long *in, unsigned long *out)
{
	int ready = 0;

	for (nfds_t i = 0; i < n; i++) {
		fds[i].revents = 0;
		if (fds[i].fd < 0)
			continue;
		if (*word(in, fds[i].fd) & bit(fds[i].fd))
			fds[i].revents |= fds[i].events & POLLIN;
		if (*word(out, fds[i].fd) & bit(fds[i].fd))
			fds[i].revents |= fds[i].events & POLLOUT;
		ready += fds[i].revents != 0;
	}
	return ready;
}

static int select_instead(struct pollfd *fds, nfds_t n, const struct timespec *t)
{
	unsigned long few[2 * FEW] = {0}, *in = few, *out;
	size_t words = words_for(fds, n);
	int r, error;

	if (words > FEW && !(in = calloc(2 * words, sizeof *in)))
		return -1;
	out = in + words;
	ask(fds, n, in, out);
	r = pselect((int)(words * WORD_BITS), (fd_set *)(void *)in, (fd_set *)(void *)out, NULL, t, NULL);
	error = errno;
	if (r >= 0)
		r = answer(fds, n, in, out);
	if (in != few)
		free(in);
	errno = error;
	return r;
}

int ipc_os_poll(struct pollfd *fds, nfds_t n, int64_t ns)
{
	const struct timespec t = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
	const struct timespec *most = ns < 0 ? NULL : &t;
	int r = ppoll(fds, n, most, NULL);

	return r == -1 && errno == EINVAL && n > 0 ? select_instead(fds, n, most) : r;
}
