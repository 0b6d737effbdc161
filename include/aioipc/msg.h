/*
 * aiomsg: one message, a tpl image or plain bytes, maybe with descriptors. It does not change once
 * it is built, is counted, and may be shared between threads. aiowriter and aioreader build and read
 * images with nested arrays piece by piece.
 *
 * One grammar of values (aiomsg_new, aioconn_send, aiowriter_put) and of pointers to them (aiomsg_unpack, aioreader_get):
 *
 *   format  as a value                   as a pointer
 *   c       int (a char)                 char *
 *   j v     int (int16_t, uint16_t)      int16_t *, uint16_t *
 *   i u     int32_t, uint32_t            int32_t *, uint32_t *
 *   I U     int64_t, uint64_t            int64_t *, uint64_t *      (cast literals: (int64_t)-1)
 *   f       double                       double *
 *   s       const char *, may be NULL    const char **
 *   B       const void *, size_t         const void **, size_t *    (NULL and 0 when it is empty)
 *   x#      const T *, size_t n          T *, size_t n              (n > 0; to be read: as many as were sent)
 *   S(..)   const struct *, sizeof it    struct *, sizeof it        (a wrong size is EINVAL)
 *   A(x)    const T *, size_t count      T *, size_t room, size_t *count
 *   A(..)   const struct *, size_t count, sizeof one
 *                                        struct *, size_t room, sizeof one, size_t *count
 *
 * x is one letter of c j v i u I U f s, alone; T is its type, of s it is a const char *. A struct has the members that its
 * letters say, in order, as the compiler lays them out; x# in it is T member[n], and S(..) in A(..) a struct
 * in a struct. Each # takes its size_t where it stands in the format, behind the other arguments of the bracket that it is in:
 *
 *   i##          p, (size_t)3, (size_t)4                  int32_t p[3][4]
 *   S(ic#)       &p, sizeof p, (size_t)8                  struct { int32_t i; char c[8]; } p
 *   S(ic)#       p, sizeof *p, (size_t)2                  struct { int32_t i; char c; } p[2]
 *   A(ic#)       p, (size_t)5, sizeof *p, (size_t)8       struct { int32_t i; char c[8]; } p[5]
 *
 * Arrays that nest or hold B go through aiowriter and aioreader. What is no format: empty brackets, S in S, A or B in
 * S, more than 64 A or 10 # in a row, $. An empty format is one.
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
 * A message with these values, copied. Errno: EINVAL (not a format, or one for aiowriter; a size that does not
 * fit it; NULL where there are values), EMSGSIZE (over 4 GiB). Since 0.1.
 */
AIOIPC_API struct aiomsg *aiomsg_new(const char *format, ...);

/* A message of plain bytes, copied. Errno: EMSGSIZE (over 4 GiB). Since 0.1. */
AIOIPC_API struct aiomsg *aiomsg_new_bytes(const void *data, size_t len);

/* The format, such as "is"; NULL of plain bytes. Lives as long as the message. Since 0.1. */
AIOIPC_API const char *aiomsg_format(const struct aiomsg *m);

/*
 * Writes the values to where the pointers say. The format must be the message's own, to the letter.
 * Strings and B point into the message and live as long as it does; strings end in NUL.
 * Errno: EBADMSG (plain bytes, another format or another count of #), EINVAL (not a format, or one for aioreader; a wrong size),
 * EMSGSIZE (more elements than room: the *count of each array says how many, and nothing else was written). Since 0.1.
 */
AIOIPC_API int aiomsg_unpack(const struct aiomsg *m, const char *format, ...);

/*
 * The payload: the plain bytes, or the tpl image. A NUL that is not counted follows. Lives as long as the
 * message. @len may be NULL. Since 0.1.
 */
AIOIPC_API const void *aiomsg_bytes(const struct aiomsg *m, size_t *len);

/*
 * What a line that was received is a part of: 0 of a whole one. Pieces of a line that is longer than the limit come in order
 * (aioconn_set_limits(): long_lines), all but the first with CONTINUES, all but the last with MORE; the last may be empty. One
 * with MORE, and then one without CONTINUES or the end: the rest was lost. UNENDED: the stream ended, cleanly as far as the system tells,
 * without a delimiter behind this line: the last line of a file may be like that, and so is one that was cut.
 * The marks stay here: a piece that is sent on is a line. Since 0.2.
 */
enum { AIOMSG_CONTINUES = 1, AIOMSG_MORE = 2, AIOMSG_UNENDED = 4 };
AIOIPC_API unsigned aiomsg_part(const struct aiomsg *m);

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
 * A writer builds one image piece by piece. A piece is a stretch of the format, in whole items, with their values:
 *
 *	put(w, "sA(", title)    items, then "A(" at the end of a piece opens this array (it takes no argument);
 *	put(w, "iA(", id)       inside it each piece goes on with the element, or begins the next one behind a whole one;
 *	put(w, ")")             one ')' in front of a piece closes the innermost array, between two elements; items may follow.
 *
 * "A(i)" in a piece is a closed array with its values, as in aiomsg_new(). In arrays a # must have the same count
 * in every element; one that no element has told is 1.
 * The first error sticks, is told by every later put and by finish. A NULL writer gives EINVAL.
 * Errno: EINVAL (not a format; out of step with it; values as in aiomsg_new()), EMSGSIZE (over 4 GiB; arrays nested deeper than 16). Since 0.1.
 */
AIOIPC_API struct aiowriter *aiowriter_new(const char *format);
AIOIPC_API int aiowriter_put(struct aiowriter *w, const char *piece, ...);

/* The message, or NULL with the first error (EINVAL: the format is not at its end); frees the writer in any case. Since 0.1. */
AIOIPC_API struct aiomsg *aiowriter_finish(struct aiowriter *w);

/* Frees a writer that is not to be finished. NULL is fine. Since 0.1. */
AIOIPC_API void aiowriter_free(struct aiowriter *w);

/* A place in a message; on the stack, nothing to free, the message must outlive it. Its members are private. */
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

/* Starts at the front of @m. Errno: EBADMSG (plain bytes, or another format), EINVAL (not a format), EMSGSIZE (arrays nested deeper than 16). Since 0.1. */
AIOIPC_API int aioreader_init(struct aioreader *r, const struct aiomsg *m, const char *format);

/*
 * Reads the next piece: a stretch of the format in whole items, with pointers. "A(" at its end takes a uint32_t * for the
 * number of elements and enters the array; then each piece goes on with the element, or begins the next one behind a whole
 * one. Returns 1; 0 when the array has no further element (the next get goes on behind it) or the message has ended;
 * -1 with nothing read. Errno: EINVAL (out of step with the format, a wrong size), EBADMSG (another count of #), EMSGSIZE (a closed
 * array has more elements than room, as in aiomsg_unpack()). Since 0.1.
 */
AIOIPC_API int aioreader_get(struct aioreader *r, const char *piece, ...);

#ifdef __cplusplus
}
#endif

#endif
