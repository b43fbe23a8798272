"""The `TRACING_*` variables that are more than a text or a number."""

from __future__ import annotations

from libs.config import Environment
from libs.tracing import InvalidSamplingRulesError, SamplingRule, parse_sampling_rules


def read_tracing_rules(environment: Environment) -> tuple[SamplingRule, ...]:
    """`TRACING_RULES`: a JSON array of X-Ray's sampling rules; every problem is recorded."""
    document = environment.json("TRACING_RULES", default=None)
    if document is None:
        return ()
    try:
        return parse_sampling_rules(document)
    except InvalidSamplingRulesError as error:
        for problem in error.problems:
            environment.reject("TRACING_RULES", f"is not valid: {problem}")
        return ()


def read_central_sampling(environment: Environment, *, daemon: str) -> bool:
    """`TRACING_CENTRAL_SAMPLING`, which needs the daemon to ask.

    Off unless it is asked for: X-Ray's rules take the place of those that are configured here, and
    the role of the daemon needs two permissions more.
    """
    central = environment.flag("TRACING_CENTRAL_SAMPLING", default=False)
    if central and not daemon:
        environment.reject("TRACING_CENTRAL_SAMPLING", "needs TRACING_DAEMON")
    return central
