"""A double of a container engine, for tests: it runs no container, and records what it was told.

Started as `docker`. What it does is in files of DOUBLE_HOME: `info` and `build` (exit codes),
`images` (names it has), `pullable`, `run` (what a container does: waits, dies, memory, stubborn).
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

HOME = Path(os.environ["DOUBLE_HOME"])
WAIT = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); signal.pause()"
STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"


def read(name: str, otherwise: str = "") -> str:
    file = HOME / name
    return file.read_text() if file.exists() else otherwise


def after(words: list[str], *names: str) -> str:
    """What follows the first of these words, or stands after its `=`."""
    for name in names:
        for at, word in enumerate(words):
            if word == name:
                return words[at + 1]
            if word.startswith(f"{name}="):
                return word.removeprefix(f"{name}=")
    return ""


def add_image(name: str) -> None:
    with (HOME / "images").open("a") as file:
        file.write(f"{name}\n")


def image(words: list[str]) -> int:
    if words[-1] not in read("images").splitlines():
        return fail(f"no such image: {words[-1]}")
    print(json.dumps([{"Id": "sha256:" + "ab" * 32, "Size": 123_400_000}]))
    return 0


def fail(text: str) -> int:
    print(f"Error: {text}", file=sys.stderr)
    return 125


def run(words: list[str]) -> int:
    if "--rm" in words:
        print("1.2.3")
        return 0
    name, does = after(words, "--name"), read("run", "waits")
    state = HOME / f"{name}.state"
    if does == "memory file":
        Path("oom").touch()
    if does in ("dies", "memory", "memory file"):
        state.write_text(f"0 {str(does == 'memory').lower()} {after(words, '--label')}")
        print("no model in /model", file=sys.stderr)
        return 3 if does == "dies" else 137
    child = subprocess.Popen([sys.executable, "-c", STUBBORN if does == "stubborn" else WAIT])
    state.write_text(f"{child.pid} false {after(words, '--label')}")
    code = child.wait()
    return 128 - code if code < 0 else code


def state(name: str) -> tuple[int, str, str]:
    pid, memory, label = read(f"{name}.state").split(" ", 2)
    return int(pid), memory, label


def container(words: list[str]) -> int:
    pid, memory, label = state(words[-1])
    form = after(words, "--format")
    print(memory if "OOMKilled" in form else label.partition("=")[2] if "Labels" in form else pid)
    return 0


def send(name: str, number: int) -> None:
    try:
        if pid := state(name)[0]:
            os.kill(pid, number)
    except ProcessLookupError:
        pass


def stop(words: list[str]) -> int:
    send(words[-1], signal.SIGTERM)
    if read("run") == "stubborn":
        signal.sigtimedwait([], float(after(words, "-t")))
        send(words[-1], signal.SIGKILL)
    return 0


def rm(words: list[str]) -> int:
    send(words[-1], signal.SIGKILL)
    (HOME / f"{words[-1]}.state").unlink()
    return 0


def ps(words: list[str]) -> int:
    wanted = after(words, "--filter").removeprefix("label=")
    for file in HOME.glob("*.state"):
        if wanted in (state(file.stem)[2], state(file.stem)[2].partition("=")[0]):
            print(file.stem)
    return 0


def pull(words: list[str]) -> int:
    if words[-1] not in read("pullable").splitlines():
        return fail(f"{words[-1]}: no route to the registry")
    add_image(words[-1])
    return 0


def build(words: list[str]) -> int:
    if code := int(read("build", "0")):
        print("the step RUN pip install failed")
        return code
    add_image(after(words, "--tag"))
    return 0


def info(_: list[str]) -> int:
    code = int(read("info", "0"))
    return fail("Cannot connect to the daemon") if code else 0


def main(words: list[str]) -> int:
    with (HOME / "told").open("a") as file:
        file.write(json.dumps(words) + "\n")
    known = {
        "info": info,
        "image": image,
        "pull": pull,
        "build": build,
        "run": run,
        "container": container,
        "stop": stop,
        "rm": rm,
        "ps": ps,
    }
    return known[words[0]](words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
