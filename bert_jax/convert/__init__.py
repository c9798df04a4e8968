"""Readers and writers of all model formats.

The package is also the function `bert_jax.convert(source, target, to="hf")`. Importing one of its modules binds the
package to the name `bert_jax.convert` and would hide a plain function there, so the package itself is callable.
"""

import importlib
import sys
import types
from typing import Any


class _Callable(types.ModuleType):
    """A module that can be called. Its signature and documentation are those of the function."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return _function()(*arguments, **keywords)

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return _function().__doc__

    @property
    def __signature__(self) -> Any:
        return _function().__signature__


def _function() -> Any:
    return importlib.import_module("bert_jax.api.folders").convert


sys.modules[__name__].__class__ = _Callable
