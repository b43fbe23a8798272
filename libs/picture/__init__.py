"""An SVG of ours as a PNG, with the words in a font of its own; see README.md."""

from libs.picture._png import as_png, source_of, write_picture

__all__ = ["as_png", "source_of", "write_picture"]
