/* The rows of a program that keeps statistics: see board.h. The file is opened with the first row, under the mutex of epoch.h. */
#include "ipc/own/board.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <aioipc/base.h>

#include "ipc/os/log.h"
#include "ipc/os/memory.h"
#include "ipc/os/os.h"
#include "ipc/os/sleep.h"
#include "ipc/own/epoch.h"

#define FIRST 63           /* rows, at first */
#define WRITING UINT32_MAX /* a kind that no reader knows */

struct board {
	struct ipc_board_head head;
	struct ipc_row rows[IPC_BOARD_ROWS];
};

_Static_assert(sizeof(struct ipc_board_head) == 256 && sizeof(struct ipc_row) == 256,
	       "the layout of the file");

enum { UNKNOWN, OFF, ON };

static atomic_int state;             /* of this process */
static _Atomic(struct board *) mine; /* NULL unless ON */
static atomic_uint next;             /* where a free row may be */
static char file[PATH_MAX];

/* A child keeps its parent's mapping, so that no other one gets its place: rows of the parent's are known by that. */
static void in_child(bool by_handler)
{
	(void)by_handler;
	atomic_store(&mine, NULL);
	if (atomic_load(&state) == ON)
		atomic_store(&state, UNKNOWN);
}

static struct ipc_at_fork at_fork = {.floor = 2, .in_child = in_child};

/* In a folder, or beside others whose names begin as its own does. */
static bool name_file(const char *path)
{
	struct stat st;
	bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
	int n = snprintf(file, sizeof file, "%s%s.%d", path, folder ? "/aioipc" : "", (int)getpid());

	if (n > 0 && (size_t)n < sizeof file)
		return true;
	errno = ENAMETOOLONG;
	return false;
}

static size_t size_of(size_t rows)
{
	return sizeof(struct ipc_board_head) + rows * sizeof(struct ipc_row);
}

static void fill_head(struct ipc_board_head *h)
{
	h->rows = FIRST;
	h->row_size = sizeof(struct ipc_row);
	h->pid = getpid();
	h->started = ipc_os_started();
	snprintf(h->program, sizeof h->program, "%s", program_invocation_short_name);
	snprintf(h->version, sizeof h->version, "%s", aioipc_version());
	atomic_thread_fence(memory_order_release);
	memcpy(h->magic, IPC_BOARD_MAGIC, sizeof h->magic);
}

/* The mutex is held. Fork handlers look at nothing of a child that was made before. */
static int open_board(const char *path)
{
	struct board *b;

	if (!name_file(path) || !(b = ipc_os_memory_file(file, size_of(FIRST), sizeof *b)))
		return -1;
	fill_head(&b->head);
	atomic_store(&next, 0);
	atomic_store(&mine, b);
	ipc_at_fork(&at_fork);
	return 0;
}

/* Another thread may have been faster. */
static void find_out(void)
{
	const char *path = secure_getenv("AIOIPC_STATS");
	int error = 0;

	if (!path || !*path) {
		atomic_store(&state, OFF);
		return;
	}
	if (ipc_own_hold() == -1)
		return;
	if (atomic_load(&state) == UNKNOWN) {
		error = open_board(path) == -1 ? errno : 0;
		atomic_store(&state, error ? OFF : ON);
	}
	ipc_own_let_go();
	if (error)
		ipc_log("AIOIPC_STATS: no statistics in %s: %s", file, strerror(error));
}

static struct board *board(void)
{
	if (atomic_load_explicit(&state, memory_order_relaxed) == OFF)
		return NULL;
	ipc_epoch();
	if (atomic_load(&state) == UNKNOWN)
		find_out();
	return atomic_load(&mine);
}

/* Of so many rows. */
static struct ipc_row *find_free(struct board *b, unsigned rows)
{
	unsigned from = atomic_load_explicit(&next, memory_order_relaxed);

	for (unsigned i = 0; i < rows; i++) {
		unsigned at = (from + i) % rows;
		uint32_t kind = IPC_ROW_FREE;

		if (atomic_load_explicit(&b->rows[at].kind, memory_order_relaxed) != IPC_ROW_FREE ||
		    !atomic_compare_exchange_strong(&b->rows[at].kind, &kind, WRITING))
			continue;
		atomic_store_explicit(&next, at + 1, memory_order_relaxed);
		return &b->rows[at];
	}
	return NULL;
}

/* Twice as many, unless another thread was faster. */
static bool grow(struct board *b, unsigned rows)
{
	unsigned more = 2 * rows + 1;
	bool grown;

	if (more > IPC_BOARD_ROWS || ipc_own_hold() == -1)
		return false;
	grown = b->head.rows > rows;
	if (!grown && ipc_os_memory_file_grow(file, b, size_of(more)) == 0) {
		atomic_store(&next, rows);
		atomic_store(&b->head.rows, more);
		grown = true;
	}
	ipc_own_let_go();
	return grown;
}

static struct ipc_row *find(struct board *b)
{
	struct ipc_row *row;
	unsigned rows;

	do {
		rows = atomic_load(&b->head.rows);
		row = find_free(b, rows);
	} while (!row && grow(b, rows));
	return row;
}

static void add_to_name(struct ipc_row *row, const char *format, va_list ap)
{
	size_t len = strnlen(row->name, sizeof row->name - 1);

	if (len > 0 && len + 2 < sizeof row->name) {
		memcpy(row->name + len, ", ", 3);
		len += 2;
	}
	vsnprintf(row->name + len, sizeof row->name - len, format, ap);
}

static void fill(struct ipc_row *row, uint64_t id, const char *format, va_list ap)
{
	for (unsigned i = 0; i < IPC_ROW_VALUES; i++)
		ipc_row_set(row, i, 0);
	row->name[0] = '\0';
	add_to_name(row, format, ap);
	atomic_store_explicit(&row->id, id, memory_order_relaxed);
	atomic_store_explicit(&row->since, ipc_os_now(), memory_order_relaxed);
}

struct ipc_row *ipc_board_take(enum ipc_row_kind kind, const char *format, ...)
{
	int error = errno;
	struct board *b = board();
	struct ipc_row *row = NULL;
	uint64_t id;
	va_list ap;

	if (b) {
		id = atomic_fetch_add(&b->head.births, 1) + 1;
		row = find(b);
		if (!row)
			atomic_fetch_add(&b->head.missed, 1);
	}
	if (row) {
		va_start(ap, format);
		fill(row, id, format, ap);
		va_end(ap);
		atomic_store_explicit(&row->kind, kind, memory_order_release);
	}
	errno = error;
	return row;
}

bool ipc_board_has(const struct ipc_row *row)
{
	const struct board *b;

	ipc_epoch();
	b = atomic_load_explicit(&mine, memory_order_relaxed);
	return b && row >= b->rows && row < b->rows + IPC_BOARD_ROWS;
}

void ipc_board_give_back(struct ipc_row *row)
{
	if (row && ipc_board_has(row))
		atomic_store_explicit(&row->kind, IPC_ROW_FREE, memory_order_release);
}

void ipc_board_name(struct ipc_row *row, const char *format, ...)
{
	va_list ap;

	if (!row || !ipc_board_has(row))
		return;
	va_start(ap, format);
	add_to_name(row, format, ap);
	va_end(ap);
}

unsigned long ipc_board_id(const struct ipc_row *row)
{
	return row ? (unsigned long)atomic_load_explicit(&row->id, memory_order_relaxed) : 0;
}

void ipc_board_end(void)
{
	ipc_epoch();
	if (atomic_load(&mine))
		unlink(file);
}
