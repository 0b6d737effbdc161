/*
 * What a child does before it runs the user's function or program: it applies the options, closes descriptors, and tells its parent whether that
 * worked. In the child, these calls do only what ipc/os/child.h allows.
 */
#ifndef IPC_END_BECOME_H
#define IPC_END_BECOME_H

#include <sys/types.h>

#include <aioipc/proc.h>

struct aioend;

/* Copies @o to *@to, which must be all zeroes. @o NULL: no options. -1/EINVAL: the size of @o is not known. */
int ipc_options_take(struct aioproc_options *to, const struct aioproc_options *o);

/*
 * In the child: applies all options but only_ends. @tell is the writing end of a pipe; only @parent has the reading end. @set_ids is
 * ipc_os_set_ids() or, after a plain fork(), ipc_os_set_ids_of_all().
 */
int ipc_become(const struct aioproc_options *o, pid_t parent, int tell, int (*set_ids)(uid_t, gid_t));

/* Closes all descriptors but 0, 1, 2 and these @n, which it sorts; a -1 means none. */
void ipc_close_all_but(int *keep, size_t n);

/*
 * In the parent: reads an int, the errno that the child sends. -1 with that errno: the child has ended and was waited for. 0: the int was 0, or
 * the child closed the pipe without one. Closes the descriptor of @tx, which is the parent's copy of the child's end; both handles stay.
 */
int ipc_outcome(struct aioend *rx, struct aioend *tx, pid_t pid);

#endif
