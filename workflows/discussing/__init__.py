"""Talking about a change of a workflow, on the page that shows it: comments by node, resolved or not.

``comments`` writes, ``reading`` is what pages and the API show, ``answering`` reads the forms of pages, ``schemas`` is
what every API of comments takes and tells. An app with changes of its own adds a table (``workflows.models.Comment``),
its addresses, and who may see what the comments are about: whoever does may comment.
"""
