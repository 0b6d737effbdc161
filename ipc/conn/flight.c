/* Calls in flight: see flight.h. */
#include "ipc/conn/flight.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/loop/watch.h"

#define ROOM ((size_t)16)

struct ipc_flight *ipc_flight_new(void)
{
	struct ipc_flight *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	ipc_os_random_key(&f->key);
	f->last_due = &f->due;
	return f;
}

void ipc_call_free(struct aiocall *call)
{
	if (!call)
		return;
	aiomsg_free(call->answer);
	free(call);
}

void ipc_flight_stop(struct ipc_flight *f)
{
	ipc_watch_free(f->timer);
	f->timer = NULL;
}

void ipc_flight_free(struct ipc_flight *f)
{
	struct aiocall *call;

	if (!f)
		return;
	for (size_t i = 0; i < f->room; i++)
		ipc_call_free(f->places[i].call);
	while ((call = ipc_flight_take_due(f)))
		ipc_call_free(call);
	ipc_flight_stop(f);
	free(f->heap);
	free(f->places);
	free(f);
}

static int grow(struct ipc_flight *f)
{
	size_t room = f->room ? 2 * f->room : ROOM;
	struct aiocall **heap = reallocarray(f->heap, room, sizeof(struct aiocall *));
	struct ipc_flight_place *places;

	if (!heap)
		return -1;
	f->heap = heap;
	places = reallocarray(f->places, room, sizeof *places);
	if (!places)
		return -1;
	for (size_t i = f->room; i < room; i++)
		places[i] = (struct ipc_flight_place){.next_free = (uint32_t)(i + 1)};
	f->first_free = (uint32_t)f->room;
	f->places = places;
	f->room = room;
	return 0;
}

/* The heap. */

static bool is_before(const struct ipc_flight *f, size_t i, size_t j)
{
	return f->heap[i]->deadline < f->heap[j]->deadline;
}

static void swap(struct ipc_flight *f, size_t i, size_t j)
{
	struct aiocall *call = f->heap[i];

	f->heap[i] = f->heap[j];
	f->heap[j] = call;
	f->heap[i]->at = i;
	f->heap[j]->at = j;
}

static void rise(struct ipc_flight *f, size_t i)
{
	for (; i > 0 && is_before(f, i, (i - 1) / 2); i = (i - 1) / 2)
		swap(f, i, (i - 1) / 2);
}

static void sink(struct ipc_flight *f, size_t i)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < f->timed && is_before(f, child + 1, child))
			child++;
		if (child >= f->timed || !is_before(f, child, i))
			return;
		swap(f, i, child);
		i = child;
	}
}

static void set_deadline(struct ipc_flight *f, struct aiocall *call)
{
	if (call->deadline == AIOIPC_FOREVER)
		return;
	call->at = f->timed++;
	f->heap[call->at] = call;
	rise(f, call->at);
}

static void forget_deadline(struct ipc_flight *f, const struct aiocall *call)
{
	size_t at = call->at;

	if (call->deadline == AIOIPC_FOREVER)
		return;
	f->timed--;
	if (at == f->timed)
		return;
	f->heap[at] = f->heap[f->timed];
	f->heap[at]->at = at;
	rise(f, at);
	sink(f, at);
}

/* The numbers: a place, and behind that what nobody guesses. */

static size_t place_of(uint64_t id)
{
	return (size_t)(id & (IPC_CALLS_MOST - 1));
}

int ipc_flight_add(struct ipc_flight *f, struct aiocall *call, size_t most)
{
	size_t place;

	if (f->count >= most) {
		errno = EAGAIN;
		return -1;
	}
	if (f->count == f->room && grow(f) < 0)
		return -1;
	place = f->first_free;
	f->first_free = f->places[place].next_free;
	f->places[place].call = call;
	f->count++;
	call->id = (ipc_key_mix(&f->key, f->serial++) & ~(uint64_t)(IPC_CALLS_MOST - 1)) | place;
	set_deadline(f, call);
	return 0;
}

struct aiocall *ipc_flight_find(const struct ipc_flight *f, uint64_t id)
{
	size_t place = place_of(id);
	struct aiocall *call = place < f->room ? f->places[place].call : NULL;

	return call && call->id == id ? call : NULL;
}

static void remove_call(struct ipc_flight *f, struct aiocall *call)
{
	size_t place = place_of(call->id);

	forget_deadline(f, call);
	f->places[place] = (struct ipc_flight_place){.next_free = f->first_free};
	f->first_free = (uint32_t)place;
	f->count--;
}

static void make_due(struct ipc_flight *f, struct aiocall *call)
{
	call->next = NULL;
	*f->last_due = call;
	f->last_due = &call->next;
}

void ipc_flight_end(struct ipc_flight *f, struct aiocall *call, struct aiomsg *answer, int error)
{
	remove_call(f, call);
	call->over = true;
	call->answer = answer;
	call->error = error;
	if (call->cb && !call->sending)
		make_due(f, call);
	else if (!call->cb)
		ipc_task_wake_all(&call->waiters);
}

void ipc_flight_end_all(struct ipc_flight *f, int error)
{
	for (size_t i = 0; i < f->room && f->count; i++)
		if (f->places[i].call)
			ipc_flight_end(f, f->places[i].call, NULL, error);
}

void ipc_flight_end_unsent(struct ipc_flight *f, uint64_t left, int error)
{
	for (size_t i = 0; i < f->room && f->count; i++) {
		struct aiocall *call = f->places[i].call;

		if (call && !call->sending && call->end > left)
			ipc_flight_end(f, call, NULL, error);
	}
}

void ipc_flight_sent(struct ipc_flight *f, struct aiocall *call)
{
	call->sending = false;
	if (call->over && call->cb)
		make_due(f, call);
}

struct aiocall *ipc_flight_take_due(struct ipc_flight *f)
{
	struct aiocall *call = f->due;

	if (!call)
		return NULL;
	f->due = call->next;
	if (!f->due)
		f->last_due = &f->due;
	return call;
}
