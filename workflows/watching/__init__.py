"""What was published and could not be proven at once is watched afterwards: ``noting``, ``settling``, ``telling``."""
