"""placeholder"""

UNLABELLED = -1
"""The label of a row that only the teacher speaks to."""
