"""Readers and writers of every format of models.

As `bert_jax.convert(source, target, to="hf")` this package is also the function of its name. Python binds a package's
modules to names of the package, and so whatever had imported one of these would hide a function of that name.
"""

import importlib
import sys
import types
from typing import Any


class _Callable(types.ModuleType):
    """This package where it is called. The signature and the description are the function's."""

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
