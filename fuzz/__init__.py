"""Random and damaged byte streams for the parser and the whole node.

`python -m fuzz --streams 100000 --seed 1` runs; a failure prints the command that replays it.
"""
