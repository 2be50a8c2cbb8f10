"""Add to the site a home page, a navigation, and pages for the files that the documentation links to.

The pages of docs/ are written for the repository, so they link to ``../src/minproto/http1.py#L343-L360``. A site of mkdocs has
no file outside docs/. So this hook gives each linked file a page below ``files/``, and lines.js marks the lines of the link in
it. The links work without the repository and without a network.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
HOME = ROOT / "README.md"

_LINK = re.compile(r"(?P<before>\]\(|(?:href|src)=\")(?P<path>[^)\s\"#:]+)(?P<anchor>#[^)\s\"]*)?(?=[)\"\s])")
_CODE = re.compile(r"(?ms)^ *(?P<fence>`{3,}|~{3,}).*?^ *(?P=fence)\s*$|(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)")
_SOURCE_BLOCK = re.compile(r"(?m)^<!-- source: (.+) -->\n(`{3,}\w+)$")
_LANGUAGES = {".py": "python", ".js": "js", ".toml": "toml", ".html": "html", ".yml": "yaml", "": "sh"}


def place(file: Path) -> str:
    """Return where the site has a file or folder of the repository: a path in the terms of docs/."""
    if file == HOME:
        return "index.md"
    if file.is_relative_to(DOCS) and file.is_file():
        return file.relative_to(DOCS).as_posix()
    name = file.relative_to(ROOT).as_posix()
    return f"files/{name}" if file.suffix == ".md" else f"files/{name}.md"


def linked(file: Path) -> list[Path]:
    """Return the files of the repository that a page links to."""
    text = _CODE.sub("", file.read_text())
    targets = [_target(file, match["path"]) for match in _LINK.finditer(text)]
    return [target for target in targets if target is not None]


def _target(page: Path, link: str) -> Path | None:
    """Return the file that a relative link of a page means, or None. For a folder this is its README, if it has one."""
    target = (page.parent / unquote(link)).resolve()
    if not target.is_relative_to(ROOT) or not target.exists():
        return None
    return target / "README.md" if (target / "README.md").exists() else target


def rewritten(file: Path, text: str) -> str:
    """Return a page with the links that lead to the site's places. The anchor of lines is hidden from mkdocs, see below."""
    folder = PurePosixPath(place(file)).parent

    def link(match: re.Match[str]) -> str:
        target = _target(file, match["path"])
        if target is None:
            return match[0]
        anchor = re.sub(r"^#L(?=\d)", "?L", match["anchor"] or "")
        return f"{match['before']}{os.path.relpath(place(target), folder)}{anchor}"

    pieces = []
    end = 0
    for code in _CODE.finditer(text):
        pieces += [_LINK.sub(link, text[end : code.start()]), code[0]]
        end = code.end()
    # A link whose text is code is cut in two by that: its second half still has the "](" that is looked for.
    return "".join([*pieces, _LINK.sub(link, text[end:])]).replace("<details>", "<details markdown>")


def shown(file: Path) -> str:
    """Return a page for a file or folder outside docs/ that is no page itself."""
    title = f"---\nsearch:\n  exclude: true\nhide: [navigation, toc]\n---\n\n# {file.relative_to(ROOT).as_posix()}\n\n"
    if file.is_dir():
        return title + "".join(f"- `{path.name}`\n" for path in sorted(file.iterdir()) if not path.name.startswith((".", "_")))
    return f'{title}``````{_LANGUAGES.get(file.suffix, "text")} linenums="1"\n{file.read_text()}``````\n'


# ---- what mkdocs calls, in this order ----------------------------------------------------------------------------------


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the home page and a page for each file that a page links to, and to which the added pages link in turn."""
    waiting = [HOME, *(DOCS / file.src_uri for file in files.documentation_pages())]
    seen: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        if file.suffix == ".md":
            waiting += linked(file)
        if files.get_file_from_path(place(file)) is None:
            content = file.read_text() if file.suffix == ".md" else shown(file)
            files.append(File.generated(config, place(file), content=content))
    config.nav = navigation()
    return files


def navigation() -> list[Any]:
    """Return the navigation. Each part has its pages in the order in which the index of the part links to them."""
    return [
        {"Home": "index.md"},
        {"Course": _pages(DOCS / "course" / "index.md", DOCS / "course")},
        {"Reference": _pages(HOME, DOCS)},
        {"Requirements": _pages(DOCS / "requirements" / "README.md", DOCS / "requirements")},
    ]


def _pages(index: Path, folder: Path) -> list[str]:
    """Return the pages of a folder: the index if it stands there, then the pages that it links to, then all others."""
    order = [path for path in (index, *linked(index)) if path.parent == folder and path.suffix == ".md"]
    return [place(path) for path in dict.fromkeys([*order, *sorted(folder.glob("*.md"))])]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page, and give each block of source the name of its file and definition as a title."""
    markdown = _SOURCE_BLOCK.sub(r'\2 title="\1"', markdown)
    uri = page.file.src_uri
    file = HOME if uri == "index.md" else ROOT / uri.removeprefix("files/") if uri.startswith("files/") else DOCS / uri
    return rewritten(file, markdown) if file.exists() else markdown  # the page of a file has no links


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Give a link to lines its anchor. While mkdocs checks the links, these anchors are queries: only lines.js knows them."""
    return re.sub(r"(href=\"[^\"?]*\.html)\?(L\d)", r"\1#\2", html)
