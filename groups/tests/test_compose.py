"""Each stack's compose.yaml against what its stack.toml and Dockerfile say of it."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.folders import all_groups, find_stacks
from bench.stack import load_stack

FOLDERS = find_stacks(all_groups(), None)
DEFAULT_PORTS = re.compile(r"\b(\w+)_PORT=(\d+)")


def composed(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "compose.yaml").read_text())


def image_ports(folder: Path) -> dict[str, int]:
    """The ports of the image by their name in stack.toml, where its Dockerfile is ours."""
    file = folder / "Dockerfile"
    found = DEFAULT_PORTS.findall(file.read_text()) if file.exists() else []
    return {name.lower(): int(port) for name, port in found}


@pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}"
)
def test_a_compose_file_runs_what_the_stack_says(folder: Path) -> None:
    """Broken by a port that nobody serves, a server that may write to its image, one that listens
    to the world, or a drain that is cut off."""
    stack = load_stack(folder)
    file = composed(folder)
    server = file["services"]["server"]
    if stack.image == "Dockerfile":
        assert server["build"] == "."
    else:
        assert server["image"] == stack.image and "build" not in server
    assert server["read_only"] is True and server["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in server["security_opt"]
    (model,) = server["volumes"]
    assert re.fullmatch(r"\$\{(MODEL|PREPARED)_DIR:\?.+\}:/(model|prepared):ro", model)
    assert (model.startswith("${PREPARED")) == bool(stack.prepare)
    assert float(server["stop_grace_period"].removesuffix("s")) >= stack.stop_timeout_s
    published = [re.fullmatch(r"127\.0\.0\.1:(\d+):(\d+)", port) for port in server["ports"]]
    assert all(published), "published to the world"
    inside = {int(port[2]) for port in published if port}
    known = image_ports(folder)
    wanted = {known[each.port] for each in stack.interfaces if each.port in known}
    assert wanted <= inside, "an interface can't be called"


@pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}"
)
def test_prometheus_is_asked_for_and_looks_where_the_figures_are(folder: Path) -> None:
    """Broken by a Prometheus that starts unasked, or that scrapes a port without metrics."""
    stack = load_stack(folder)
    file = composed(folder)
    watcher = file["services"]["prometheus"]
    assert watcher["profiles"] == ["metrics"]
    # Compose copies an inline config into the container, and refuses to into one that is read-only.
    assert not watcher.get("read_only"), "docker compose would not start it"
    assert re.search(r"prometheus:v[\d.]+@sha256:[0-9a-f]{64}$", watcher["image"])
    scraped = yaml.safe_load(file["configs"]["scrape"]["content"])
    (target,) = scraped["scrape_configs"][0]["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host == "server"
    name = re.search(r"\{(\w+)_port\}", stack.metrics_url or "")
    assert name, "stack.toml names no metrics"
    assert int(port) == image_ports(folder).get(name[1], int(port))
    published = {int(each.split(":")[-1]) for each in file["services"]["server"]["ports"]}
    assert int(port) in published


@pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}"
)
def test_health_is_an_inference(folder: Path) -> None:
    """In our image, else in compose.yaml. Broken by a server that is called healthy because its
    port is open; or by an image that runs as root, or on what a tag means today."""
    file = folder / "Dockerfile"
    stack = load_stack(folder)
    routes = {str(value) for each in stack.interfaces for value in each.options.values()}
    if stack.image != "Dockerfile":
        check = composed(folder)["services"]["server"]["healthcheck"]["test"][-1]
        assert any(route in check for route in routes if route.startswith("/")), check
        return
    text = file.read_text()
    assert re.search(r"^HEALTHCHECK .*(healthcheck\.py|CMD \[\"sh\")", text, re.M)
    check = folder / "healthcheck.py"
    asks = check.read_text() if check.exists() else text[text.index("HEALTHCHECK") :]
    assert any(route.strip("/").split("/")[-1] in asks for route in routes), routes
    assert re.search(r"^USER [1-9]", text, re.M) and "# syntax=" not in text
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", text, re.M)
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) == {"${BASE}"}
    for label in ("title", "description", "revision"):
        assert f"org.opencontainers.image.{label}=" in text


def test_compose_itself_takes_every_file() -> None:
    """Where there is a compose command: the bug would be a key that only we think exists."""
    asked = shutil.which("docker")
    if not asked or subprocess.run([asked, "compose", "version"], capture_output=True).returncode:
        pytest.skip(
            "there is no `docker compose` here: the files are checked by their content only"
        )
    for folder in FOLDERS:
        said = subprocess.run(
            [asked, "compose", "--profile", "metrics", "config", "--quiet"],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "MODEL_DIR": "/m", "PREPARED_DIR": "/p"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, f"{folder}: {said.stderr}"
