"""The bits of a flag: what each means, and which of them say that a number is not to be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool

Kind = TypeVar("Kind", bound=IntFlag)


@dataclass(frozen=True)
class Bits(Generic[Kind]):
    """All bits of one kind of flag.

    Attributes:
        descriptions: every bit, in order, and what it says.
        notes: those that are remarks: the numbers stand. All others are UNTRUSTED.

    Example:
        >>> from hubbleflow.measure.shape_flags import BITS, ShapeFlag
        >>> BITS.trusted([0, ShapeFlag.EDGE, ShapeFlag.EDGE | ShapeFlag.LOW_SNR]).tolist()
        [True, True, False]
        >>> BITS.names(ShapeFlag.LOW_SNR | ShapeFlag.EDGE)
        ['LOW_SNR', 'EDGE']
        >>> BITS.count([0, ShapeFlag.EDGE, ShapeFlag.EDGE | ShapeFlag.LOW_SNR])
        {'LOW_SNR': 1, 'EDGE': 2}
    """

    descriptions: Mapping[Kind, str]
    notes: Kind

    @property
    def untrusted(self) -> Kind:
        """The bits that say that a number is missing, wrong or about something else."""
        return type(self.notes)(sum(self.descriptions)) & ~self.notes

    def trusted(self, flag: Any) -> Bool[np.ndarray, ...]:
        """True where a flag holds no UNTRUSTED bit (notes are allowed)."""
        return (np.asarray(flag).astype(np.int64) & int(self.untrusted)) == 0

    def names(self, flag: int) -> list[str]:
        """Names of the bits that are set."""
        return [name for name, bit in self.by_name.items() if int(flag) & bit]

    def count(self, flag: Any) -> dict[str, int]:
        """How many rows have each bit set, for bits that any row has, in the order of the bits."""
        values = np.asarray(flag).astype(np.int64)
        rows = {name: int(((values & bit) != 0).sum()) for name, bit in self.by_name.items()}
        return {name: n for name, n in rows.items() if n}

    @property
    def by_name(self) -> dict[str, int]:
        """The bits' numbers."""
        return {str(bit.name): int(bit) for bit in self.descriptions}
