"""What mkdocs calls while it builds the site: made pages and pictures, and links that lead out.

Reference pages come from code (tools/docs_reference.py) and pictures from functions
(tools/docs_pictures.py) each time the site is built, so none can be out of date. Links of a page to
a file of the source tree, which a site does not have, become the file's name.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
Nav = list[Any]
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+?)(#[^)\s]*)?\)")
COMMENT = re.compile(r"^<!-- not run: (.+?) -->\n", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and pictures, then fit the navigation to what there is."""
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tools")]  # mkdocs undoes what a hook's head does
    import docs_pictures
    import docs_reference

    made: dict[str, str | bytes] = {
        **docs_reference.pages(),
        **docs_pictures.pictures(),
        "explanation/design.md": _from_root("DESIGN.md"),
        "explanation/changes.md": _from_root("CHANGELOG.md"),
    }
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    known = {file.src_uri for file in files if file.is_documentation_page()}
    config.nav = nav(config.nav or [], known)
    return files


def nav(wanted: Nav, known: set[str]) -> Nav:
    """The navigation without pages that do not exist; pages it forgets come last."""
    told: set[str] = set()

    def keep(items: Nav) -> Nav:
        kept = []
        for item in items:
            ((title, place),) = item.items()
            if isinstance(place, list):
                below = keep(place)
                kept += [{title: below}] if below else []
            elif place in known:
                told.add(place)
                kept.append(item)
        return kept

    fitted = keep(wanted)
    more = sorted(known - told)
    return [*fitted, {"More": more}] if more else fitted


def _from_root(name: str) -> str:
    """A page of the tree's root; its links begin there."""
    text = (ROOT / name).read_text("utf-8")
    return LINK.sub(lambda m: f"{m[1]}[{m[2]}]({_moved(m[3])}{m[4] or ''})", text)


def _moved(target: str) -> str:
    if "://" in target:
        return target
    return "../" + target.removeprefix("docs/") if target.startswith("docs/") else "../../" + target


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Links that lead out of docs/ become text, and marks for the tests become words."""
    here = Path(page.file.src_uri).parent

    def outside(found: re.Match[str]) -> str:
        image, text, target, _anchor = found.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return found[0]
        place = _normal(here / target)
        if files.get_file_from_path(place) is not None or image:
            return found[0]
        name = place.removeprefix("../")
        return text if name.strip("`/") in text else f"{text} (`{name}`)"

    text = LINK.sub(outside, markdown)
    if "\n## " not in text:  # one wide table: it may have the room of the table of contents
        page.meta["hide"] = ["toc"]
    return COMMENT.sub(r'<p class="not-run">Not run by the tests: \1.</p>\n\n', text)


def _normal(path: Path) -> str:
    parts: list[str] = []
    for part in path.as_posix().split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in (".", ""):
            parts.append(part)
    return "/".join(parts)


def on_post_page(output: str, page: Any, config: MkDocsConfig) -> str:
    """The theme fetches a script that lets the search work from the disk; ours needs no network."""
    return _own_worker(output, "../" * page.file.dest_uri.count("/"))


def on_post_template(output: str, template_name: str, config: MkDocsConfig) -> str:
    """The same for the page that says what was not found."""
    return _own_worker(output, "")


def _own_worker(output: str, up: str) -> str:
    script = r'<script src="https://unpkg\.com/iframe-worker/shim"></script>'
    return re.sub(script, f'<script src="{up}worker.js"></script>', output)
