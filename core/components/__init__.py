"""The console's components, by topic. Templates load them together: `{% load ui %}`."""
