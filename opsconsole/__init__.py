"""OpsConsole: the control room for an estate of n8n instances.

Kept free of imports: the launcher runs from here before any dependency is installed.
"""
