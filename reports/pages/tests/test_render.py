"""How a page gets into its file."""

from pathlib import Path

import pytest

from pages.render import write


def test_what_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    """A full disk, or here a folder in the file's place: no half page stays behind. Broken by a
    partial file that nobody removes."""
    (tmp_path / "index.html" / "taken").mkdir(parents=True)
    with pytest.raises(OSError, match=r"index\.html"):
        write(tmp_path / "index.html", "text")
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
