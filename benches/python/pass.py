"""Does nothing: what the others are measured above.

It reads the command line and tells of itself as they do, so that these are not counted for them.
"""

ORDERED = ()


def find(job):
    return []
