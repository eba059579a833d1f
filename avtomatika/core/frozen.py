"""Frozen dataclasses at the cost of plain ones.

The type checker rejects assignments to their fields; at run time they are not frozen. Setting the fields of a frozen
dataclass takes three times as long, and every message and step makes a dozen of them.
"""

from dataclasses import dataclass as _dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool = False, **options: Any) -> Any:
        """Return the decorator."""
        return _dataclass(unsafe_hash=frozen, **options)
