/* The files of programs that keep statistics: found and read. Whatever is in them, this only copies it, in bounds. */
#include "tool/board.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MOST 4096
#define DIGITS "0123456789"

/* When the process was started, as in /proc/PID/stat; 0: not known. */
static uint64_t started(pid_t pid)
{
	char path[40], text[1024], *at;
	const int before = 20; /* fields between the name, in parentheses, and this one */

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	read_little(path, text, sizeof text);
	at = strrchr(text, ')');
	for (int i = 0; at && i < before; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

/* The pid may be that of another process by now. */
static bool is_gone(const struct ipc_board_head *h)
{
	uint64_t since;

	if (h->pid <= 0 || h->pid > INT_MAX || (kill((pid_t)h->pid, 0) == -1 && errno == ESRCH))
		return true;
	since = h->started ? started((pid_t)h->pid) : 0;
	return since && since != h->started;
}

static size_t read_at(int fd, void *to, size_t len, size_t from)
{
	size_t done = 0;
	ssize_t n = 1;

	while (done < len && n > 0) {
		n = pread(fd, (char *)to + done, len - done, (off_t)(from + done));
		if (n == -1 && errno == EINTR)
			n = 1;
		else if (n > 0)
			done += (size_t)n;
	}
	return done;
}

/* Keeps the rows in use. -1: no memory. */
static int keep_rows(struct board *b, struct ipc_row *rows, unsigned n)
{
	b->rows = malloc((n + 1) * sizeof *b->rows);
	for (unsigned i = 0; b->rows && i < n; i++) {
		if (rows[i].kind == IPC_ROW_FREE)
			continue;
		rows[i].name[sizeof rows[i].name - 1] = '\0';
		rows[i].unused = i;
		memcpy(&b->rows[b->n++], &rows[i], sizeof rows[i]);
	}
	return b->rows ? 0 : -1;
}

static const char *read_board(struct board *b, int fd)
{
	static struct ipc_row rows[IPC_BOARD_ROWS];
	size_t head = read_at(fd, &b->head, sizeof b->head, 0), len;

	if (head < sizeof b->head || memcmp(b->head.magic, IPC_BOARD_MAGIC, sizeof b->head.magic) != 0)
		return "no statistics, or those of another version";
	if (b->head.row_size != sizeof rows[0] || b->head.rows > IPC_BOARD_ROWS)
		return "its sizes are not those of this version";
	len = read_at(fd, rows, b->head.rows * sizeof rows[0], sizeof b->head);
	b->cut = len / sizeof rows[0] < b->head.rows;
	b->head.program[sizeof b->head.program - 1] = '\0';
	b->head.version[sizeof b->head.version - 1] = '\0';
	return keep_rows(b, rows, (unsigned)(len / sizeof rows[0])) == 0 ? NULL : "there is no memory for it";
}

static void free_board(struct board *b)
{
	struct board *before;

	for (; b; b = before) {
		before = b->before;
		free(b->path);
		free(b->rows);
		free(b);
	}
}

/* NULL with errno. */
static struct board *open_board(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct board *b = fd == -1 ? NULL : calloc(1, sizeof *b);
	struct stat st;

	if (b && (b->path = strdup(path))) {
		b->at = now_ns();
		b->why = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read_board(b, fd) : "it is no file";
		b->gone = !b->why && is_gone(&b->head);
	} else {
		free(b);
		b = NULL;
	}
	if (fd != -1)
		close(fd);
	return b;
}

static int add(struct boards *all, const char *path)
{
	struct board *b = open_board(path), **more;

	if (!b)
		return errno == ENOMEM ? -1 : 0; /* it has gone meanwhile, or is another user's */
	more = realloc(all->all, (all->n + 1) * sizeof(struct board *));
	if (!more) {
		free_board(b);
		return -1;
	}
	all->all = more;
	all->all[all->n++] = b;
	return 0;
}

static bool is_one(const char *name, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(name, prefix, n) == 0 && name[n] == '.' && name[n + 1] &&
	       !name[n + 1 + strspn(name + n + 1, DIGITS)];
}

/* Files of @folder that are called @prefix, a dot and a number. */
static int add_all(struct boards *all, const char *folder, const char *prefix)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	char path[PATH_MAX];
	int r = d ? 0 : -1;

	while (r == 0 && all->n < FILES_MOST && (e = readdir(d))) {
		if (!is_one(e->d_name, prefix))
			continue;
		if (snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path)
			r = add(all, path);
	}
	if (d)
		closedir(d);
	return r;
}

static int add_siblings(struct boards *all, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int r = folder ? add_all(all, folder, slash ? slash + 1 : path) : -1;

	free(folder);
	return r;
}

static int by_pid(const void *a, const void *b)
{
	const struct board *x = *(struct board *const *)a, *y = *(struct board *const *)b;

	if (x->head.pid != y->head.pid)
		return x->head.pid < y->head.pid ? -1 : 1;
	return strcmp(x->path, y->path);
}

int boards_read(struct boards *b, const char *path)
{
	struct stat st;
	bool there = stat(path, &st) == 0;
	int r;

	*b = (struct boards){NULL, 0};
	if (there && S_ISDIR(st.st_mode))
		r = add_all(b, path, "aioipc");
	else
		r = add_siblings(b, path);
	if (r == 0 && b->n == 0 && there && !S_ISDIR(st.st_mode))
		r = add(b, path);
	if (b->n > 1)
		qsort(b->all, b->n, sizeof *b->all, by_pid);
	return r;
}

void boards_follow(struct boards *now, struct boards *before)
{
	for (size_t i = 0; i < now->n; i++)
		for (size_t k = 0; k < before->n; k++) {
			struct board *was = before->all[k];

			if (was && !was->why && strcmp(was->path, now->all[i]->path) == 0 &&
			    was->head.pid == now->all[i]->head.pid &&
			    was->head.started == now->all[i]->head.started) {
				free_board(was->before);
				was->before = NULL;
				now->all[i]->before = was;
				before->all[k] = NULL;
				break;
			}
		}
	boards_free(before);
}

void boards_free(struct boards *b)
{
	for (size_t i = 0; i < b->n; i++)
		free_board(b->all[i]);
	free(b->all);
	*b = (struct boards){NULL, 0};
}
