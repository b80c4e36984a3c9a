"""The grammar of the Modelfile language, `modelfile.lark`."""

from __future__ import annotations


def modelfile_grammar() -> str:
    """Return the text of the grammar, in Lark's notation."""
    from importlib.resources import files

    return files(__name__).joinpath("modelfile.lark").read_text(encoding="utf-8")
