/* Text to be shown: see text.h. */
#include "ipc/os/text.h"

#include <string.h>

size_t ipc_text_decode(const unsigned char *p, size_t n, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;

	*code = *p;
	if (len == 1)
		return 1;
	if (*p < 0xc2 || *p > 0xf4 || n < len)
		return 0;
	*code &= 0x7fU >> len;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (p[i] & 0x3f);
	}
	return *code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff) ? 0 : len;
}

bool ipc_text_is_plain(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} wild[] = {
		{0x7f, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},   {0x200b, 0x200f},   {0x2028, 0x202e},
		{0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff},
	};

	if (code < 0x7f)
		return code >= 0x20;
	for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++)
		if (code >= wild[i].first && code <= wild[i].last)
			return false;
	return true;
}

void ipc_text_tame(char *text)
{
	unsigned char *p = (unsigned char *)text, *end = p + strlen(text);

	while (p < end) {
		uint32_t code;
		size_t len = ipc_text_decode(p, (size_t)(end - p), &code);
		bool stays = len > 0 && ipc_text_is_plain(code);

		for (size_t i = 0; i < (len > 0 ? len : 1); i++, p++)
			if (!stays)
				*p = '?';
	}
}
