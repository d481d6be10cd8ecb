"""What people read.

- ``comparison``: two environments side by side; ``diffs``: which versions a diff shows
- ``presenters``: what the pages draw; ``page_version``: when an open page is out of date
- ``executions``: runs before and after; ``search``: the command bar
"""
