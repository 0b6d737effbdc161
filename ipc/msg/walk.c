/* The walk over a format: see walk.h. It nests as deep as the format, which has 64 arrays at most. */
#include "ipc/msg/walk.h"

#include <string.h>

#include "ipc/msg/format.h"

struct walk {
	const struct ipc_walk_ops *ops;
	void *context;
	uint32_t hash;  /* how many '#' are in front of this place */
	uint32_t depth; /* in so many A() */
};

/* What '#' repeat: a letter, or an S() in whose members the '#' begin at @hash. */
struct cell {
	const char *p;
	uint32_t hash;
};

static int walk_items(struct walk *w, const char *p, const char *end);

static int walk_group(struct walk *w, const char *p, const char *end)
{
	if (w->ops->group(w->context, true) == -1 || walk_items(w, p, end) == -1)
		return -1;
	return w->ops->group(w->context, false);
}

static int walk_cell(struct walk *w, const struct cell *cell)
{
	size_t hashes = 0;

	if (*cell->p != 'S')
		return w->ops->value(w->context, *cell->p);
	w->hash = cell->hash;
	return walk_group(w, cell->p + 2, ipc_stretch_leave(cell->p + 2, &hashes) - 1);
}

/* The cell once for each combination of the '#' at @hashes, of which the first is the @hash-th. */
static int walk_cells(struct walk *w, const struct cell *cell, const char *hashes, uint32_t hash, bool last)
{
	struct ipc_loop loop = {.hash = hash, .last = last};
	int more;

	if (*hashes != '#')
		return walk_cell(w, cell);
	if (*cell->p == 'c' && hashes[1] != '#')
		return w->ops->row(w->context, hash);
	if (w->ops->begin(w->context, &loop) == -1)
		return -1;
	while ((more = w->ops->next(w->context, &loop)) == 1)
		if (walk_cells(w, cell, hashes + 1, hash + 1, false) == -1)
			return -1;
	return more;
}

/* Behind "A(", to its ')'. */
static int walk_array(struct walk *w, const char *body, const char *end, bool last)
{
	struct ipc_loop loop = {.array = true, .hash = w->hash, .last = last};
	size_t hashes = 0;
	const char *p = *body == 'A' || *body == 'S' ? ipc_stretch_leave(body + 2, &hashes) : body + 1;
	bool several = p + strspn(p, "#") != end;
	int more, r = 0;

	if (w->ops->begin(w->context, &loop) == -1)
		return -1;
	w->depth++;
	while (r == 0 && (more = w->ops->next(w->context, &loop)) != 0) {
		w->hash = loop.hash;
		if (more == 1)
			r = several ? walk_group(w, body, end) : walk_items(w, body, end);
		else
			r = -1;
	}
	w->depth--;
	return r;
}

static int walk_items(struct walk *w, const char *p, const char *end)
{
	int r = 0;

	while (p < end && r == 0) {
		size_t inside = 0, hashes;
		const struct cell cell = {p, w->hash};
		const char *behind = *p == 'A' || *p == 'S' ? ipc_stretch_leave(p + 2, &inside) : p + 1;
		bool last;

		hashes = strspn(behind, "#");
		last = w->depth == 0 && behind[hashes] == '\0';
		if (*p == 'A')
			r = walk_array(w, p + 2, behind - 1, last);
		else
			r = walk_cells(w, &cell, behind, cell.hash + (uint32_t)inside, last);
		w->hash = cell.hash + (uint32_t)(inside + hashes);
		p = behind + hashes;
	}
	return r;
}

int ipc_walk(const char *format, const struct ipc_walk_ops *ops, void *context)
{
	struct walk w = {.ops = ops, .context = context};

	return walk_items(&w, format, format + strlen(format));
}
