/*
 * aiomsg: one message, a tpl image or plain bytes, maybe with descriptors. It does not change once
 * it is built, is counted, and may be shared between threads. aiowriter and aioreader build and read
 * images with nested arrays piece by piece.
 *
 * One grammar of values (aiomsg_new, aioconn_send) and of pointers to them (aiomsg_unpack):
 *
 *   format  as a value                   as a pointer
 *   c       int (a char)                 char *
 *   j v     int (int16_t, uint16_t)      int16_t *, uint16_t *
 *   i u     int32_t, uint32_t            int32_t *, uint32_t *
 *   I U     int64_t, uint64_t            int64_t *, uint64_t *      (cast literals: (int64_t)-1)
 *   f       double                       double *
 *   s       const char *, may be NULL    const char **
 *   B       const void *, size_t         const void **, size_t *
 *   x#      const T *, size_t count      T *, size_t count          (must be the count that was sent)
 *   S(..)   const struct *, sizeof it    struct *, sizeof it        (a wrong size is EINVAL)
 *   A(x)    const T *, size_t count      T *, size_t room, size_t *count
 *   A(xyz)  const struct *, size_t count, sizeof one
 *                                        struct *, size_t room, sizeof one, size_t *count
 *
 * Arrays that nest, or hold anything but c j v i u I U f s and S(..) of those, go through
 * aiowriter and aioreader.
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
 * A message with these values, copied. Errno: EINVAL (a format that is none, a size that does not
 * fit it, a string or pointer missing), EMSGSIZE (over 4 GiB). Since 0.1.
 */
AIOIPC_API struct aiomsg *aiomsg_new(const char *format, ...);

/* A message of plain bytes, copied. Errno: EMSGSIZE (over 4 GiB). Since 0.1. */
AIOIPC_API struct aiomsg *aiomsg_new_bytes(const void *data, size_t len);

/* The format, such as "is"; NULL of plain bytes. Lives as long as the message. Since 0.1. */
AIOIPC_API const char *aiomsg_format(const struct aiomsg *m);

/*
 * Writes the values to where the pointers say. The format must be the message's own, to the letter.
 * Strings and B point into the message and live as long as it does; strings end in NUL.
 * Errno: EBADMSG (plain bytes, another format or another count of x#), EINVAL (not a format, or a wrong size),
 * EMSGSIZE (more elements than room: *count says how many, and nothing else was written). Since 0.1.
 */
AIOIPC_API int aiomsg_unpack(const struct aiomsg *m, const char *format, ...);

/* The payload: the plain bytes, or the tpl image. Lives as long as the message. @len may be NULL. Since 0.1. */
AIOIPC_API const void *aiomsg_bytes(const struct aiomsg *m, size_t *len);

/* How many descriptors the message still holds. Since 0.1. */
AIOIPC_API unsigned aiomsg_fds(const struct aiomsg *m);

/* Gives the first descriptor that is left to the caller. -1/ENOENT when none is. Since 0.1. */
AIOIPC_API int aiomsg_take_fd(struct aiomsg *m);

/*
 * Adds a duplicate of @fd to a message that nobody else holds yet; at most 253. They are closed
 * with the message. Errno: EBADF, EMFILE, EBUSY (it is shared), EMSGSIZE (253 already). Since 0.1.
 */
AIOIPC_API int aiomsg_add_fd(struct aiomsg *m, int fd);

/* Counted: one free for every new and ref. Any thread. ref returns @m. free takes NULL. Since 0.1. */
AIOIPC_API struct aiomsg *aiomsg_ref(struct aiomsg *m);
AIOIPC_API void aiomsg_free(struct aiomsg *m);

/*
 * A writer builds one image piece by piece: aiowriter_put() takes any stretch of the format with
 * its values; "A(" or "(" as its last part opens an array and ")" as its first closes one element
 * run. "iA(" in front of an element inside an array of arrays opens the inner one.
 * The first error sticks and is told by finish. Errno: EINVAL (not a format; out of step with it), EMSGSIZE. Since 0.1.
 */
AIOIPC_API struct aiowriter *aiowriter_new(const char *format);
AIOIPC_API int aiowriter_put(struct aiowriter *w, const char *piece, ...);

/* The message, or NULL with the first error; frees the writer in any case. Since 0.1. */
AIOIPC_API struct aiomsg *aiowriter_finish(struct aiowriter *w);

/* Frees a writer that is not to be finished. NULL is fine. Since 0.1. */
AIOIPC_API void aiowriter_free(struct aiowriter *w);

/* A place in a message; on the stack, nothing to free, the message must outlive it. Its members are private. */
#define AIOREADER_DEPTH 16
struct aioreader {
	const struct aiomsg *msg;
	const char *format;
	size_t at, string_at;
	unsigned depth, fixed;
	struct {
		const char *format;
		uint32_t left;
		int inside;
	} array[AIOREADER_DEPTH];
};

/* Starts at the front of @m. Errno: EBADMSG (plain bytes, or another format), EMSGSIZE (nested deeper than 16). Since 0.1. */
AIOIPC_API int aioreader_init(struct aioreader *r, const struct aiomsg *m, const char *format);

/*
 * Reads the next stretch of the format. In it "A(" takes a uint32_t * for the number of elements and enters the
 * array; every later get with the elements' format reads one. Returns 1; 0 when this array
 * has ended (the next get continues behind it) or the message has; -1/EINVAL out of step with the format. Since 0.1.
 */
AIOIPC_API int aioreader_get(struct aioreader *r, const char *piece, ...);

#ifdef __cplusplus
}
#endif

#endif
