"""Coverage-guided fuzzing of every parser: `python -m tests.fuzz`, or `make fuzz MINUTES=60`. Needs atheris."""
