"""The console with the sample app in it: its settings, and what is asked there by test_adding_an_app.py."""
