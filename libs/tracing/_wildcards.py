"""X-Ray's patterns: `*` is any text, `?` one character, letters match in either case.

https://docs.aws.amazon.com/xray/latest/devguide/xray-console-sampling.html says which fields of a
rule are patterns; that case does not matter is what AWS's SDKs do.
"""


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text fits the pattern.

    Not by a regular expression: a pattern of many stars would take it exponential time. This
    takes at most len(pattern) * len(text) steps.
    """
    if pattern == "*":
        return True
    pattern, text = pattern.lower(), text.lower()
    at, here = 0, 0
    star, after_star = -1, 0  # the last star seen, and the text that it leaves to what follows it
    while here < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, after_star = at, here
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[here]):
            at += 1
            here += 1
        elif star >= 0:
            after_star += 1
            at, here = star + 1, after_star
        else:
            return False
    return pattern[at:].strip("*") == ""
