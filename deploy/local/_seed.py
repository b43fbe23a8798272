"""Loads the sample courses into the running platform.

The format of the samples, with an example of each file, is in ``_samples.py``.
"""
