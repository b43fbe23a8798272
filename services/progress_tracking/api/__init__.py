"""Progress tracking over HTTP: routes, handlers and the shapes of what is sent and answered.

Turns requests into calls of the domain and the domain's answers into documents. It knows no table.
"""
