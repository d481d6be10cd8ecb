"""How quick the console is, each beside the bare limit that it cannot beat. See ``script/bench``."""
