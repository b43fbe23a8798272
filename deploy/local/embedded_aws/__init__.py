"""The embedded AWS: MiniStack behind a guard, as one process that listens on 127.0.0.1 only.

Runs in an environment of its own (`3rdparty/python/embedded_aws.lock`), because MiniStack pins another
botocore than the code. So nothing here imports anything but the standard library, ministack and
hypercorn, and nothing outside imports MiniStack.
"""
