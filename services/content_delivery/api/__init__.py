"""Content delivery over HTTP: routes, handlers and the shapes of their answers.

Turns requests into calls of the domain and the domain's answers into documents. It knows nothing
of tables and buckets.
"""
