/*
 * The inside of a message. Floor 2 and the connection build them; everybody else uses <aioipc/msg.h>.
 * A message that came from a peer is only ever shown to a user, to the codec or to libtpl after ipc_msg_check() or ipc_msg_seal() said yes.
 */
#ifndef IPC_MSG_MSG_H
#define IPC_MSG_MSG_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aioipc/msg.h>

#include "ipc/msg/image.h"

/* As on the wire. */
enum ipc_kind { IPC_KIND_TPL = 1, IPC_KIND_BYTES = 2, IPC_KIND_GOODBYE = 3 };

/* What a message is besides its payload. It does not travel when the message is sent on. */
enum ipc_role {
	IPC_PLAIN,
	IPC_CALL,    /* was received, and may be answered: ticket */
	IPC_ANSWER,  /* made here for a ticket, or on its way from the splitter to who called */
	IPC_REFUSAL, /* the same; the payload is the words, and the error hides behind it */
	IPC_CANCEL,  /* for the connection alone */
	IPC_ASK,     /* made here, to be sent as a call: ticket */
};

/* Descriptors of a message: made only for messages that have some. -1 once taken. */
struct ipc_msgfds {
	size_t block; /* what the pool gave, this struct included */
	unsigned n;
	atomic_int fd[]; /* room for 253 */
};

/* The strings of an image, in its order, each with its NUL: in the image itself they have none. */
struct ipc_msgstrings {
	size_t block; /* what the pool gave, this struct included */
	char text[];
};

/*
 * What has to know when messages are gone: each has a place in it, 0 to 255. freed() is called once for a place, in whatever thread, and
 * in a forked child too.
 */
struct ipc_receipt {
	void (*freed)(struct ipc_receipt *r, unsigned place);
	const struct ipc_delivery *delivery; /* NULL: nobody waits for an answer */
};

/*
 * Of messages that are had until they are answered, as those of a stream are: what the calls aiomsg_ack() and so on do. Any thread. A receipt
 * with this is that of one message.
 */
struct ipc_delivery {
	int (*answer)(struct ipc_receipt *r, bool done, int64_t after); /* as aiomsg_ack(), aiomsg_nack() */
	void (*hold)(struct ipc_receipt *r);
	bool (*is_held)(const struct ipc_receipt *r); /* its handler answers for itself */
	const char *(*id)(const struct ipc_receipt *r);
	unsigned (*tries)(const struct ipc_receipt *r);
};

/* The handler of a service has returned: @m, which may be NULL, is answered for it, unless that holds it. */
void ipc_msg_settle(struct aiomsg *m, bool done);

/* Where the payload of a message lies that is in memory which can be passed on, and a NUL behind it. */
struct ipc_msgmemory {
	unsigned char *at; /* NULL: not mapped yet, or lost */
	int fd;            /* -1: none yet */
	bool open;         /* its maker writes, and has not sealed it */
};

struct aiomsg {
	atomic_uint refs;
	unsigned kind : 5;   /* enum ipc_kind, or of a frame that is its reader's alone */
	unsigned part : 3;   /* of a line: AIOMSG_MORE and the others */
	unsigned role : 3;   /* enum ipc_role */
	unsigned copies : 1; /* struct ipc_plain, as its check found out; letters is 0 before */
	unsigned memory : 1; /* the payload lies elsewhere: data is a struct ipc_msgmemory */
	uint8_t letters;
	uint8_t place;                            /* in its receipt */
	size_t block;                             /* what the pool gave, this struct included */
	size_t len;                               /* of the payload */
	struct ipc_msgfds *fds;                   /* NULL when it has none */
	_Atomic(struct ipc_msgstrings *) strings; /* made by the first that needs them; NULL before */
	struct ipc_ticket *ticket;                /* of a call, and of what answers it; NULL */
	struct ipc_receipt *receipt;              /* NULL: nobody has to know */
	unsigned char data[];                     /* the payload, and a NUL behind it */
};

/* A message with room for @len bytes of payload, @len and the NUL set, one reference. NULL with ENOMEM. */
struct aiomsg *ipc_msg_alloc(enum ipc_kind kind, size_t len);

/* As aiomsg_new(). */
struct aiomsg *ipc_msg_from_values(const char *format, va_list values);

/* A message of @len bytes in memory that is still to come: see ipc_msg_map(). NULL with ENOMEM. */
struct aiomsg *ipc_msg_elsewhere(size_t len);

/*
 * The memory of @m has come from a peer: maps it, and keeps @fd, also where this fails. -1: EBADMSG (it is not what it should be, in words
 * in *@wrong), or as mmap(2).
 */
int ipc_msg_map(struct aiomsg *m, int fd, const char **wrong);

/* Another message in the same memory. NULL: ENOMEM, EMFILE. Only of what is sealed. */
struct aiomsg *ipc_msg_again(const struct aiomsg *m);

/* Gives the memory back. */
void ipc_msg_unmap(struct aiomsg *m);

static inline struct ipc_msgmemory *ipc_msg_memory(const struct aiomsg *m)
{
	return (struct ipc_msgmemory *)(uintptr_t)m->data;
}

/* The payload, wherever it is. */
static inline const unsigned char *ipc_msg_bytes(const struct aiomsg *m)
{
	return m->memory ? ipc_msg_memory(m)->at : m->data;
}

/* May its maker still change it? */
static inline bool ipc_msg_is_open(const struct aiomsg *m)
{
	return m->memory && ipc_msg_memory(m)->open;
}

/* How many bytes of payload fit without another allocation. */
size_t ipc_msg_room(const struct aiomsg *m);

/* More room than there is, at least @len; the payload's first @keep bytes stay. Unshared messages only. -1/ENOMEM leaves *m. */
int ipc_msg_grow(struct aiomsg **m, size_t len, size_t keep);

/* Checks an image that came from a peer, with a NUL behind it: NULL, or what is wrong, in words. */
static inline const char *ipc_msg_check(struct aiomsg *m)
{
	struct ipc_plain plain = {0};
	const char *wrong = ipc_image_look(m->data, m->len, &plain);

	m->letters = plain.letters;
	m->copies = plain.copies;
	return wrong;
}

/* Sets the NUL behind a payload that came from a peer, all m->len bytes, and checks it. -1/EBADMSG with words in @why. */
int ipc_msg_seal(struct aiomsg *m, char *why, size_t size);

struct ipc_view;

/*
 * Where the parts of an image are. -1: EBADMSG (plain bytes, or another format), EINVAL (not a format).
 * read: with its strings, to be read from its front; -1/ENOMEM too.
 */
int ipc_msg_view(const struct aiomsg *m, const char *format, struct ipc_view *v);
int ipc_msg_read(const struct aiomsg *m, const char *format, struct ipc_view *v);

/* Gives @m these descriptors too, which are its own then. -1/ENOMEM, EMSGSIZE (more than 253) leaves them the caller's. Unshared messages only. */
int ipc_msg_give_fds(struct aiomsg *m, const int *fd, unsigned n);

/* A counted message is used by many: this one by nobody else now? */
static inline bool ipc_msg_unshared(const struct aiomsg *m)
{
	return atomic_load_explicit(&m->refs, memory_order_acquire) == 1;
}

/* Nobody else holds it, and nothing is to be freed with it? */
static inline bool ipc_msg_is_bare(const struct aiomsg *m)
{
	return ipc_msg_unshared(m) && !m->fds && !m->ticket && !m->receipt && !m->memory &&
	       !atomic_load_explicit(&m->strings, memory_order_relaxed);
}

#endif
