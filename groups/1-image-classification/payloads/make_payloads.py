"""Derive the committed photographs from the packages that ship the originals.

Usage: python -P make_payloads.py NAME=UNPACKED_FOLDER ...   (one for each package in sources.toml)
       python -P make_payloads.py --credits                  (rewrite CREDITS.md and nothing else)

Needs Pillow. Not part of a build: the pictures are committed, manifest.json has their digests.
"""

import hashlib
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

HERE = Path(__file__).parent
QUALITY = 85
# EXIF orientation 6 says "turn 90° clockwise to view": stored pixels are turned the other way.
STORED_TURN = {6: Image.Transpose.ROTATE_90}


def derive(original: Path, photo: dict[str, Any], target: Path) -> None:
    """Crop, scale and save one photograph as JPEG; the only metadata kept is an orientation."""
    image = ImageOps.exif_transpose(Image.open(original))
    image = image if image.mode == "L" else image.convert("RGB")
    if crop := photo.get("crop"):
        across, down = (int(part) for part in crop.split(":"))
        unit = min(image.width / across, image.height / down)
        image = ImageOps.fit(image, (round(unit * across), round(unit * down)))
    scale = photo["long_side"] / max(image.size)
    if scale < 1:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    exif = Image.Exif()
    if orientation := photo.get("orientation"):
        image = image.transpose(STORED_TURN[orientation])
        exif[0x0112] = orientation
    if mode := photo.get("mode"):
        image = image.convert(mode)
    image.info.clear()
    progressive = photo.get("progressive", False)
    image.save(target, "JPEG", quality=QUALITY, optimize=True, progressive=progressive, exif=exif)


def describe(photo: dict[str, Any]) -> dict[str, Any]:
    """Manifest entry of one derived photograph; width and height are the stored pixels'."""
    path = HERE / f"{photo['name']}.jpg"
    data = path.read_bytes()
    with Image.open(path) as image:
        entry = {
            "name": photo["name"],
            "file": path.name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "width": image.width,
            "height": image.height,
            "mode": image.mode,
            "orientation": image.getexif().get(0x0112, 1),
            "progressive": bool(image.info.get("progressive")),
        }
    held_back = {"audit": True} if photo.get("audit") else {}
    return entry | {"author": photo["author"], "licence": photo["licence"]} | held_back


def credits(sources: dict[str, Any]) -> str:
    """The attribution table as Markdown."""
    lines = [
        "# Credits",
        "",
        "Each picture was cropped, scaled down and saved again as JPEG by `make_payloads.py`; the",
        "changed picture stays under the licence of its original.",
        "",
        "| file | original | author | licence |",
        "|---|---|---|---|",
    ]
    for photo in sources["photographs"]:
        package = sources["packages"][photo["package"]]
        original = f"{package['title']} {package['version']}, `{photo['file']}`"
        licence = f"[{photo['licence']}]({sources['licences'][photo['licence']]})"
        lines.append(f"| {photo['name']}.jpg | {original} | {photo['author']} | {licence} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    sources = tomllib.loads((HERE / "sources.toml").read_text(encoding="utf-8"))
    if arguments != ["--credits"]:
        pairs = (argument.partition("=") for argument in arguments)
        folders = {name: folder for name, _, folder in pairs}
        missing = sorted(set(sources["packages"]) - set(folders))
        if missing:
            print(f"make_payloads: no folder given for {', '.join(missing)}", file=sys.stderr)
            return 2
        for photo in sources["photographs"]:
            package = sources["packages"][photo["package"]]
            original = Path(folders[photo["package"]]) / package["folder"] / photo["file"]
            if not original.is_file():
                print(f"make_payloads: {photo['name']}: no file {original}", file=sys.stderr)
                return 2
            derive(original, photo, HERE / f"{photo['name']}.jpg")
        entries = [describe(photo) for photo in sources["photographs"]]
        text = json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
        (HERE / "manifest.json").write_text(text, encoding="utf-8")
    (HERE / "CREDITS.md").write_text(credits(sources), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
