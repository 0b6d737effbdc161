/*
 * A carrier moves the bytes and the descriptors of one connection. fd.c carries them by descriptors: a pipe each way, a socket, a
 * terminal, a file. shared.c carries them by rings in shared memory. seal.c carries bytes encrypted, over a socket. The connection above calls a carrier through its table. A
 * carrier calls nobody back, never waits, and knows nothing of frames.
 *
 * Which descriptor shows what: own.r shows input, own.w shows room and that the peer left. Both may have the same number.
 * Before the connection sleeps, it asks shown_by() which events to watch for, calls sleep(), and then asks at_hand() whether what it
 * waits for is there already. A carrier whose peer only wakes a sleeper tells the peer in sleep(). So what arrives between the two is
 * never missed.
 *
 * A read that returned less than there was room for does not say that nothing is left. The connection reads again when a
 * descriptor shows input, or when at_hand() says so. A carrier that empties its descriptor, or that has bytes which no descriptor
 * shows, needs at_hand().
 */
#ifndef IPC_CARRY_CARRY_H
#define IPC_CARRY_CARRY_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "ipc/os/os.h"
#include "ipc/own/own.h"

struct ipc_carrier;
struct ipc_seal;
struct ipc_shared;

/* What a connection may wait for. */
enum ipc_carry_wait {
	IPC_CARRY_IN,   /* input, or the end of it */
	IPC_CARRY_OUT,  /* room for output */
	IPC_CARRY_GONE, /* that the peer left, where nothing is read that would tell it */
	IPC_CARRY_WAITS
};

/* What a carrier can do, or needs. */
enum {
	IPC_CARRY_FDS_IN = 1,  /* descriptors can be received */
	IPC_CARRY_FDS_OUT = 2, /* and sent */
	IPC_CARRY_ONE = 4,     /* both ways are one channel: a write that breaks it breaks reading, too */
	IPC_CARRY_READ_OUT =
		8, /* close while input is left would throw away what was sent: read until the end before */
	IPC_CARRY_SAYS_END = 16 /* the end is bytes, too: they come behind the last frame */
};

struct ipc_carry {
	/*
	 * Reads into @iov: how many bytes; 0 at the end. What comes of descriptors goes to @fds; where @fds is NULL they are closed.
	 * -1: EAGAIN (there is nothing now), ENOMEM or ENOBUFS (try again later), or what broke the channel.
	 */
	ssize_t (*read)(struct ipc_carrier *k, struct iovec *iov, int n, struct ipc_fdlist *fds);

	/*
	 * Writes from @iov: how many bytes it took. The descriptors go with the first byte. -1: EAGAIN (wait for room), ENOBUFS (try
	 * again later, though room may be shown), EPIPE (the peer reads no more), or what broke the channel. With descriptors,
	 * any other errno but ECONNRESET and ENOTCONN says that they can't be passed.
	 */
	ssize_t (*write)(struct ipc_carrier *k, const struct iovec *iov, int n, const int *fd, unsigned nfds);

	/* Is there input, or room, that no descriptor shows? NULL: never. */
	bool (*at_hand)(struct ipc_carrier *k, enum ipc_carry_wait what);

	/* The connection is about to sleep until there is @what. It looks at_hand() behind this. NULL: nobody has to know. */
	void (*sleep)(struct ipc_carrier *k, enum ipc_carry_wait what);

	/*
	 * The events that show @what, of libevent: EV_READ and EV_WRITE. They may differ from call to call, and need not be what the name
	 * suggests. For GONE: with EV_ET only edges show it; 0: nothing does.
	 */
	short (*shown_by)(const struct ipc_carrier *k, enum ipc_carry_wait what);

	/* Has the peer left, so that nothing can be written any more? */
	bool (*left)(const struct ipc_carrier *k);

	/* Ends the input: what came can still be read, then follows the end. Does nothing where that can't be done. */
	void (*shut_read)(struct ipc_carrier *k);

	/* All is written: the peer is to read the end. Input goes on. -1/EAGAIN: wait for room, then call it again. */
	int (*shut_write)(struct ipc_carrier *k);

	/*
	 * Is the peer to see a reset, rather than an end, when the channel is closed as it is, by whomever? -1: it can't be told. May be
	 * called when the process ends, with the lock of the registry.
	 */
	int (*set_reset)(struct ipc_carrier *k, bool on);

	/* Memory for input that came and that read() can't give yet. NULL: none. */
	size_t (*held)(const struct ipc_carrier *k);

	/* After shut_write: does the peer's system have all, the end too? */
	bool (*all_arrived)(const struct ipc_carrier *k);

	/* Closes both ways and leaves the registry. A second time it does nothing. */
	void (*close)(struct ipc_carrier *k);
};

struct ipc_carrier {
	const struct ipc_carry *how;
	struct ipc_own own;
	unsigned can;
	bool takes_fds; /* descriptors that come are wanted */
	union {
		struct ipc_shared *shared; /* of shared.c */
		struct ipc_seal *seal;     /* of seal.c */
	};
	const char *why; /* after read or write failed: more than its errno tells; static; NULL */
};

/* @k->own is filled in: its descriptors carry everything. */
void ipc_carry_by_fd(struct ipc_carrier *k);

/* Does own.w show that the peer is gone? */
bool ipc_carry_hung_up(const struct ipc_carrier *k);

static inline bool ipc_carry_at_hand(struct ipc_carrier *k, enum ipc_carry_wait what)
{
	return k->how->at_hand && k->how->at_hand(k, what);
}

static inline void ipc_carry_sleep(struct ipc_carrier *k, enum ipc_carry_wait what)
{
	if (k->how->sleep)
		k->how->sleep(k, what);
}

#endif
