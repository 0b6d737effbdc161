/* A new base for a thread of the library. */
#ifndef IPC_LOOP_FRESH_H
#define IPC_LOOP_FRESH_H

struct event_base;

/* Its descriptors are none of 0, 1 and 2. NULL: EMFILE, ENFILE, ENOMEM. */
struct event_base *ipc_base_new(void);

#endif
