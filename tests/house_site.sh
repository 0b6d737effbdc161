#!/bin/sh
# The manual as a site: it is made, every link in it leads somewhere, and the search knows every call.
. "$srcdir/tests/tap.sh"

python=${PYTHON3:-python3}

makes() {
	"$python" -B "$srcdir/doc/site/make_site.py" "$srcdir" "$tmp/site" && [ -s "$tmp/site/index.html" ]
}

all_pages() {
	for page in "$srcdir"/man/*.[137]; do
		[ -s "$tmp/site/${page##*/}.html" ] || echo "$page"
	done | nothing && [ "$(find "$tmp/site" -name 'guide-*.html' | wc -l)" = "$(find "$srcdir/doc/guide" -name '*.md' | wc -l)" ]
}

dead_links() {
	"$python" -B "$srcdir/doc/site/links.py" "$tmp/site"
}

no_dead_links() {
	dead_links >"$tmp/dead" && nothing <"$tmp/dead"
}

# Whoever looks for dead links finds them.
finds_dead_links() {
	sed -i 's/href="site.css"/href="sight.css"/' "$tmp/site/aioend.3.html" && dead_links | grep 'aioend.3.html: sight.css'
}

calls_found() {
	sed -n 's/^\t\(aio[a-z_]*\);/\1/p' "$srcdir/ipc/libaioipc.map" | while read -r call; do
		grep -q "\\[\"$call\",\"[a-z_]*\\.3\\.html[^\"]*\",\"call\"" "$tmp/site/places.js" || echo "$call"
	done | nothing
}

if ! have mandoc || ! have "$python"; then
	skip "the site" "no mandoc, or no python3"
else
	check "it is made" makes
	check "every page and chapter is there" all_pages
	check "no link is broken" no_dead_links
	check "the search knows every call" calls_found
	check "a broken link is found" finds_dead_links
fi
finish
