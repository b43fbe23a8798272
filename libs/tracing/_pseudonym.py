"""The name under which a user's requests are found in traces."""

import hashlib


def pseudonym(subject: str) -> str:
    """The first 16 hex digits of the SHA-256 of a user's id (`sub`), for `enduser.pseudo.id`.

    The same in every service, so that whoever knows the id finds the user's requests across them;
    from the name alone a random id is not found. Unsalted on purpose, see docs/adr/0049.
    """
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:16]
