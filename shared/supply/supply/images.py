"""A bill of materials (CycloneDX) of each image that `make image` built and that is still here.

Nothing of an image is run: its files are exported as one stream and read as data. Told are the
packages of its distribution (dpkg) and of its Pythons; what a binary was compiled from is not.
"""

import json
import re
import shutil
import subprocess
import tarfile
from email.parser import HeaderParser
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from supply.licences import normal
from supply.vulnerabilities import last_line

ENGINES = ("docker", "podman", "nerdctl")
LABEL = "inference-study"  # its value is the checkout that the image was made from
RELEASE = re.compile(r"(usr/lib|etc)/os-release")
DPKG = re.compile(r"var/lib/dpkg/status(\.d/[^/]+)?")  # one file, or one a package
PYTHON = re.compile(r".*/(site|dist)-packages/[^/]+(\.dist-info/METADATA|\.egg-info/PKG-INFO)")


def images(root: Path, engine: str) -> list[str]:
    """The names of a checkout's images in one engine; none where it does not answer."""
    if shutil.which(engine) is None:
        return []
    form = "{{.Repository}}:{{.Tag}}"
    words = [engine, "images", "--filter", f"label={LABEL}={root}", "--format", form]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    return sorted({name for name in said.stdout.split() if "<none>" not in name})


def component(kind: str, name: str, version: str, **qualifiers: str) -> dict[str, str]:
    """A package, by its package URL."""
    purl = f"pkg:{kind}/{quote(name, safe='/')}@{quote(version, safe=':')}"
    if qualifiers:
        purl += "?" + "&".join(f"{key}={quote(qualifiers[key])}" for key in sorted(qualifiers))
    own = name.rpartition("/")[2]
    return {"type": "library", "bom-ref": purl, "name": own, "version": version, "purl": purl}


def read_files(stream: IO[bytes]) -> dict[str, str]:
    """Those files of an exported image (a tar) that say what is in it."""
    found: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if not any(each.fullmatch(name) for each in (RELEASE, DPKG, PYTHON)):
                continue
            if content := archive.extractfile(member) if member.isfile() else None:
                found[name] = content.read().decode(errors="replace")
    return found


def components(found: dict[str, str]) -> list[dict[str, str]]:
    """The packages that these files tell of, each once, sorted."""
    release = "\n".join(text for name, text in sorted(found.items()) if RELEASE.fullmatch(name))
    told = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', release, re.M))
    distribution = told.get("ID", "linux")
    packages: list[dict[str, str]] = []
    for name, text in found.items():
        if PYTHON.fullmatch(name):
            said = HeaderParser().parsestr(text, headersonly=True)
            packages.append(component("pypi", normal(said["Name"]), said["Version"]))
        elif DPKG.fullmatch(name):
            for paragraph in text.split("\n\n"):
                said = HeaderParser().parsestr(paragraph.strip(), headersonly=True)
                if said["Package"] and said.get("Status", " installed").endswith(" installed"):
                    packages.append(
                        component(
                            *("deb", f"{distribution}/{said['Package']}", said["Version"]),
                            arch=said["Architecture"],
                            distro="-".join(filter(None, (distribution, told.get("VERSION_ID")))),
                        )
                    )
    return sorted({one["purl"]: one for one in packages}.values(), key=lambda one: one["purl"])


def bill(name: str, id: str, packages: list[dict[str, str]]) -> dict[str, Any]:
    """A CycloneDX 1.6 document; the same for the same image."""
    repository, _, tag = name.rpartition(":")
    image = {"type": "container", "bom-ref": name, "name": repository, "version": tag}
    known = [{"name": "image-id", "value": id}]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**image, "properties": known}},
        "components": packages,
    }


def exported(engine: str, image: str) -> dict[str, str]:
    """`read_files` of an image. Raises RuntimeError with the engine's own words."""
    made = subprocess.run(
        [engine, "create", "--network=none", image], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise RuntimeError(f"{image}: {last_line(made.stderr)}")
    container = made.stdout.split()[-1]
    try:
        with subprocess.Popen([engine, "export", container], stdout=subprocess.PIPE) as export:
            assert export.stdout
            try:
                return read_files(export.stdout)
            except tarfile.TarError as error:
                raise RuntimeError(f"{image}: {engine} export: {error}") from None
    finally:
        subprocess.run([engine, "rm", "-f", container], capture_output=True, check=False)


def write_image_boms(root: Path, to: Path) -> list[Path]:
    """One file an image of this checkout. Raises RuntimeError naming the one that fails."""
    written: list[Path] = []
    for engine in ENGINES:
        for name in images(root, engine):
            form = ["image", "inspect", "--format", "{{.Id}}", name]
            id = subprocess.run([engine, *form], capture_output=True, text=True, check=False)
            packages = components(exported(engine, name))
            to.mkdir(parents=True, exist_ok=True)
            file = to / f"{name.rpartition('/')[2].replace(':', '-')}.cdx.json"
            file.write_text(json.dumps(bill(name, id.stdout.strip(), packages), indent=1) + "\n")
            written.append(file)
    return written
