"""The whole validator in one thread, on a machine that does what a seed says. Start at `simulation`."""
