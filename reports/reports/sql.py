"""A prompt over the results: `python -m reports.sql`. Statements end with a semicolon."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from reports.answering import answer, warn
from reports.ask import QuestionError
from reports.columns import ONE_ROW, in_view, load_columns
from reports.files import FolderError, results_folder
from reports.load import Loaded, open_results

HISTORY = Path(__file__).resolve().parents[2] / ".build" / "sql_history"
HELP = """.tables           the views, and what one row of each is
.columns [view]   their columns: type, unit, meaning
.format table|csv|json
.quit             leave (so does Ctrl-D)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read statements until the end of input. Returns the exit code: 2 without such a folder."""
    parser = argparse.ArgumentParser(prog="reports.sql", description=__doc__)
    parser.add_argument("--results", help="results folder (default: RESULTS, else results/)")
    folder = results_folder(parser.parse_args(arguments).results)
    try:
        with open_results(folder, raw=True) as loaded:
            warn(loaded, folder)
            if not loaded.runs:
                return 1
            _converse(loaded)
    except FolderError as error:
        print(f"sql: {error}", file=sys.stderr)
        return 2
    return 0


def _converse(loaded: Loaded) -> None:
    form = "table"
    for text in _entries():
        try:
            if text in (".quit", ".exit"):
                break
            if text.startswith("."):
                form = _command(text.rstrip(";").split(), form)
            else:
                answer(loaded, text, form, None)
        except QuestionError as error:
            print(error, file=sys.stderr)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)


def _command(words: list[str], form: str) -> str:
    """Run a dot command; returns the output format that holds from now on."""
    match words:
        case [".tables"]:
            for view, row in ONE_ROW.items():
                print(f"{view:12} one row: {row}")
        case [".columns", *views] if set(views) <= set(load_columns()):
            for view in views or load_columns():
                print(f"{view}:")
                for column in in_view(view):
                    print(f"  {column.name:26} {column.type:12} {column.unit:10} {column.meaning}")
        case [".format", ("table" | "csv" | "json") as chosen]:
            return chosen
        case _:
            print(HELP)
    return form


def _entries() -> Iterator[str]:
    """Complete statements and dot commands, from a terminal with history or from a pipe."""
    lines = _ask_lines() if sys.stdin.isatty() else (line.rstrip("\n") for line in sys.stdin)
    pending: list[str] = []
    for line in lines:
        if not pending and line.strip().startswith("."):
            yield line.strip()
        elif line.strip():
            pending.append(line)
            if line.rstrip().endswith(";"):
                yield "\n".join(pending)
                pending = []
    if pending:
        yield "\n".join(pending)


def _ask_lines() -> Iterator[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory

    HISTORY.parent.mkdir(exist_ok=True)
    names = {column.name for view in load_columns() for column in in_view(view)}
    words = sorted(names | set(load_columns()) | {".tables", ".columns", ".format", ".quit"})
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(HISTORY)),
        completer=WordCompleter(words),
        complete_while_typing=False,
    )
    print("Queries end with ;   .tables .columns .format .quit   Tab completes names")
    while True:
        try:
            yield session.prompt("results> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


if __name__ == "__main__":
    sys.exit(main())
