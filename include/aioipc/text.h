/*
 * Messages as text for people, and as JSON for other programs. Both can be read back, and give the same message to the bit.
 *
 * The text is what the command aioipc(1) prints: the format and the values behind it, or plain bytes in quotes:
 *
 *	siA(is) "the answer" 42 [ 1 "one" 2 \N ]
 *	"plain bytes, \x00 too"
 *
 * The JSON is one object:
 *
 *	{"format": "siA(is)", "values": ["the answer", 42, [[1, "one"], [2, null]]]}
 *	{"bytes": "plain bytes"}
 *
 * Neither contains a newline or a control character, whatever a peer has sent. Every integer and every float comes back as
 * it was, and so do bytes that are not UTF-8. Both tell how many descriptors a message has. The descriptors do not come back.
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
 * Write @m to @text, which has room for @size bytes. They write as much as fits, in whole characters, and a NUL. They return
 * the length of the whole text without the NUL: the text was cut when this is not less than @size. When @size is 0 they write
 * nothing, and @text may be NULL. They do not fail and do not allocate. They take time for the whole message. Since 0.2.
 */
AIOIPC_API size_t aiomsg_text(const struct aiomsg *m, char *text, size_t size);
AIOIPC_API size_t aiomsg_json(const struct aiomsg *m, char *text, size_t size);

/*
 * Return the message that @text, of @len bytes, describes. The caller frees it. When @text is wrong, the log tells what is
 * wrong and at which byte (aioipc_set_log()). aiomsg_from_text() also accepts values without quotes when no space is in them.
 * aiomsg_from_json() accepts the members in any order and ignores members that it does not know. Errno: EINVAL (the text is
 * wrong, the format is not one, or the values do not fit it), EMSGSIZE (over 4 GiB), ENOMEM. Since 0.2.
 */
AIOIPC_API struct aiomsg *aiomsg_from_text(const char *text, size_t len);
AIOIPC_API struct aiomsg *aiomsg_from_json(const char *text, size_t len);

/*
 * Returns the message of @format with values from words, such as those of a command line. @words ends with NULL. Each value
 * takes one word, written as aiomsg_text() writes it but without quotes; the words "[" and "]" are around arrays. *@used is
 * the number of words that the format took. When @used is NULL, no word may be left. Errno: as above. Since 0.2.
 */
AIOIPC_API struct aiomsg *aiomsg_from_words(const char *format, char *const *words, size_t *used);

#ifdef __cplusplus
}
#endif

#endif
