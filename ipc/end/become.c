/* Options of children: see become.h. */
#include "ipc/end/become.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/end/end.h"
#include "ipc/os/child.h"
#include "ipc/os/sized.h"

int ipc_options_take(struct aioproc_options *to, const struct aioproc_options *o)
{
	return o ? ipc_sized_take(to, sizeof(*to), o) : 0;
}

/* The leader of a session is the leader of a group already. */
static int leave_group(const struct aioproc_options *o)
{
	if (o->new_session)
		return setsid() == -1 ? -1 : 0;
	return o->new_group ? setpgid(0, 0) : 0;
}

int ipc_become(const struct aioproc_options *o, pid_t parent, int tell, int (*set_ids)(uid_t, gid_t))
{
	if (leave_group(o) == -1)
		return -1;
	if (o->set_ids && set_ids(o->uid, o->gid) == -1)
		return -1;
	if (o->die_with_parent && ipc_os_die_with(parent, tell) == -1)
		return -1;
	return o->cwd ? chdir(o->cwd) : 0;
}

static void sort(int *fd, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		int it = fd[i];
		size_t at = i;

		for (; at > 0 && fd[at - 1] > it; at--)
			fd[at] = fd[at - 1];
		fd[at] = it;
	}
}

void ipc_close_all_but(int *keep, size_t n)
{
	int low = STDERR_FILENO + 1;

	sort(keep, n);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] < low)
			continue;
		ipc_os_close_range(low, keep[i] - 1);
		low = keep[i] + 1;
	}
	ipc_os_close_range(low, INT_MAX);
}

int ipc_outcome(struct aioend *rx, struct aioend *tx, pid_t pid)
{
	int error = 0;
	ssize_t n;

	ipc_own_close(&tx->own);
	while ((n = read(rx->own.r.fd, &error, sizeof(error))) == -1 && errno == EINTR)
		;
	if (n != sizeof(error) || error == 0)
		return 0;
	while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
		;
	errno = error;
	return -1;
}
