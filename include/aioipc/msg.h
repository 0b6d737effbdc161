/*
 * aiomsg: one message. It is a tpl image or plain bytes, and may carry descriptors. A message does not change once it is
 * built. Messages are counted, and threads may share them. aiowriter and aioreader build and read images with nested arrays
 * piece by piece.
 *
 * A format describes the values. Values (aiomsg_new, aioconn_send, aiowriter_put) and pointers to them (aiomsg_unpack,
 * aioreader_get) follow the same grammar:
 *
 *   format  as a value                   as a pointer
 *   c       int (a char)                 char *
 *   j v     int (int16_t, uint16_t)      int16_t *, uint16_t *
 *   i u     int32_t, uint32_t            int32_t *, uint32_t *
 *   I U     int64_t, uint64_t            int64_t *, uint64_t *      (cast literals: (int64_t)-1)
 *   f       double                       double *
 *   s       const char *, may be NULL    const char **
 *   B       const void *, size_t         const void **, size_t *    (NULL and 0 when it is empty)
 *   x#      const T *, size_t n          T *, size_t n              (n > 0; reading: the n that was sent)
 *   S(..)   const struct *, sizeof it    struct *, sizeof it        (a wrong size is EINVAL)
 *   A(x)    const T *, size_t count      T *, size_t room, size_t *count
 *   A(..)   const struct *, size_t count, sizeof one
 *                                        struct *, size_t room, sizeof one, size_t *count
 *
 * x is one letter of c j v i u I U f s. T is its type; for s it is const char *. A struct has the members that the letters
 * name, in this order, with the layout of the compiler. In a struct, x# is a member T member[n], and S(..) in A(..) is a
 * struct in a struct. Each # takes a size_t. It stands where the # stands in the format, but after the other arguments of
 * the bracket around it:
 *
 *   i##          p, (size_t)3, (size_t)4                  int32_t p[3][4]
 *   S(ic#)       &p, sizeof p, (size_t)8                  struct { int32_t i; char c[8]; } p
 *   S(ic)#       p, sizeof *p, (size_t)2                  struct { int32_t i; char c; } p[2]
 *   A(ic#)       p, (size_t)5, sizeof *p, (size_t)8       struct { int32_t i; char c[8]; } p[5]
 *
 * Arrays that nest, or that hold B, need aiowriter and aioreader. Not a format: empty brackets, S inside S, A or B inside S,
 * more than 64 A, more than 10 # in a row, and $. The empty format is valid. The format and its letters are those of tpl
 * (https://troydhanson.github.io/tpl/).
 */
#ifndef AIOIPC_MSG_H
#define AIOIPC_MSG_H

#include <stddef.h>
#include <stdint.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aiomsg;
struct aiowriter;

/*
 * Makes a message of these values. They are copied.
 * Errno: EINVAL (not a format, or one that needs aiowriter; a size that does not fit the format; NULL where values are
 * needed), EMSGSIZE (over 4 GiB). Since 0.1.
 */
AIOIPC_API struct aiomsg *aiomsg_new(const char *format, ...);

/* Makes a message of @len plain bytes. They are copied. Errno: EMSGSIZE (over 4 GiB). Since 0.1. */
AIOIPC_API struct aiomsg *aiomsg_new_bytes(const void *data, size_t len);

/* The format, such as "is"; NULL for plain bytes. It is valid as long as the message. Since 0.1. */
AIOIPC_API const char *aiomsg_format(const struct aiomsg *m);

/*
 * Writes the values to the variables that the pointers name. @format must be equal to the format of the message. Strings and
 * B point into the message and are valid as long as it is. Strings end with a NUL.
 * Errno: EBADMSG (plain bytes, another format, or another count for a #), EINVAL (not a format, or one that needs aioreader;
 * a wrong size), EMSGSIZE (an array has more elements than there is room: then *count of each array says how many, and
 * nothing else was written). Since 0.1.
 */
AIOIPC_API int aiomsg_unpack(const struct aiomsg *m, const char *format, ...);

