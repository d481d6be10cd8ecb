"""Reverting what a support session wrote: what it touched, what can be reverted, and the job that does.

``changes`` reads the trail. ``rowbase`` and ``jobbase`` judge and revert; the app that owns a table or a kind of job
subclasses them (``<app>/session_revert.py``) and declares an instance in its ``console.py``. ``rows`` and ``jobs`` find
the reverter of each thing, ``planning`` puts the list together, ``services`` starts the job and ``handlers`` carries it
out.
"""
