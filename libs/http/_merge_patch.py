"""JSON merge patch (RFC 7396): the algorithm of section 2, and nothing of what a patch may change."""

MERGE_PATCH_CONTENT_TYPE = "application/merge-patch+json"


def merge_patch(target: object, patch: object) -> object:
    """`target` as `patch` makes it: `null` removes a member, an object is merged into one, and
    anything else, arrays included, takes the place of what was there. Changes neither."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