/*
 * The payload: the plain bytes, or the tpl image. A NUL follows that @len does not count. The payload is valid as long as the
 * message. @len may be NULL. Since 0.1.
 */
AIOIPC_API const void *aiomsg_bytes(const struct aiomsg *m, size_t *len);

/*
 * aiomsg_new_shared: makes a message of @len plain bytes, zeros at first, in memory that another process can map. Write the bytes to
 * *@data, then call aiomsg_seal(). Where the peer takes it, see aioconn_allow_shared(), and descriptors can be passed, the memory itself
 * travels, and nobody copies the bytes. Everywhere else, and below 128 KiB, they travel as other plain bytes do. Such a message has a
 * descriptor and a mapping until it is freed. New memory costs more than copies of less than many MiB.
 *
 * aiomsg_seal: from now on nobody can change the bytes, and the message can be sent. They are still read at *@data while the message
 * lives. Does nothing to a message that is sealed already, or of another kind. A child that was forked before writes to memory of its
 * own.
 *
 * Errno: EMSGSIZE (over 4 GiB), EFBIG (RLIMIT_FSIZE is less), EMFILE, ENOSYS and EPERM (the system has no such memory); of
 * aiomsg_seal() EBUSY (others hold the message too), ENOMEM, EMFILE (then it is empty, and can only be freed). Since 0.2.
 */
AIOIPC_API struct aiomsg *aiomsg_new_shared(size_t len, void **data);
AIOIPC_API int aiomsg_seal(struct aiomsg *m);

/*
 * Which part of a line this message is: 0 for a whole line, or these flags. A line over the limit comes in pieces, in order,
 * where long_lines of aioconn_set_limits() allows it. All pieces but the first have CONTINUES. All pieces but the last have
 * MORE; the last piece may be empty. When after a piece with MORE comes the end, or a piece without CONTINUES, the rest of
 * the line was lost. UNENDED: the stream ended without a delimiter after this line, cleanly as far as the system can tell.
 * The last line of a file may be like that, and so may a line that was cut. The flags are not sent: a piece that is sent on
 * is a line of its own. Since 0.2.
 */
enum { AIOMSG_CONTINUES = 1, AIOMSG_MORE = 2, AIOMSG_UNENDED = 4 };
AIOIPC_API unsigned aiomsg_part(const struct aiomsg *m);

/* How many descriptors the message still holds. Since 0.1. */
AIOIPC_API unsigned aiomsg_fds(const struct aiomsg *m);

/* Takes the first descriptor that is left; the caller closes it. -1/ENOENT when none is left. Since 0.1. */
AIOIPC_API int aiomsg_take_fd(struct aiomsg *m);

/*
 * Adds a duplicate of @fd to a message that nobody else holds yet; @fd stays the caller's. A message has at most 253
 * descriptors, the limit of Linux (SCM_MAX_FD). They are closed with the message.
 * Errno: EBADF, EMFILE, EBUSY (others hold the message too), EMSGSIZE (it has 253 already). Since 0.1.
 */
AIOIPC_API int aiomsg_add_fd(struct aiomsg *m, int fd);

/*
 * Messages are counted: one aiomsg_free() for each new message and one for each aiomsg_ref(). Any thread may call both.
 * aiomsg_ref() returns @m. aiomsg_free() takes NULL. Since 0.1.
 */
AIOIPC_API struct aiomsg *aiomsg_ref(struct aiomsg *m);
AIOIPC_API void aiomsg_free(struct aiomsg *m);

/*
 * A message of a stream (see <aioipc/stream.h>) is had by this process until it is answered. For any other message these calls do nothing,
 * and return 0, NULL and 1. Any thread may make them, and none waits. Since 0.2.
 *
 * aiomsg_ack: it is done with. aiomsg_nack: it is to be tried again, by any member of the group, in @after milliseconds at the soonest (at
 * most the lease of the stream). A message that is freed without either is given back at once. The server is told soon; when the
 * connection is broken, on the next one. Errno: EALREADY (it was answered), EPIPE (the stream is closed, and somebody else is given the
 * message), ECHILD, EINVAL (a negative time).
 *
 * aiomsg_hold: for the handler of a service that returns 0 and will answer later; it takes a reference too. aiomsg_id: what the server
 * calls it, such as "1795800707063-0": the same each time that it is given; valid as long as the message. aiomsg_tries: how often it was
 * given, this time included.
 */
