"""A corpus of damaged files: each format of `formats` changed in every way of `mutations`, and what becomes of it."""
