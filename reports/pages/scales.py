"""Which colour a stack has, and which dash and shape an interface: the same in all charts."""
# Altair's generated types are not strict.
# pyright: basic

from dataclasses import dataclass

import altair as alt

# Told apart by people who see few colours, on white and on black (after Okabe and Ito).
PALETTE = (
    "#0b84c4",
    "#d9730d",
    "#1b9e77",
    "#c1589a",
    "#8a7a00",
    "#5b6ee1",
    "#b5433b",
    "#6b7280",
)
SHAPES = ("circle", "square", "triangle-up", "diamond")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])


@dataclass(frozen=True)
class Scales:
    """The stacks and interfaces of a page, in the order of their colours and dashes."""

    stacks: tuple[str, ...]
    interfaces: tuple[str, ...]

    @property
    def colours_repeat(self) -> bool:
        return len(self.stacks) > len(PALETTE)

    def colour(self, symbol: str = "circle") -> alt.Color:
        colours = [PALETTE[n % len(PALETTE)] for n in range(len(self.stacks))]
        width = 0 if symbol == "circle" else 2
        legend = alt.Legend(symbolOpacity=1, symbolType=symbol, symbolStrokeWidth=width)
        if self.colours_repeat:
            # It would call several stacks by one colour.
            legend = None
        return alt.Color("stack:N", title=None, legend=legend).scale(
            domain=self.stacks, range=colours
        )

    def dash(self) -> alt.StrokeDash:
        dashes = [DASHES[n % len(DASHES)] for n in range(len(self.interfaces))]
        legend = alt.Legend(symbolType="stroke") if len(self.interfaces) > 1 else None
        return alt.StrokeDash("interface:N", title=None, legend=legend).scale(
            domain=self.interfaces, range=dashes
        )

    def shape(self) -> alt.Shape:
        shapes = [SHAPES[n % len(SHAPES)] for n in range(len(self.interfaces))]
        several = len(self.interfaces) > 1
        legend = alt.Legend(symbolFillColor="#7d8590", symbolStrokeWidth=0) if several else None
        return alt.Shape("interface:N", title=None, legend=legend).scale(
            domain=self.interfaces, range=shapes
        )
