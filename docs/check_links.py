"""Follow every link inside the built site, to files and places in them: ``check_links.py [FOLDER]``.

Links that leave the site are counted and not followed: the check needs no network. ``make docs`` ends with
it.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).resolve().parent / "_build" / "html"
LINKS = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src", "object": "data"}
ELSEWHERE = {"http", "https", "mailto", "data", "javascript"}


class Page(HTMLParser):
    """Where a page links to, and which places in it can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note links and places."""
        held = dict(attrs)
        for name in ("id", "name"):
            if held.get(name):
                self.places.add(str(held[name]))
        target = held.get(LINKS.get(tag, ""))
        if target:
            self.links.append(target)


def broken(site: Path) -> tuple[list[str], int, int]:
    """Broken links, as ``page -> target``; how many were followed, and how many lead elsewhere."""
    # The theme keeps a template, which is no page, among its own files.
    paths = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.relative_to(site).parts]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in paths}
    found, followed, elsewhere = [], 0, 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ELSEWHERE or parts.netloc:
                elsewhere += 1
                continue
            followed += 1
            if not leads_somewhere(site, path, parts.path, parts.fragment, pages):
                found.append(f"{path.relative_to(site)} -> {link}")
    return found, followed, elsewhere


def leads_somewhere(site: Path, path: Path, to: str, fragment: str, pages: dict[Path, Page]) -> bool:
    """Whether a file is there, and the place in it."""
    target = (path.parent / unquote(to)).resolve() if to else path
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file() or not target.is_relative_to(site):
        return False
    return not fragment or target not in pages or unquote(fragment) in pages[target].places


def main() -> int:
    """Print what is broken; exit status 1 if anything is."""
    site = (Path(sys.argv[1]) if len(sys.argv) > 1 else SITE).resolve()
    if not (site / "index.html").is_file():
        print(f"there is no built site in {site}: make docs")
        return 1
    found, followed, elsewhere = broken(site)
    for line in found:
        print("broken:", line)
    print(f"{followed} links followed, {len(found)} broken; {elsewhere} lead elsewhere and were not followed")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
