#!/usr/bin/env python3
"""The manual as a site: make_site.py SOURCE SITE. Pages by mandoc, the guide from doc/guide/*.md, the pictures, an index for the search.
No address in it leaves the folder, so that it works from a disk as well as from a server."""
import glob
import html
import json
import os
import re
import shutil
import subprocess
import sys

GROUPS = (("1", "Command"), ("7", "Ideas and rules"), ("3", "Calls"))
FRONT = """<h1>aioipc</h1>
<p class="lead">A C library for programs that are made of several processes: pipes, socket pairs and shared memory that know about
<code>fork()</code>, messages with types, and one set of calls that block, call back from an event loop, or suspend a coroutine.</p>
<p><a href="guide-01-pipe.html">Begin with the guide</a>: eleven short chapters, each with a program that runs as it is shown. Or look
a call up: press <kbd>/</kbd> and type its name.</p>
<img src="fork.svg" alt="What fork does with ends: those that were given to the child move, all others are closed there">
"""


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def plain(fragment):
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", fragment))).strip()


class Page:
    """One page of the site. What others link to in it: names, each with an address."""

    def __init__(self, address, title, about, group):
        self.address, self.title, self.about, self.group = address, title, about, group
        self.body, self.names = "", {}


# The manual.

def manual_page(path):
    name, section = os.path.basename(path).rsplit(".", 1)
    out = subprocess.run(["mandoc", "-T", "html", "-O", "fragment,man=%N.%S.html", path], check=True, capture_output=True, text=True).stdout
    about = plain(re.search(r'class="Nd">(.*?)</span>', out, re.S).group(1))
    page = Page(f"{name}.{section}.html", f"{name}({section})", about, section)
    page.body = out
    head = re.search(r'id="NAME">.*?</section>', out, re.S).group(0)
    for call in re.findall(r'<code class="Nm">([^<]*)</code>', head):
        page.names[call.strip()] = page.address + (f"#{call}" if f'id="{call}"' in out else "")
    return page


def link_references(page, by_name, section_of):
    """Calls lead to where they are described; a page that is not ours is a name and no link."""
    def reference(match):
        name, section, rest = match.groups()
        where = by_name.get(name)
        if where and section_of[name] == section:
            return f'<a class="Xr" href="{where}"{rest}'
        return f'<a class="Xr"{rest}'

    def call(match):
        where = by_name.get(match.group(1))
        return f'<code class="Fn"><a href="{where}">{match.group(1)}</a></code>' if where else match.group(0)
    body = re.sub(r'<a class="Xr" href="([^"]*)\.([0-9][^".]*)\.html"(.*?>)', reference, page.body)
    body = re.sub(r'<code class="Fn">(\w+)</code>', call, body)
    page.body = f'<h1>{page.title}</h1>\n<p class="lead">{html.escape(page.about)}</p>\n{body}'


# The guide: as much of Markdown as it uses.

def inline(text, by_name):
    spans = []

    def keep(markup):
        spans.append(markup)
        return f"\0{len(spans) - 1}\0"

    def code(match):
        words = match.group(1)
        name = words[:-2] if words.endswith("()") else words
        markup = f"<code>{html.escape(words)}</code>"
        return keep(f'<a href="{by_name[name]}">{markup}</a>' if name in by_name else markup)

    def page(match):
        name = match.group(1)
        return keep(f'<a href="{by_name[name]}">{match.group(0)}</a>') if name in by_name else match.group(0)

    def picture(match):
        return keep(f'<img src="{os.path.basename(match.group(2))}" alt="{html.escape(match.group(1))}">')
    text = re.sub(r"`([^`]+)`", code, text)
    text = re.sub(r"!\[([^]]*)\]\(([^)]*)\)", picture, text)
    text = re.sub(r"\[([^]]*)\]\(([^)]*)\)", lambda m: keep(f'<a href="{m.group(2)}">{html.escape(m.group(1))}</a>'), text)
    text = re.sub(r"\b(aio[\w-]*)\([137]\)", page, text)
    text = html.escape(text, quote=False)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)
    return re.sub("\0(\\d+)\0", lambda m: spans[int(m.group(1))], text)


def markdown(text, by_name):
    out = []
    for part in re.split(r"(^```\w*\n.*?^```$)", text, flags=re.S | re.M):
        fence = re.match(r"```(\w*)\n(.*)```$", part, re.S)
        if fence:
            out.append(f'<pre class="{fence.group(1)}"><code>{html.escape(fence.group(2), quote=False)}</code></pre>')
            continue
        for block in filter(None, (b.strip() for b in re.split(r"\n\s*\n", part))):
            heading = re.match(r"(#+) (.*)", block)
            if heading:
                level, words = len(heading.group(1)), heading.group(2)
                name = re.sub(r"\W+", "-", words.lower())
                out.append(f'<h{level} id="{name}">{inline(words, by_name)}</h{level}>')
            elif block.startswith("!["):
                out.append(inline(block, by_name))
            else:
                out.append(f"<p>{inline(block, by_name)}</p>")
    return "\n".join(out)


