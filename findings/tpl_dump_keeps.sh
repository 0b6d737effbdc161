#!/bin/sh
# libtpl: a handle with an array is packed, dumped, packed again and dumped again. The second image holds the elements of the first one
# too: tpl_dump() takes nothing away, so who keeps a handle for the next message sends all former ones with it.
. "$(dirname "$0")/common.sh"
packages libtpl-dev=1.6.1-1.1 libtpl0=1.6.1-1.1
guess "elements in three images, one packed before each: 1 1 1"
build -ltpl <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <tpl.h>

int main(void)
{
	int i = 7;
	tpl_node *out = tpl_map("A(i)", &i), *in;
	size_t size;
	void *image;

	printf("elements in three images, one packed before each:");
	for (int k = 0; k < 3; k++) {
		tpl_pack(out, 1);
		tpl_dump(out, TPL_MEM, &image, &size);
		in = tpl_map("A(i)", &i);
		tpl_load(in, TPL_MEM, image, size);
		printf(" %d", tpl_Alen(in, 1));
		tpl_free(in);
		free(image);
	}
	puts("");
	return 0;
}
END
finding "elements in three images, one packed before each: 1 2 3" "$tmp/program"
