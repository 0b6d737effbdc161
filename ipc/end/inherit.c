/*
 * The ends that aioproc_exec() gave to this program. An environment entry lists them (its format is in end.h). It counts only if it names this
 * process, and only for descriptors that are still the same files. The first call registers all of them, so that no child of this process
 * gets one.
 */
#include "ipc/end/end.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/own/registry.h"

static struct slot {
	char name[IPC_NAME_MOST + 1];
	struct ipc_own own;
	bool ring;
	bool wrong; /* its numbers mean other files */
	atomic_bool taken;
} slots[IPC_ENDS_MOST];
static size_t nslots;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool matches(struct ipc_fd *f, unsigned long long dev, unsigned long long ino)
{
	f->dev = (dev_t)dev;
	f->ino = (ino_t)ino;
	return f->fd == -1 || (f->fd >= 0 && ipc_fd_is_ours(f));
}

/* One "NAME,r,w,rdev,rino,wdev,wino", or with ",ring" behind it. */
static bool read_slot(const char *text, struct slot *s)
{
	struct ipc_fd r = {.fd = -1}, w = {.fd = -1};
	unsigned long long rdev, rino, wdev, wino;
	int len = 0;

	if (sscanf(text, "%63[" IPC_NAME_CHARS "],%d,%d,%llu,%llu,%llu,%llu%n", s->name, &r.fd, &w.fd, &rdev,
		   &rino, &wdev, &wino, &len) != 7)
		return false;
	s->ring = strncmp(text + len, IPC_ENDS_RING, strlen(IPC_ENDS_RING)) == 0;
	s->wrong = !matches(&r, rdev, rino) || !matches(&w, wdev, wino) ||
		   ipc_end_adopt(&s->own, r.fd, w.fd) == -1;
	return true;
}

static void read_environment(void)
{
	const char *text = secure_getenv(IPC_ENDS_ENTRY);
	char *end;

	if (!text || strtoll(text, &end, 10) != getpid() || *end != ':')
		return;
	for (text = end; text && nslots < IPC_ENDS_MOST; text = strchr(text, ';')) {
		ipc_own_init(&slots[nslots].own);
		if (!read_slot(++text, &slots[nslots]))
			return;
		nslots++;
	}
}

/* In a forked child, ends of the parent do not count. */
static struct slot *find(const char *name)
{
	struct slot *s;

	for (s = slots; s < slots + nslots; s++)
		if (strcmp(s->name, name) == 0 && ipc_own_check(&s->own) == 0)
			return s;
	errno = ENOENT;
	return NULL;
}

struct aioend *aioend_inherited(const char *name)
{
	struct aioend *end;
	struct slot *s;

	pthread_once(&once, read_environment);
	s = find(name);
	if (!s)
		return NULL;
	if (s->wrong) {
		errno = EBADF;
		return NULL;
	}
	end = ipc_end_new();
	if (!end)
		return NULL;
	end->ring = s->ring ? IPC_RING_COMES : IPC_NO_RING;
	if (!atomic_exchange(&s->taken, true) && ipc_own_transfer(&end->own, &s->own) == 0)
		return end;
	ipc_end_dispose(end);
	errno = ENOENT;
	return NULL;
}
