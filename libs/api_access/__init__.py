"""Where a tool's requests to the public APIs go, and the bearer token that goes with them."""

from libs.api_access._access import AccessError, checked_gateway, read_token, token_in

__all__ = ["AccessError", "checked_gateway", "read_token", "token_in"]
