#!/bin/sh
# Installs into a folder, and there builds programs with nothing but what pkg-config says about aioipc: C and C++,
# shared and static; by CMake and meson too. Each public header stands alone.
. "$srcdir/tests/tap.sh"

CC=${CC:-cc}
CXX=${CXX:-c++}
strict="-Wall -Wextra -Wpedantic -Wconversion -Werror"

cat >"$tmp/program.c" <<'END'
#include <aioipc.h>
#include <stdio.h>

int main(void)
{
	struct aioend *one, *other;
	struct aioconn *a, *b;
	struct aiomsg *m;
	const char *text;
	int got;

	if (aiosockpair(&one, &other) == -1 || !(a = aioend_open(one, NULL)) || !(b = aioend_open(other, NULL)))
		return 1;
	if (aioconn_send(a, "s", "hello") == -1 || aioconn_recv(b, &m, aioipc_after(5000)) != 1)
		return 2;
	if (aiomsg_unpack(m, "s", &text) == -1)
		return 3;
	printf("%s from %s\n", text, aioipc_version());
	aiomsg_free(m);
	aioconn_abort(a);
	got = aioconn_recv(b, &m, aioipc_after(5000));
	aioconn_abort(b);
	return got == -1 ? 0 : 4;
}
END
cp "$tmp/program.c" "$tmp/program.cc"
version=$(sed -n 's/^Version: //p' aioipc.pc)

# A copy of the build, in which nothing is compiled again. Installing makes libtool link a library once more, under its own name, and for that
# moment the other tests would find half of it. The argument is for configure, beside what it was told here.
copy_build() {
	rm -rf "$tmp/build" && mkdir "$tmp/build" && cp -a ipc tls tool .libs ./*.la "$tmp/build" || return 1
	find "$tmp/build" -name '*.P*o' -delete
	grep -rlIZ --include='*.la' --include='*.lai' --include=aioipc "$PWD" "$tmp/build" | xargs -0 -r sed -i "s|$PWD|$tmp/build|g" || return 1
	source=$(cd "$srcdir" && pwd)
	more=${1-}
	eval "set -- $(./config.status --config)"
	# what the first one has found out, but not the environment that it had
	[ ! -f "$tmp/config.cache" ] || sed -i '/^ac_cv_env_/d' "$tmp/config.cache"
	(cd "$tmp/build" && "$source/configure" -q --cache-file="$tmp/config.cache" "$@" ${more:+"$more"})
}

make_in_copy() {
	MAKEFLAGS='' ${MAKE:-make} -C "$tmp/build" "$@"
}

installs() {
	copy_build && make_in_copy install-exec install-data DESTDIR="$tmp/root" || return 1
	pc=$(find "$tmp/root" -name aioipc.pc)
	prefix=$(sed -n 's/^prefix=//p' "$pc")
	sed -i "s|^prefix=.*|prefix=$tmp/root$prefix|; s|^\(libdir\|includedir\)=$prefix|\1=\${prefix}|" "${pc%/*}"/aioipc*.pc
	libs=$(find "$tmp/root" -name libaioipc.so.0)
	export PKG_CONFIG_PATH="${pc%/*}" LD_LIBRARY_PATH="${libs%/*}"
}

# What quickstart says to those who are not root: what is built is configured once more, for a folder of theirs.
moves_to_another_prefix() {
	(
		unset LD_LIBRARY_PATH
		copy_build --prefix="$tmp/other" && make_in_copy -s install-exec &&
			[ "$("$tmp/other/bin/aioipc" --version)" = "aioipc $version" ]
	)
}

# a compiler and its source: builds and runs it
# shellcheck disable=SC2046,SC2086
works() {
	$1 $2 $strict -o "$tmp/program" $(pkg-config --cflags aioipc) "$3" $(pkg-config $4 --libs aioipc) || return 1
	[ "$("$tmp/program")" = "hello from $version" ]
}

# A program that links both libraries; and a program that links one loads no OpenSSL.
# shellcheck disable=SC2046
tls_works() {
	cat >"$tmp/tls.c" <<-'END'
	#include <aioipc.h>
	#include <aioipc/tls.h>
	#include <errno.h>

	int main(void)
	{
		struct aiotls_options o = {.size = sizeof o, .ca = "/nowhere"};

		return aiotls_new(&o) == NULL && errno == ENOENT ? 0 : 1;
	}
	END
	$CC -std=c11 -o "$tmp/tls" $(pkg-config --cflags aioipc-tls) "$tmp/tls.c" $(pkg-config --libs aioipc-tls) &&
		"$tmp/tls" && ! ldd "$tmp/program" | grep libssl
}

# shellcheck disable=SC2046,SC2086
stands_alone() {
	for header in $(cd "$tmp/root" && find . -name '*.h' -path '*aioipc*' | sed 's|.*/include/||'); do
		echo "#include <$header>" >"$tmp/alone.c"
		echo "#include <$header>" >>"$tmp/alone.c"
		$1 $2 $strict -fsyntax-only $(pkg-config --cflags aioipc) "$tmp/alone.c" || return 1
	done
}

# A build tool's way to a program: its own folder, and what it is told there. Standard input is the file of the build.
project() {
	rm -rf "$tmp/project" && mkdir "$tmp/project" && cp "$tmp/program.c" "$tmp/project" && cat >"$tmp/project/$1"
}

