/*
 * Messages as text, to be read by people, and as JSON, for other programs; and back, the same to the bit.
 *
 * The text is what the command aioipc(1) prints: the format and the values behind it, or the plain bytes in quotes:
 *
 *	siA(is) "the answer" 42 [ 1 "one" 2 \N ]
 *	"plain bytes, \x00 too"
 *
 * The JSON is one object:
 *
 *	{"format": "siA(is)", "values": ["the answer", 42, [[1, "one"], [2, null]]]}
 *	{"bytes": "plain bytes"}
 *
 * Neither can control a terminal, whatever a peer has sent, nor is there a newline in it. Numbers come back as they were, integers of 64 bits
 * and each float; so do bytes that are no UTF-8. How many descriptors a message has is shown, and left out when it is read: they are not in it.
 */
#ifndef AIOIPC_TEXT_H
#define AIOIPC_TEXT_H

#include <stddef.h>

#include <aioipc/base.h>
#include <aioipc/msg.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Write @m to @text, which has room for @size bytes: as much as has a place there, in whole characters, and a NUL. They return how long all of it
 * is, without the NUL; it was cut when that is not less than @size. With 0 for @size nothing is written, and @text may be NULL. They can't
 * fail, allocate nothing, and take time for all of the message. Since 0.2.
 */
AIOIPC_API size_t aiomsg_text(const struct aiomsg *m, char *text, size_t size);
AIOIPC_API size_t aiomsg_json(const struct aiomsg *m, char *text, size_t size);

/*
 * The message that @text, of @len bytes, was written from, the caller's to free. What is wrong with it, and at which byte, is told to the log
 * (aioipc_set_log()). aiomsg_from_text() takes values without quotes too, where they have no space in them; aiomsg_from_json() any JSON with these
 * members in any order, and leaves out others. Errno: EINVAL (not such a text; no format; values that do not fit it), EMSGSIZE
 * (over 4 GiB), ENOMEM. Since 0.2.
 */
AIOIPC_API struct aiomsg *aiomsg_from_text(const char *text, size_t len);
AIOIPC_API struct aiomsg *aiomsg_from_json(const char *text, size_t len);

/*
 * The message of @format with these values, from words such as those of a command line: one for each value, as aiomsg_text() writes them but
 * without the quotes, and the words "[" and "]" around arrays. @words ends in a NULL. *@used is how many the format took; @used may be
 * NULL when none may be left. Errno: as above. Since 0.2.
 */
AIOIPC_API struct aiomsg *aiomsg_from_words(const char *format, char *const *words, size_t *used);

#ifdef __cplusplus
}
#endif

#endif
