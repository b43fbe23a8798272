"""The rules of content delivery: what content is, who may move it where, how long a URL lives.

Imports itself and the standard library only. It names what it needs from outside as protocols
(``repository``, ``object_store``); it knows no HTTP, no table and no bucket.
"""
