"""What the README says is so."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
FOLDERS = ("moegs", "viewer", "configs", "checkpoints", "docs", "benchmarks", "tests", ".ci")


def tree() -> dict[str, str]:
    """The paths of the README's tree, each with its line of explanation."""
    block = re.search(r"<!-- tree -->\n```\n(.*?)```", README, re.DOTALL)
    assert block is not None
    found: dict[str, str] = {}
    folders: list[str] = []
    for line in block[1].splitlines():
        indent, name, words = re.match(r"( *)(\S+) *(.*)", line).groups()  # type: ignore[union-attr]
        depth = len(indent) // 2
        folders = [*folders[:depth], name.rstrip("/")]
        found["/".join(folders)] = words
    return found


def test_the_tree_is_the_folder() -> None:
    ours = {
        path.with_name(re.sub(r"^test_\w+", "test_*", path.name)).relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in [ROOT / folder, *(ROOT / folder).rglob("*")]
        if "__pycache__" not in path.parts and path.name not in ("__init__.py", "py.typed", ".gitkeep")
        if "benchmarks/out" not in path.as_posix() and "tests/assets/" not in path.as_posix()
    }
    listed = {path for path in tree() if path.split("/")[0] in FOLDERS}
    assert sorted(listed - ours) == [], "in the README, not in the folder"
    assert sorted(ours - listed) == [], "in the folder, not in the README"


def test_every_entry_says_what_it_is() -> None:
    assert [path for path, words in tree().items() if not words] == []


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_changelog_knows_this_version() -> None:
    import moegs

    assert f"## {moegs.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {moegs.__version__}" in (ROOT / "CITATION.cff").read_text()
