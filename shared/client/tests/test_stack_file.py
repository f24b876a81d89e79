"""What a wrong stack.toml, or a wrong question about it, says."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from inference_client import ConfigError, connect, connect_async

GOOD = '[interfaces.rest]\nprotocol = "classify-http"\nport = "http"\n'


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    folder = tmp_path / "group" / "triton"
    folder.mkdir(parents=True)
    (folder / "stack.toml").write_text(GOOD)
    return folder


def test_first_interface_and_defaults(stack: Path) -> None:
    (stack / "stack.toml").write_text(
        GOOD + '[interfaces.grpc]\nprotocol = "classify-grpc"\nport = "grpc"\n'
    )
    with connect(stack, ports={"http": 8000}, host="::1") as found:
        assert (found.target.interface, found.target.address) == ("rest", "[::1]:8000")
        assert found.target.options["path"] == "/v1/classify"


def test_the_file_itself_may_be_named(stack: Path) -> None:
    connect(stack / "stack.toml", ports={"http": 1}).close()


@pytest.mark.parametrize(
    ("text", "asked", "words"),
    [
        (GOOD, {"interface": "rset"}, "interfaces: no interface 'rset', did you mean 'rest'?"),
        (GOOD, {"ports": {"htpp": 1}}, "rest.port: 'http' is not in ports; ports has 'htpp'"),
        (GOOD, {"ports": {}}, "interfaces.rest.port: 'http' is not in ports; ports has nothing"),
        (GOOD, {"timeout_s": 0}, "timeout_s: must be more than 0"),
        (
            GOOD.replace("classify-http", "clasify-http"),
            {},
            "interfaces.rest.protocol: unknown protocol 'clasify-http', "
            "did you mean 'classify-http'?",
        ),
        (
            GOOD + 'options = { paht = "/x" }',
            {},
            "interfaces.rest.options: unknown key 'paht', did you mean 'path'?",
        ),
        (
            GOOD + "options = { path = 7 }",
            {},
            "interfaces.rest.options.path: must be of type str, not 7",
        ),
        (GOOD + "options = 7", {}, "interfaces.rest.options: must be a table"),
        (GOOD.replace("port", "prot"), {}, "interfaces.rest.port: must be a string"),
        (
            GOOD.replace("classify-http", "torchserve-http"),
            {},
            "interfaces.rest.options.path: is '/predictions/{model}': pass model=…",
        ),
        ("interfaces = 3", {}, r"interfaces: add a table [interfaces.<name>]"),
        ("", {}, r"interfaces: add a table [interfaces.<name>]"),
        ("[interfaces", {}, "not valid TOML"),
    ],
)
def test_messages_name_file_key_and_way_out(
    stack: Path, text: str, asked: dict[str, Any], words: str
) -> None:
    (stack / "stack.toml").write_text(text)
    for how in (connect, connect_async):
        with pytest.raises(ConfigError) as caught:
            how(stack, **{"ports": {"http": 8000}, **asked})
        assert words in str(caught.value)
        assert "timeout_s" in asked or str(stack / "stack.toml") in str(caught.value)


def test_a_missing_stack_names_its_neighbour(stack: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'triton'"):
        connect(stack.parent / "trition", ports={})


def test_model_fills_the_options(stack: Path) -> None:
    (stack / "stack.toml").write_text(GOOD.replace("classify-http", "torchserve-http"))
    with connect(stack, ports={"http": 1}, model="resnet18") as found:
        assert found.target.options["path"] == "/predictions/resnet18"


def test_images_come_in_a_list(stack: Path) -> None:
    with connect(stack, ports={"http": 1}) as found:
        with pytest.raises(ValueError, match="at least one"):
            found.classify([])
        with pytest.raises(TypeError, match=r"classify\(\[image\]\)"):
            found.classify(b"jpeg")  # pyright: ignore[reportArgumentType]


def test_texts_come_in_a_list(stack: Path) -> None:
    """A single string would be sent letter by letter."""
    text = GOOD.replace("classify-http", "openai-embeddings-http")
    (stack / "stack.toml").write_text(text)
    with connect(stack, ports={"http": 1}) as found:
        with pytest.raises(ValueError, match="at least one text"):
            found.embed([])
        with pytest.raises(TypeError, match=r"embed\(\[text\]\)"):
            found.embed("rain")


def test_what_a_protocol_cannot_be_asked(stack: Path) -> None:
    """Named before anything is sent, for blocking and for other calls."""
    with (
        connect(stack, ports={"http": 1}) as found,
        pytest.raises(
            ConfigError, match=r"interfaces\.rest\.protocol: 'classify-http' can't embed"
        ),
    ):
        found.embed(["rain"])
    text = GOOD.replace("classify-http", "embed-grpc")
    (stack / "stack.toml").write_text(text)

    async def ask() -> None:
        async with connect_async(stack, ports={"http": 1}) as found:
            await found.classify([b"jpeg"])

    with pytest.raises(ConfigError, match="'embed-grpc' can't classify"):
        asyncio.run(ask())


def test_async_needs_its_with(stack: Path) -> None:
    coroutine = connect_async(stack, ports={"http": 1}).classify([b"x"])
    with pytest.raises(RuntimeError, match="async with"):
        coroutine.send(None)
