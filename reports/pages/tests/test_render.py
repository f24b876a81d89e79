"""How a page gets into its file."""

from pathlib import Path

import pytest

from pages import render
from pages.render import kept, write


def test_what_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    """A full disk, or here a folder in the file's place: no half page stays behind. Broken by a
    partial file that nobody removes."""
    (tmp_path / "index.html" / "taken").mkdir(parents=True)
    with pytest.raises(OSError, match=r"index\.html"):
        write(tmp_path / "index.html", "text")
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]


def test_what_is_kept_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where the cache can't be written, it is made all the same. Broken by a report that needs
    a place for its cache."""
    made: list[str] = []

    def make() -> str:
        made.append("text")
        return "text"

    monkeypatch.setattr(render, "CACHE", tmp_path / "cache")
    assert kept("charts/a.json", make) == kept("charts/a.json", make) == "text"
    assert len(made) == 1
    (tmp_path / "file").touch()
    monkeypatch.setattr(render, "CACHE", tmp_path / "file")
    assert kept("charts/a.json", make) == "text"
    assert len(made) == 2
