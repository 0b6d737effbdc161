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

# A work in which more is better, and one in which less is.
plots() {
	cat >"$tmp/bench.json" <<'END'
{"works": [{"work": "one <way>", "unit": "M/s", "results": [{"who": "aioipc", "median": 8.0}, {"who": "libuv", "median": 2.0, "ratio": 4.0}]},
{"work": "there and back", "unit": "us", "results": [{"who": "aioipc", "median": 8.0}, {"who": "raw epoll", "median": 4.0, "ratio": 2.0}]},
{"work": "alone", "unit": "us", "results": [{"who": "aioipc", "median": 8.0}, {"who": "libqb", "state": "missing"}]}]}
END
	"$python" -B "$srcdir/bench/plot.py" "$tmp/bench.json" >"$tmp/bench.svg" &&
		"$python" -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$tmp/bench.svg" &&
		grep '<title>libuv: 4</title>' "$tmp/bench.svg" && grep '<title>by hand: 0.5</title>' "$tmp/bench.svg" &&
		grep 'one &lt;way&gt;' "$tmp/bench.svg" && ! grep alone "$tmp/bench.svg"
}

plots_nothing() {
	! "$python" -B "$srcdir/bench/plot.py" "$srcdir/README.md" 2>"$tmp/said" && grep 'takes the JSON of make bench' "$tmp/said"
}

pictures_there() {
	sed -n 's/.*!\[.*\](\(.*\))$/\1/p' "$srcdir/README.md" | tee "$tmp/pictures" | while read -r picture; do
		[ -s "$srcdir/$picture" ] || echo "$picture"
	done | nothing && [ "$(wc -l <"$tmp/pictures")" -ge 3 ]
}

check "the pictures of README are there" pictures_there
if have "$python"; then
	check "the bench as a picture" plots
	check "but nothing else" plots_nothing
else
	skip "the bench as a picture" "no python3"
fi
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
