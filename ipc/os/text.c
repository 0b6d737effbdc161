/* Text to be shown: see text.h. */
#include "ipc/os/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character at @p: how many bytes, 0 if it is no UTF-8. The NUL behind the text continues nothing. */
static size_t decode(const unsigned char *p, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;

	*code = *p;
	if (len == 1)
		return 1;
	if (*p < 0xc2 || *p > 0xf4)
		return 0;
	*code &= 0x7fU >> len;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (p[i] & 0x3f);
	}
	return *code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff) ? 0 : len;
}

static bool is_plain(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} wild[] = {
		{0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},   {0x200b, 0x200f},
		{0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff},
	};

	for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++)
		if (code >= wild[i].first && code <= wild[i].last)
			return false;
	return true;
}

void ipc_text_tame(char *text)
{
	unsigned char *p = (unsigned char *)text;

	while (*p) {
		uint32_t code;
		size_t len = decode(p, &code);
		bool stays = len > 0 && is_plain(code);

		for (size_t i = 0; i < (len > 0 ? len : 1); i++, p++)
			if (!stays)
				*p = '?';
	}
}
