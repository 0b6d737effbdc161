/*
 * hash FOLDER [WORKERS]: prints a hash of each file in the folder, in the order of their names, and progress where stderr is a
 * terminal. The work is done by processes, as many as there are processors. A file may be truncated while it is mapped, which
 * kills who reads it, or be a thing that never ends: that costs a worker, and one line says which file it was. Ctrl-C ends it all
 * at once. HASH_CRASHES in the environment makes every worker crash now and then.
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

static int bad; /* files that could not be hashed; counted by on_error */
static bool terminal;

/* FNV-1a. */
static uint64_t hash_of(const unsigned char *data, size_t len)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		h = (h ^ data[i]) * 0x100000001b3;
	return h;
}

static int put(struct aioqueue *out, struct aiomsg *m)
{
	int r = m ? aioqueue_put(out, m, AIOIPC_FOREVER) : -1;

	aiomsg_free(m);
	return r;
}

/* In a worker. The job is a path. */
static int hash(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	void *data = NULL;
	struct stat st;
	const char *path;
	uint64_t h;
	int fd;

	(void)arg;
	if (aiomsg_unpack(m, "s", &path) == -1)
		return -1;
	if (getenv("HASH_CRASHES") && rand() % 10 == 0)
		raise(SIGSEGV);
	fd = open(path, O_RDONLY | O_CLOEXEC); /* of a FIFO this waits for ever */
	if (fd == -1 || fstat(fd, &st) == -1)
		return -1;
	if (st.st_size > 0)
		data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (data == MAP_FAILED)
		return -1;
	h = hash_of(data, (size_t)st.st_size);
	if (data)
		munmap(data, (size_t)st.st_size);
	return put(out, aiomsg_new("sUU", path, h, (uint64_t)st.st_size));
}

static int start(void *arg)
{
	(void)arg;
	srand((unsigned)getpid());
	return 0;
}

/* Goes on with the other files. */
static int on_error(struct aioservice *s, struct aiomsg *m, int error, void *arg)
{
	int status = aioservice_worker_status(s);
	const char *path;

	(void)arg;
	if (aiomsg_unpack(m, "s", &path) == -1)
		return -1;
	bad++;
	fprintf(stderr, "%s%s: %s\n", terminal ? "\r\033[K" : "", path,
		error == ETIMEDOUT                           ? "takes too long"
		: error == EOWNERDEAD && WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
							     : strerror(error));
	return 0;
}

/* A generator, in a thread: all paths that are not folders. */
static int walk(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	FTSENT *e;

	(void)m;
	while ((e = fts_read(arg)) && (e->fts_info == FTS_D || e->fts_info == FTS_DP))
		continue;
	if (e)
		return put(out, aiomsg_new("s", e->fts_path));
	return errno ? -1 : 1;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

static struct aioservice *service(struct aioservice_options o)
{
	struct aioservice *s;

	o.size = sizeof o;
	s = aioservice_new(&o);
	if (!s)
		die("service");
	return s;
}

static void show(const struct aioservice *s, int files, uint64_t bytes)
{
	struct aioservice_stats stats = {.size = sizeof stats};

	if (!terminal || aioservice_stats(s, &stats) == -1)
		return;
	fprintf(stderr, "\r\033[K%d files, %.1f MB, %u of %u workers busy, %d replaced", files,
		(double)bytes / 1e6, stats.busy, stats.workers, (int)stats.restarts);
}

/* Prints what comes. 0 at the end. */
static int print_all(const struct aioservice *s, struct aioqueue *hashes)
{
	uint64_t h, size, bytes = 0;
	struct aiomsg *m;
	const char *path;
	int got = 0;

	for (int files = 0; !interrupted && (got = aioqueue_get(hashes, &m, AIOIPC_FOREVER)) == 1; files++) {
		if (aiomsg_unpack(m, "sUU", &path, &h, &size) == -1)
			die("result");
		if (terminal)
			fprintf(stderr, "\r\033[K");
		printf("%016llx  %s\n", (unsigned long long)h, path);
		show(s, files + 1, bytes += size);
		aiomsg_free(m);
	}
	if (terminal)
		fprintf(stderr, "\r\033[K");
	return got;
}

int main(int argc, char **argv)
{
	char *folder[] = {argc > 1 ? argv[1] : (char[]){"."}, NULL};
	long processors = argc > 2 ? atol(argv[2]) : sysconf(_SC_NPROCESSORS_ONLN);
	struct aioqueue *paths = aioqueue_new(1024, 0), *hashes = aioqueue_new(1024, 0);
	FTS *tree = fts_open(folder, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	struct aioservice *walker, *hasher;

	setvbuf(stdout, NULL, _IOLBF, 0);
	terminal = isatty(STDERR_FILENO);
	if (!tree || !paths || !hashes)
		die(folder[0]);
	hasher = service((struct aioservice_options){.in = paths,
						     .out = hashes,
						     .handle = hash,
						     .init = start,
						     .on_error = on_error,
						     .kind = AIOSERVICE_FORKED,
						     .workers = processors > 0 ? (unsigned)processors : 1,
						     .retries = 5,
						     .limit = 5000,
						     .in_order = true});
	walker = service((struct aioservice_options){.out = paths, .handle = walk, .arg = tree});
	sigaction(SIGINT, &(struct sigaction){.sa_handler = on_interrupt}, NULL);
	if (aioservice_start(hasher) == -1 || aioservice_start(walker) == -1)
		die("start");
	print_all(hasher, hashes);
	if (interrupted)
		fprintf(stderr, "interrupted\n");
	aioservice_abort(hasher); /* after the end there is nothing left to abort */
	aioservice_abort(walker);
	aioqueue_free(paths);
	aioqueue_free(hashes);
	fts_close(tree);
	return interrupted ? 130 : bad > 0;
}
