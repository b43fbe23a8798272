"""The pages to look at: a learner's app, the trace map and the live board, a process of their own.

Serves static files and what those pages can learn nowhere else: who the demo users are, and what the
services wrote about themselves. Stands beside the platform and is no part of it: the gateway leads to
it as to any service, by the paths of `openapi.yaml`, and everything else the pages ask of the services
themselves. It reads files, what the services wrote anyway; the platform does not know that it looks.
"""
