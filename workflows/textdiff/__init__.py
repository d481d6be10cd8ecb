"""Two versions of a workflow as text: a section per node, in it the lines that differ, marked within the line.

``lines`` writes a workflow as sections of lines, ``comparing`` finds what differs, ``colouring`` marks code in its own
language, ``drawing`` makes the table of it. Pure; bounded however large the versions are.
"""

from .comparing import Layout, SectionDiff, TextDiff, compare
from .drawing import draw, draw_rest
from .lines import sections_of

__all__ = ["Layout", "SectionDiff", "TextDiff", "compare", "draw", "draw_rest", "sections_of"]