AIOIPC_API int aiomsg_ack(struct aiomsg *m);
AIOIPC_API int aiomsg_nack(struct aiomsg *m, int64_t after);
AIOIPC_API void aiomsg_hold(struct aiomsg *m);
AIOIPC_API const char *aiomsg_id(const struct aiomsg *m);
AIOIPC_API unsigned aiomsg_tries(const struct aiomsg *m);

/*
 * Makes a message of an image that aiomsg_bytes() gave of a typed message, here or elsewhere: from a file or a database, say. The image
 * is copied, and checked as one that came from a peer. Errno: EBADMSG (it is no image; the log says why), EMSGSIZE (over 4 GiB).
 * Since 0.2.
 */
AIOIPC_API struct aiomsg *aiomsg_from_image(const void *image, size_t len);

/*
 * A writer builds one image piece by piece. A piece is a part of the format, in whole items, with their values:
 *
 *	put(w, "sA(", title)    items, then "A(" at the end of the piece: it opens this array, and takes no argument;
 *	put(w, "iA(", id)       inside the array a piece goes on with the element, or begins the next element after a whole one;
 *	put(w, ")")             ')' at the start of a piece, between two elements, closes the innermost array; items may follow.
 *
 * "A(i)" inside a piece is a whole array with its values, as in aiomsg_new(). In an array, a # must have the same count in
 * every element. A # of an array without elements counts as 1.
 * The first error stays: every later put and finish fail with it. A NULL writer gives EINVAL.
 * Errno: EINVAL (not a format; the piece does not fit the format here; values as in aiomsg_new()), EMSGSIZE (over 4 GiB;
 * arrays nested deeper than 16). Since 0.1.
 */
AIOIPC_API struct aiowriter *aiowriter_new(const char *format);
AIOIPC_API int aiowriter_put(struct aiowriter *w, const char *piece, ...);

/*
 * Returns the message, or NULL with the first error. EINVAL also means that the format is not at its end. It frees the writer
 * in any case. Since 0.1.
 */
AIOIPC_API struct aiomsg *aiowriter_finish(struct aiowriter *w);

/* Frees a writer without finishing it. @w may be NULL. Since 0.1. */
AIOIPC_API void aiowriter_free(struct aiowriter *w);

/*
 * A place in a message. It lives on the stack, needs no free, and must not outlive the message. Its members are private.
 */
#define AIOREADER_DEPTH 16
struct aioreader_array {
	const char *body;
	unsigned char *counts;
	uint32_t left;
};
struct aioreader {
	const char *format, *text;
	const unsigned char *at;
	unsigned char *counts;
	unsigned depth;
	int swap;
	struct aioreader_array array[AIOREADER_DEPTH];
};

/*
 * Puts the reader at the start of @m. Errno: EBADMSG (plain bytes, or another format), EINVAL (not a format), EMSGSIZE
 * (arrays nested deeper than 16). Since 0.1.
 */
AIOIPC_API int aioreader_init(struct aioreader *r, const struct aiomsg *m, const char *format);

/*
 * Reads the next piece: a part of the format, in whole items, with pointers. "A(" at the end of the piece takes a uint32_t *
 * for the number of elements, and enters the array. There, a piece goes on with the element, or begins the next element
 * after a whole one. Returns 1; 0 when the array has no more elements (the next call goes on after the array) or the message
 * has ended; -1 with nothing read.
 * Errno: EINVAL (the piece does not fit the format here, or a wrong size), EBADMSG (another count for a #), EMSGSIZE (a whole
 * array has more elements than there is room, as in aiomsg_unpack()). Since 0.1.
 */
AIOIPC_API int aioreader_get(struct aioreader *r, const char *piece, ...);

#ifdef __cplusplus
}
#endif

#endif
