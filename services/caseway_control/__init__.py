"""Control is where all meets: the roster, the wiring and the command line."""
