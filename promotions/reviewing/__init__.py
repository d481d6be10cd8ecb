"""Looking at a promotion together: comments on its changes, and who has viewed which workflow.

``comments`` (see ``workflows.discussing``) and ``viewed`` write, ``reading`` is what pages and the API show, ``page``
the review of one workflow, ``views`` and ``rest`` parse and answer, ``schemas`` is what the API takes and tells.
"""
