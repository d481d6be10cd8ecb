"""What stands behind `script/up` and `script/test`.

Everything here but `guards` and `prepare` uses the standard library alone, so that it runs before any dependency is
installed and under any Python from 3.11 on.
"""
