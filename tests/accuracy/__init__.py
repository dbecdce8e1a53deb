"""The measures of accuracy, run by `make accuracy`: `python -m tests.accuracy NAME ...` runs some of them.

They take minutes to an hour, so they are not part of `make test`. Each prints what it asks for and what it saw.
"""
