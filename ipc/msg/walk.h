/*
 * The one walk over a format. A reader of an image walks over the values that are there; a builder of an image walks over the values that it
 * is given. The walk knows the format, and which '#' belongs to what. The calls below know the values.
 */
#ifndef IPC_MSG_WALK_H
#define IPC_MSG_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A repetition: the elements of an A(), or of one '#'. The walk sets the first three members. */
struct ipc_loop {
	bool array;    /* of an A(); else of a '#' */
	uint32_t hash; /* which '#' of the format */
	bool last;     /* it is the end of the message, and inside no other array */
	bool bracket;  /* the rest is for the calls */
	uint32_t n;
	size_t place;
};

/* Each returns -1 to end the walk. */
struct ipc_walk_ops {
	int (*begin)(void *context, struct ipc_loop *loop);
	int (*next)(void *context,
		    struct ipc_loop
			    *loop); /* 1: there is one more; 0: there is none, and this was the last call */
	int (*group)(void *context, bool opens); /* the members of a struct, or an element of several items */
	int (*value)(void *context, char letter);
	int (*row)(void *context, uint32_t hash); /* all c of a '#' */
};

/* Over all of a valid format. 0, or the -1 of a call. */
int ipc_walk(const char *format, const struct ipc_walk_ops *ops, void *context);

#endif
