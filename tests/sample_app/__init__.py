"""An app as somebody adds one: bottles of samples. Nothing outside this folder names it; see test_adding_an_app.py."""
