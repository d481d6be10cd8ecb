"""Undoing what a support session wrote: what it touched, what can be undone, and the job that undoes it.

``changes`` reads the trail, ``rows`` and ``jobs`` judge and undo (one small class per kind, on ``rowbase`` and
``jobbase``), ``planning`` puts the list together, ``services`` starts the job and ``handlers`` carries it out.
"""