def chapter(path):
    text = read(path)
    title = re.match(r"# (.*)", text).group(1)
    number = os.path.basename(path)[:2]
    about = re.split(r"(?<=[.:]) ", plain(re.sub(r"[*`]", "", text.split("\n\n")[1])))[0].rstrip(":")
    page = Page("guide-" + os.path.basename(path)[:-3] + ".html", f"{int(number)}. {title}", about, "guide")
    page.source = text
    return page


# Around them.

def contents(pages, current):
    parts = [("Guide", [p for p in pages if p.group == "guide"])]
    parts += [(title, [p for p in pages if p.group == group]) for group, title in GROUPS]
    out = []
    for title, some in parts:
        out.append(f"<h2>{title}</h2><ul>")
        for p in some:
            here = ' aria-current="page"' if p is current else ""
            out.append(f'<li><a href="{p.address}"{here}>{html.escape(p.title)}</a></li>')
        out.append("</ul>")
    return "".join(out)


def whole(page, pages, version):
    title = "aioipc" if page.group == "front" else f"{page.title} - aioipc"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="{html.escape(page.about)}">
<title>{html.escape(title)}</title>
<link rel="stylesheet" href="site.css">
</head>
<body>
<header><a class="brand" href="index.html">aioipc <small>{version}</small></a>
<div class="search" role="search"><input type="search" placeholder="Search: a call, a word ( / )" aria-label="Search"><ul id="found"></ul></div></header>
<div class="columns">
<nav class="contents" aria-label="Contents"><details open><summary>Contents</summary>{contents(pages, page)}</details></nav>
<main>
{page.body}
</main>
</div>
<script src="places.js"></script>
<script src="site.js"></script>
</body>
</html>
"""


def cards(pages):
    items = (f'<li><a href="{p.address}"><b>{html.escape(p.title)}</b><span>{html.escape(p.about)}</span></a></li>' for p in pages)
    return '<ul class="cards">' + "".join(items) + "</ul>"


def front(pages):
    page = Page("index.html", "aioipc", "pipes, socket pairs and typed messages for programs that are made of several processes", "front")
    page.body = FRONT + "<h2>The guide</h2>" + cards([p for p in pages if p.group == "guide"])
    for group, title in GROUPS:
        page.body += f"<h2>{title}</h2>" + cards([p for p in pages if p.group == group])
    page.body += '<h2>How it is built</h2><img src="floors.svg" alt="The floors of the library">'
    return page


def turn(chapters):
    """From a chapter to those beside it."""
    for before, here, behind in zip([None] + chapters, chapters, chapters[1:] + [None]):
        back = f'<a href="{before.address}">&larr; {html.escape(before.title)}</a>' if before else "<span></span>"
        on = f'<a href="{behind.address}">{html.escape(behind.title)} &rarr;</a>' if behind else '<a href="index.html">All pages &rarr;</a>'
        here.body += f'<div class="turn">{back}{on}</div>'


def places(pages):
    """What the search looks through: calls, and sections with their text."""
    found = []
    for page in pages:
        if page.group == "guide":
            found.append([page.title, page.address, "guide", plain(page.body)])
            continue
        for name, where in page.names.items():
            found.append([name, where, "call" if page.group == "3" else "page", f"{page.title}: {page.about}"])
        for section in re.findall(r'<section class="S[hs]">.*?(?=<section|</section>)', page.body, re.S):
            head = re.search(r'id="([^"]*)">(?:<a[^>]*>)?(.*?)(?:</a>)?</h[12]>', section, re.S)
            if head and head.group(1) not in ("NAME", "SEE_ALSO"):
                found.append([f"{page.title}: {plain(head.group(2)).capitalize()}", f"{page.address}#{head.group(1)}", "page", plain(section)])
    return found


def main():
    source, site = sys.argv[1:]
    manual = [manual_page(path) for path in sorted(glob.glob(f"{source}/man/*.[137]"))]
    chapters = [chapter(path) for path in sorted(glob.glob(f"{source}/doc/guide/*.md"))]
    by_name, section_of = {}, {}
    for page in sorted(manual, key=lambda p: p.group, reverse=True):
        for name, where in list(page.names.items()) + [(page.title.split("(")[0], page.address)]:
            by_name[name], section_of[name] = where, page.group
    by_name["aioipc"], section_of["aioipc"] = "aioipc.7.html", "7"
    for page in manual:
        link_references(page, by_name, section_of)
    for page in chapters:
        page.body = markdown(page.source, by_name)
    turn(chapters)
    pages = chapters + manual
    version = re.search(r'AIOIPC_VERSION "(.*?)"', read(f"{source}/include/aioipc/base.h")).group(1)
    os.makedirs(site, exist_ok=True)
    for page in [front(pages)] + pages:
        with open(f"{site}/{page.address}", "w", encoding="utf-8") as f:
            f.write(whole(page, pages, version))
    with open(f"{site}/places.js", "w", encoding="utf-8") as f:
        f.write("var PLACES = " + json.dumps(places(pages), ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/") + ";\n")
    for path in [f"{source}/doc/site/site.css", f"{source}/doc/site/site.js"] + glob.glob(f"{source}/doc/*.svg"):
        shutil.copyfile(path, f"{site}/{os.path.basename(path)}")


main()
