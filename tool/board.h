/* What a program says of itself with AIOIPC_STATS: files as they were read, none of which is trusted; and what their rows mean. */
#ifndef TOOL_BOARD_H
#define TOOL_BOARD_H

#include "tool/tool.h"

#include "ipc/own/row.h"

/* One file, as it was found. */
struct board {
	char *path;
	struct ipc_board_head head;
	struct ipc_row *rows; /* those in use; @unused is where in the file */
	unsigned n;
	bool cut;             /* it has fewer than it says */
	bool gone;            /* its process runs no more */
	const char *why;      /* it is none that is known; NULL */
	int64_t at;           /* monotonic nanoseconds: when it was read */
	struct board *before; /* the same file as it was read the last time; NULL */
};

struct boards {
	struct board **all;
	size_t n;
};

/* board.c: reads the file, those of the folder, or those whose names begin with the path. -1 with errno: not one could be. */
int boards_read(struct boards *b, const char *path);
void boards_follow(struct boards *now, struct boards *before); /* @before belongs to @now then */
void boards_free(struct boards *b);

/* row.c: one row, for people. */
struct row_text {
	const char *kind;
	char who[256];
	double in, out, bytes; /* a second; negative: it has none */
	char waits[64], state[160];
	const char *slow; /* who is slow, in words; NULL */
	const struct board *board;
	const struct ipc_row *row; /* NULL: the process itself */
};

/* False: a free row, or one of an unknown kind. */
bool row_describe(struct row_text *t, const struct board *b, const struct ipc_row *row);
void row_of_process(struct row_text *t, const struct board *b);
const char *brief(double x, char text[16]); /* a short number, such as 999, 1.2k, 34M */
void row_show_json(FILE *f, const struct row_text *t);

#endif
