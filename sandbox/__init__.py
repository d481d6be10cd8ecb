"""An n8n look-alike: many instances in one process, speaking n8n's public API over HTTP.

For demonstrations, tests, injected faults and load. It imports nothing of the console, and nothing of the console
imports it: they meet over HTTP only, as with a real n8n. Run it with ``python -m sandbox --port 5680``.
"""
