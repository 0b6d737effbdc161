#!/usr/bin/env python3
"""Prints each link of a site that leads nowhere: links.py SITE. To a file that is not there, to a place that a page does not have, or out
of the site; and each address twice in a page."""
import html.parser
import os
import re
import sys


class Links(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        self.links += [attrs[name] for name in ("href", "src") if name in attrs]


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def main():
    site = sys.argv[1]
    pages = {name: Links(read(f"{site}/{name}")) for name in os.listdir(site) if name.endswith(".html")}
    found = [("search", link) for link in re.findall(r'\["(?:[^"\\]|\\.)*","([^"]*)"', read(f"{site}/places.js"))]
    found += [(name, link) for name, page in pages.items() for link in page.links]
    for name, link in found:
        where, _, place = link.partition("#")
        where = where or name
        if not os.path.isfile(f"{site}/{where}") or (place and place not in pages[where].ids):
            print(f"{name}: {link}")
    for name, page in pages.items():
        for one in sorted(set(page.ids)):
            if page.ids.count(one) > 1:
                print(f"{name}: {one} twice")
    if len(found) < 500:
        print(f"only {len(found)} links")


main()
