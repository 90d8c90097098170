"""`make bench`: what extip costs, each figure next to a named baseline measured in the same run.

The machine that this runs on is noisy, so bounds are ratios to, or differences from, a baseline
that is measured alternately with extip, and every value is a median unless its name says otherwise.
"""
