/*
 * Now and then, what every group has acknowledged is removed from the stream: all that is below the lowest id that any group has not
 * acknowledged, or has not been given yet. Who may not ask for the groups does not remove anything.
 */
#include <stdlib.h>
#include <string.h>

#include "ipc/os/log.h"
#include "ipc/stream/stream.h"

#define GROUPS_MOST 256

void ipc_trim_forget(struct aiostream *s)
{
	for (size_t i = 0; s->keep.groups && i < GROUPS_MOST; i++)
		free(s->keep.groups[i]);
	free(s->keep.groups);
	s->keep.groups = NULL;
	s->keep.n_groups = 0;
	s->keep.group = 0;
	s->keep.can_trim = false;
	s->keep.trimming = IPC_TRIM_BEGINS;
}

static void lower(struct ipc_entry_id *low, struct ipc_entry_id id)
{
	if (ipc_entry_id_less(id, *low))
		*low = id;
}

/* A question of trimming is a courtesy: what the server refuses is left out. */
static bool refuses(struct aiostream *s, const struct ipc_resp_item *i)
{
	if (i->type != '-')
		return false;
	if (ipc_refusal_is(i, "NOPERM")) {
		ipc_log("stream %s: may not ask which groups there are, so nothing is removed from it",
			s->o.stream);
		s->o.keep = true;
	}
	s->keep.n_groups = s->keep.group;
	s->keep.can_trim = false;
	return true;
}

static void on_trimmed(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	refuses(ipc_stream_of(w), &i);
}

/* The summary of a group: [how many, the lowest id, the highest, members]. */
static void on_pending(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_walk again = *walk;
	struct ipc_resp_item i;
	struct ipc_entry_id id;
	int64_t four, n;

	ipc_resp_get(walk, &i);
	if (refuses(s, &i))
		return;
	if (!ipc_resp_array(&again, &four) || four != 4 || !ipc_resp_number(&again, &n) ||
	    !ipc_resp_get(&again, &i)) {
		ipc_wire_confused(w);
		return;
	}
	if (i.s && ipc_entry_id_read(&id, i.s, i.len) == 0)
		lower(&s->keep.low, id);
}

static bool add_group(struct aiostream *s, const struct ipc_resp_item *name)
{
	char *copy = name->s && !memchr(name->s, '\0', name->len) ? strndup(name->s, name->len) : NULL;

	if (!copy)
		return false;
	s->keep.groups[s->keep.n_groups++] = copy;
	return true;
}

/* One group: names and values. */
static bool read_group(struct aiostream *s, struct ipc_resp_walk *walk)
{
	struct ipc_resp_item key, name = {.s = NULL}, value;
	struct ipc_entry_id id;
	bool has_id = false;
	int64_t n;

	if (!ipc_resp_array(walk, &n))
		return false;
	for (int64_t k = 0; k < n; k += 2) {
		if (!ipc_resp_string(walk, &key) || !ipc_resp_get(walk, &value))
			return false;
		if (ipc_resp_is(&key, "name"))
			name = value;
		if (ipc_resp_is(&key, "last-delivered-id") && value.s &&
		    ipc_entry_id_read(&id, value.s, value.len) == 0) {
			lower(&s->keep.low, id);
			has_id = true;
		}
	}
	return has_id && add_group(s, &name);
}

static void on_groups(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_walk again = *walk;
	struct ipc_resp_item i;
	int64_t n;

	ipc_resp_get(walk, &i);
	if (refuses(s, &i) || !ipc_resp_array(&again, &n) || n < 1 || n > GROUPS_MOST)
		return;
	s->keep.groups = calloc(GROUPS_MOST, sizeof(char *));
	if (!s->keep.groups)
		return;
	s->keep.low = (struct ipc_entry_id){UINT64_MAX, UINT64_MAX};
	s->keep.can_trim = true;
	while (s->keep.can_trim && n-- > 0)
		s->keep.can_trim = read_group(s, &again);
}

static void ask(struct aiostream *s, ipc_wire_answer *answer)
{
	ipc_wire_expect(&s->two, answer, 1, s->o.reply_limit);
	ipc_wire_send(&s->two);
}

static void ask_next_group(struct aiostream *s)
{
	ipc_wire_begin(&s->two);
	ipc_resp_command(&s->two.out, "XPENDING", s->o.stream, s->keep.groups[s->keep.group++], NULL);
	ask(s, on_pending);
}

static void remove_below(struct aiostream *s)
{
	char low[IPC_ENTRY_ID];

	ipc_entry_id_write(low, s->keep.low);
	ipc_wire_begin(&s->two);
	ipc_resp_command(&s->two.out, "XTRIM", s->o.stream, "MINID", "~", low, NULL);
	ask(s, on_trimmed);
}

bool ipc_trim(struct aiostream *s)
{
	struct ipc_stream_keeper *k = &s->keep;

	if (k->trimming == IPC_TRIM_BEGINS) {
		k->trimming = IPC_TRIM_LOOKS;
		ipc_wire_begin(&s->two);
		ipc_resp_command(&s->two.out, "XINFO", "GROUPS", s->o.stream, NULL);
		ask(s, on_groups);
		return true;
	}
	if (k->trimming == IPC_TRIM_LOOKS && k->group < k->n_groups) {
		ask_next_group(s);
		return true;
	}
	if (k->trimming == IPC_TRIM_LOOKS && k->can_trim) {
		k->trimming = IPC_TRIM_ENDS;
		remove_below(s);
		return true;
	}
	ipc_trim_forget(s);
	return false;
}
