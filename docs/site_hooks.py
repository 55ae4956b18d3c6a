"""MkDocs hooks: a file of the repository that a page links to becomes a file of the site.

Pages link to results and cards by their path in the repository, such as ../results/table1/table1.md. So a link works in
the repository and on the site, and nothing is stored twice. A page of the API may ask for every module of a package.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_MODULES = re.compile(r"^::: every module of (\S+)$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def links(page: Path) -> list[Path]:
    """The files that a Markdown page links to or shows, outside its code blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [(page.parent / target).resolve() for target in _LINK.findall(text)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every file outside docs/ that a page leads to, and what those pages lead to."""
    docs = Path(config.docs_dir)
    waiting = [target for page in sorted(docs.rglob("*.md")) for target in links(page)]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(ROOT).as_posix()
        if path.is_relative_to(docs) or files.get_file_from_path(name):
            continue
        if not path.is_file():
            raise FileNotFoundError(f"a page links to {name}, which does not exist")
        files.append(File.generated(config, name, abs_src_path=str(path)))
        if path.suffix == ".md":
            waiting += links(path)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave docs/ at the copies inside the site."""
    source = page.file.src_uri
    if page.file.generated_by:
        return markdown.replace("](../../docs/", "](../../")  # a page of results/<run>/
    up = "../" * source.count("/")
    moved = re.sub(rf"\]\({re.escape(up)}\.\./", f"]({up}", markdown)
    return _MODULES.sub(lambda found: "\n\n".join(_modules(found[1])), moved)


def _modules(package: str) -> list[str]:
    """A line of mkdocstrings for each module of a package, its contract first."""
    names = {path.stem for path in (ROOT / "src").joinpath(*package.split(".")).glob("*.py")} - {"__init__"}
    return [f"::: {package}.{name}" for name in sorted(names, key=lambda name: (name != "contract", name))]
