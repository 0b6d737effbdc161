#!/bin/sh
# libtpl: a struct inside a struct, written "S(i$(cf)i)". Where the compiler pads the inner one, the library takes its members from
# the wrong places, and says neither when packing nor when unpacking that anything is wrong.
. "$(dirname "$0")/common.sh"
packages libtpl-dev=1.6.1-1.1 libtpl0=1.6.1-1.1
guess "1 x 2.5 4 comes back as 1 x 2.5 4, or the format is refused"
build -ltpl <<'END'
#include <stdio.h>
#include <string.h>
#include <tpl.h>

struct inner {
	char c;
	double d;
};

struct outer {
	int a;
	struct inner in;
	int z;
};

int main(void)
{
	struct outer o = {1, {'x', 2.5}, 4}, back;
	tpl_node *t = tpl_map("S(i$(cf)i)", &o);
	size_t size;
	void *image;

	memset(&back, 0, sizeof back);
	if (!t || tpl_pack(t, 0) < 0 || tpl_dump(t, TPL_MEM, &image, &size) < 0)
		return puts("refused") < 0;
	tpl_free(t);
	t = tpl_map("S(i$(cf)i)", &back);
	if (tpl_load(t, TPL_MEM, image, size) < 0 || tpl_unpack(t, 0) < 0)
		return puts("refused") < 0;
	printf("%d %c %g %d comes back as %d %c %s\n", o.a, o.in.c, o.in.d, o.z, back.a, back.in.c,
	       back.in.d == o.in.d && back.z == o.z ? "2.5 4" : "something else");
	return 0;
}
END
finding "1 x 2.5 4 comes back as 1 x something else" "$tmp/program"
