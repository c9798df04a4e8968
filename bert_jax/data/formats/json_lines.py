"""Parsing of JSON lines, with detection of keys that an object has more than once."""

import json
import re
from typing import Any


class RepeatedKeysDict(dict[str, Any]):
    """A JSON object that has some keys more than once, of which `dict` holds the last values. `repeated` names them."""

    repeated: frozenset[str] = frozenset()


def parse_record(line: str) -> Any:
    """Parse a line: an object becomes a dict or `RepeatedKeysDict`. Raises ValueError, in words, for invalid JSON."""
    try:
        value = _DECODER.decode(line)
        # The pattern also matches in texts and inner objects. If it matches once for each key, none is repeated.
        if isinstance(value, dict) and len(_KEY.findall(line)) != len(value):
            return _CAREFUL_DECODER.decode(line)
        return value
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("not JSON: brackets within brackets, too deep to be read") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None


def repeated_keys(record: dict[str, Any]) -> frozenset[str]:
    """Return the keys that the object has more than once."""
    return record.repeated if isinstance(record, RepeatedKeysDict) else frozenset()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    names = [name for name, _ in pairs]
    repeated = RepeatedKeysDict(record)
    repeated.repeated = frozenset(name for name in names if names.count(name) > 1)
    return repeated


_DECODER = json.JSONDecoder()
_CAREFUL_DECODER = json.JSONDecoder(object_pairs_hook=_object)
_KEY = re.compile(r'"[ \t\r\n]*:')
