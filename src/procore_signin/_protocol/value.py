"""Values: dataclasses that nothing changes once they are made.

Python holds a frozen dataclass to that at every assignment, those of its own constructor too, which
takes three times as long. A sign-in makes some sixty values. The type checker holds the internal
ones to it, at no cost; those that applications get are frozen (decision 40).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["value"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen: bool, **options: Any) -> Any:
        """Make a class a dataclass, as `dataclass` does; its values can be hashed."""
        return dataclass(unsafe_hash=frozen, **options)
