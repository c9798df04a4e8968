"""A line of JSON to an object whose keys are known to stand there once."""

import json
import re
from typing import Any


class Record(dict[str, Any]):
    """A JSON object, and which of its keys it has more than once: the last value would win without a word."""

    doubled: frozenset[str] = frozenset()


def parse_record(line: str) -> Any:
    """Return what a line holds, of an object a dict or `Record`. Raises ValueError, in words, for what is not JSON."""
    try:
        value = _DECODER.decode(line)
        # What looks like a key is one, or stands in a text or another object: where there are no more, none is doubled.
        if isinstance(value, dict) and len(_KEY.findall(line)) != len(value):
            return _CAREFUL_DECODER.decode(line)
        return value
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("not JSON: brackets within brackets, too deep to be read") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None


def doubled_keys(record: dict[str, Any]) -> frozenset[str]:
    """Return the keys that stand in the object more than once."""
    return record.doubled if isinstance(record, Record) else frozenset()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    names = [name for name, _ in pairs]
    doubled = Record(record)
    doubled.doubled = frozenset(name for name in names if names.count(name) > 1)
    return doubled


_DECODER = json.JSONDecoder()
_CAREFUL_DECODER = json.JSONDecoder(object_pairs_hook=_object)
_KEY = re.compile(r'"[ \t\r\n]*:')
