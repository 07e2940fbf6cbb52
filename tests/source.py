"""The repository's own code, as trees to look at."""

import ast
import gc

__all__ = ["parsed"]


def parsed(source: str) -> ast.Module:
    """Return the tree of a source.

    Nothing is collected meanwhile: Python 3.11 takes a tree that is made within another one, as by what a collected
    object still does, for a fault of its own (SystemError: AST constructor recursion depth mismatch).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if was_on:
            gc.enable()
