"""What goes wrong, by who can mend it."""


class UserError(Exception):
    """Wrong use: the message names the thing, the place and the way out. Exit code 2."""


class StackFailed(Exception):
    """A stack could not be installed, started, checked or stopped: it costs its own rows only."""


class StackSkipped(Exception):
    """A stack can't run on this machine at all. `fix` is the command that would change that."""

    def __init__(self, reason: str, fix: str | None = None) -> None:
        super().__init__(reason)
        self.fix = fix
