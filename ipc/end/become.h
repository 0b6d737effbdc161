/*
 * What a child becomes before it is its user's, forked or executed: the options, the descriptors that it keeps, and how it tells its parent
 * whether all that worked. In the child only what ipc/os/child.h allows.
 */
#ifndef IPC_END_BECOME_H
#define IPC_END_BECOME_H

#include <sys/types.h>

#include <aioipc/proc.h>

struct aioend;

/* *@to is all zeroes. @o NULL: as the parent. -1/EINVAL: of a size that is not known. */
int ipc_options_take(struct aioproc_options *to, const struct aioproc_options *o);

/*
 * In the child of @parent, which holds the only reading end of the pipe that @tell writes. All but only_ends. @set_ids is ipc_os_set_ids() or, after a
 * plain fork(), ipc_os_set_ids_of_all().
 */
int ipc_become(const struct aioproc_options *o, pid_t parent, int tell, int (*set_ids)(uid_t, gid_t));

/* Closes all descriptors but 0, 1, 2 and these @n, which it sorts; -1 is none. */
void ipc_close_all_but(int *keep, size_t n);

/*
 * In the parent: waits for what the child tells, an int. -1 with that as errno, and the child is gone; 0 when the int is 0, or when there was none
 * at all. Closes @tx, the parent's copy of what the child tells with; both handles stay.
 */
int ipc_outcome(struct aioend *rx, struct aioend *tx, pid_t pid);

#endif
