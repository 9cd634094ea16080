"""Plans: the logic of each part, as pure generators.

Rule: nothing here does I/O, asks a clock or draws a random number; what a plan needs of those is passed in.
"""
