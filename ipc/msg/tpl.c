/*
 * For users who hold tpl nodes. libtpl itself is only ever given images that have passed our checker, and
 * formats and counts that are those of the image: it would end the process over some of the others.
 */
#include "ipc/msg/tpl.h"

#include <errno.h>
#include <stdarg.h>

#include "ipc/msg/image.h"
#include "ipc/msg/msg.h"
#include "ipc/msg/number.h"
#include "ipc/os/log.h"

struct aiomsg *ipc_tpl_dump(tpl_node *tn)
{
	struct aiomsg *m;
	size_t len;

	/* libtpl ends the process over a node that is not the root, and cannot have the length refused. */
	if (tn->parent || tpl_dump(tn, TPL_GETSIZE, &len) == -1) {
		ipc_refuse("this node of libtpl can't be dumped: it must be the root, with values packed");
		return NULL;
	}
	m = ipc_msg_alloc(IPC_KIND_TPL, len);
	if (!m)
		return NULL;
	if (tpl_dump(tn, TPL_MEM | TPL_PREALLOCD, m->data, len) == -1 || ipc_image_check(m->data, len)) {
		aiomsg_free(m);
		ipc_refuse("what this node of libtpl has packed is no image that others take: is an array "
			   "without index 0 packed?");
		return NULL;
	}
	return m;
}

/* Do the counts of '#' among the arguments of a tpl_map(), ints, agree with the image? */
static bool same_counts(const struct ipc_view *v, va_list ap)
{
	const unsigned char *counts = v->counts;
	bool in_struct = false, same = true;
	va_list args;

	va_copy(args, ap);
	for (const char *p = v->format; p < v->end && same; p++) {
		if (*p == '#') {
			same = ipc_get32(counts, v->place.swap) == (uint32_t)va_arg(args, int);
			counts += 4;
		} else if (*p == 'S') {
			(void)va_arg(args, void *);
			in_struct = true;
		} else if (*p == ')') {
			in_struct = false;
		} else if (!in_struct && (*p == 'B' || ipc_letter(*p)->wire)) {
			(void)va_arg(args, void *);
		}
	}
	va_end(args);
	return same;
}

static tpl_node *load(const struct aiomsg *m, const struct ipc_view *v, va_list ap)
{
	tpl_node *tn;

	if (!same_counts(v, ap)) {
		errno = EBADMSG;
		return NULL;
	}
	tn = tpl_map_va((char *)v->format, ap);
	if (!tn) {
		ipc_refuse("libtpl does not map the format \"%.60s\" to these arguments", v->format);
		return NULL;
	}
	if (tpl_load(tn, TPL_MEM, m->data, m->len) == -1) {
		tpl_free(tn);
		errno = EBADMSG;
		return NULL;
	}
	return tn;
}

tpl_node *aiomsg_tpl(const struct aiomsg *m, const char *format, ...)
{
	struct ipc_view v;
	tpl_node *tn;
	va_list ap;

	if (ipc_msg_view(m, format, &v) == -1)
		return NULL;
	va_start(ap, format);
	tn = load(m, &v, ap);
	va_end(ap);
	return tn;
}