project_says() {
	[ "$("$tmp/project/out/program")" = "hello from $version" ] || return 1
}

# which target
cmake_works() {
	project CMakeLists.txt <<-END || return 1
	cmake_minimum_required(VERSION 3.21)
	project(program C)
	find_package(aioipc 0.1 REQUIRED)
	if(prefix OR lib OR headers)
		message(FATAL_ERROR "a variable of the caller is changed")
	endif()
	add_executable(program program.c)
	target_link_libraries(program $1)
	END
	(unset MAKE MAKEFLAGS MFLAGS && cd "$tmp/project" && cmake -S . -B out -DCMAKE_PREFIX_PATH="$tmp/root$prefix" -DCMAKE_C_COMPILER="${CC%% *}" \
		-DCMAKE_C_FLAGS="$cflags" && cmake --build out) && project_says
}

# A version that is not there yet is not found.
cmake_refuses() {
	project CMakeLists.txt <<-END || return 1
	cmake_minimum_required(VERSION 3.21)
	project(program C)
	find_package(aioipc $1 QUIET)
	if(aioipc_FOUND)
		message(FATAL_ERROR "found")
	endif()
	END
	env -u MAKE -u MAKEFLAGS cmake -S "$tmp/project" -B "$tmp/project/out" -DCMAKE_PREFIX_PATH="$tmp/root$prefix"
}

# what dependency() is told, behind the name
meson_works() {
	project meson.build <<-END || return 1
	project('program', 'c')
	executable('program', 'program.c', dependencies: dependency('aioipc', version: '>=0.1'$1))
	END
	(cd "$tmp/project" && CFLAGS='' meson setup out && meson compile -C out) && project_says
}

# what is linked fully static must be there as an archive
missing_archives() {
	for name in $(pkg-config --static --libs-only-l aioipc | sed 's/-laioipc//g; s/-l//g') c; do
		[ "$($CC -print-file-name="lib$name.a")" != "lib$name.a" ] || echo "lib$name.a"
	done | sort -u | tr '\n' ' '
}

# shellcheck disable=SC2046,SC2086
fully_static_works() {
	$CC -std=c11 -static -o "$tmp/program" $(pkg-config --cflags aioipc) "$tmp/program.c" $(pkg-config --static --libs aioipc) &&
		[ "$("$tmp/program")" = "hello from $version" ] && ! ldd "$tmp/program"
}

# The static library only: nothing of ours is left to load.
static_works() {
	mkdir "$tmp/hidden" && mv "$LD_LIBRARY_PATH"/libaioipc.so* "$tmp/hidden" || return 1
	works "$CC" -std=c11 "$tmp/program.c" --static && ! ldd "$tmp/program" | grep aioipc
}

# The tool, with its manual page and what the shells complete.
tool_works() {
	for file in man1/aioipc.1 bash-completion/completions/aioipc zsh/site-functions/_aioipc; do
		[ -n "$(find "$tmp/root" -path "*/$file")" ] || return 1
	done
	[ "$("$(find "$tmp/root" -path '*/bin/aioipc')" --version)" = "aioipc $version" ]
}

# Only folders that others use too.
uninstalls() {
	[ ! -d "$tmp/hidden" ] || mv "$tmp/hidden"/* "$LD_LIBRARY_PATH" || return 1
	make_in_copy uninstall DESTDIR="$tmp/root" || return 1
	find "$tmp/root" ! -type d -o -name 'aioipc*' | nothing
}

check "make install" installs
check "the tool" tool_works
check "a program in C" works "$CC" -std=c11 "$tmp/program.c" ""
check "each header alone, in C11" stands_alone "$CC" -std=c11
if [ -f .libs/libaioipc-tls.so ]; then
	check "a program with TLS" tls_works
else
	skip "a program with TLS" "configured without it"
fi
if have "${CXX%% *}"; then
	check "a program in C++" works "$CXX" -std=c++11 "$tmp/program.cc" ""
	check "each header alone, in C++11" stands_alone "$CXX" "-x c++ -std=c++11"
else
	skip "a program in C++" "no C++ compiler"
	skip "each header alone, in C++11" "no C++ compiler"
fi
cflags=${CC#"${CC%% *}"}
if have cmake; then
	check "CMake: find_package(aioipc)" cmake_works aioipc::aioipc
	check "CMake: a later version is not found" cmake_refuses 0.99
	check "CMake: another soname is not found" cmake_refuses 1.0
else
	skip "CMake: find_package(aioipc)" "no cmake"
fi
if have meson && have ninja; then
	check "meson: dependency('aioipc')" meson_works ""
else
	skip "meson: dependency('aioipc')" "no meson"
fi
if [ -f .libs/libaioipc.a ]; then
	if have cmake; then check "CMake: aioipc::static" cmake_works aioipc::static; fi
	missing=$(missing_archives)
	if [ -z "$missing" ]; then
		check "a fully static program" fully_static_works
	else
		skip "a fully static program" "this system lacks $missing"
	fi
	check "a program with the static library" static_works
else
	skip "a program with the static library" "configured without it"
fi
check "make uninstall leaves nothing" uninstalls
check "another prefix, after all was built" moves_to_another_prefix
finish
