"""Published starters that were not proven at once are watched afterwards: ``noting``, ``verdicts``, ``telling``."""
