"""What is wrong with a mapping whatever the data: claims that overlap, keys that collide, transforms
that can not be undone.

Owns the proofs. Each problem is a line for a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

from deploy.migration._patterns import KeyPattern
from deploy.migration.mapping import (
    RESERVED,
    AttributeIs,
    Nobody,
    Rule,
    SplitMapping,
    Table,
    key_fields,
)


def problems(mapping: SplitMapping) -> list[str]:
    """Everything that is wrong, each a line."""
    return [
        *_overlaps(mapping),
        *(problem for rule in mapping.rules for problem in _unprovable(mapping.source, rule)),
        *_collisions(mapping),
    ]


def _overlaps(mapping: SplitMapping) -> Iterator[str]:
    claims: list[Rule | Nobody] = [*mapping.rules, *mapping.nobody]
    names = [claim.name for claim in claims]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"two rules have the name {name!r}"
    for one, other in combinations(claims, 2):
        shared = _shared(one.partition, one.sort, other.partition, other.sort)
        if shared is None:
            continue
        if _exclude(one.where, other.where):
            targets = {claim.target for claim in (one, other) if isinstance(claim, Rule)}
            if len(targets) > 1:
                yield (
                    f"the rules {one.name!r} and {other.name!r} are of two modules: one item, "
                    f"as {_shown(shared)}, would have two owners"
                )
        else:
            yield (
                f"the rules {one.name!r} and {other.name!r} overlap: "
                f"both are for {_shown(shared)}"
            )


def _collisions(mapping: SplitMapping) -> Iterator[str]:
    """Parts, and what stays, whose keys can meet in one table."""
    claims = [
        (f"the part {part.name!r} of {rule.name!r}", rule.target, part.partition, part.sort)
        for rule in mapping.rules
        for part in rule.parts
    ] + [
        (f"what stays in {stays.target.table.name} ({stays.why})", stays.target,
         stays.partition, stays.sort)
        for stays in mapping.stays
    ]  # fmt: skip
    own = KeyPattern(f"{RESERVED}{{rest:rest}}")
    for name, _, partition, _ in claims:
        if partition.common(own) is not None:
            yield f"{name} can have keys that begin with {RESERVED!r}, the migration's own"
    for one, other in combinations(claims, 2):
        if one[1].table.name != other[1].table.name:
            continue
        shared = _shared(one[2], one[3], other[2], other[3])
        if shared is not None:
            yield f"{one[0]} and {other[0]} collide: both can have {_shown(shared)}"
    modules = [target.module for target in mapping.targets]
    tables = [target.table.name for target in mapping.targets]
    for kind, names in (("module", modules), ("table", tables)):
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"the {kind} {name!r} has two targets"
    if mapping.source.name in tables:
        yield f"the source {mapping.source.name!r} is a target too"


def _exclude(one: AttributeIs | None, other: AttributeIs | None) -> bool:
    return one is not None and other is not None and one.name == other.name and one != other


def _shared(
    partition: KeyPattern,
    sort: KeyPattern | None,
    other_partition: KeyPattern,
    other_sort: KeyPattern | None,
) -> tuple[str, str | None] | None:
    """A key of both, None where there is none. Fields that occur in both keys of one claim are
    taken for free: what this calls shared may then be impossible, never the other way round."""
    key = partition.common(other_partition)
    if key is None:
        return None
    if sort is None or other_sort is None:
        return (key, None)
    sort_key = sort.common(other_sort)
    return None if sort_key is None else (key, sort_key)


def _shown(key: tuple[str, str | None]) -> str:
    return key[0] if key[1] is None else f"{key[0]} / {key[1]}"


def _unprovable(source: Table, rule: Rule) -> Iterator[str]:
    """What keeps the rule's keys from being an injective function of the source's."""
    fields = rule.fields
    if (source.sort is None) != (rule.sort is None):
        yield f"the rule {rule.name!r} and {source.name} differ about a sort key"
    for name in sorted(rule.transforms.keys() - fields):
        yield f"the rule {rule.name!r} transforms {name!r}, which is no field of its key"
    if not rule.parts:
        yield f"the rule {rule.name!r} has no part"
    names = [part.name for part in rule.parts]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"the rule {rule.name!r} has two parts of the name {name!r}"
    for part, missing in product(rule.parts, sorted(fields)):
        if missing not in key_fields(part.partition, part.sort):
            yield (
                f"the part {part.name!r} of {rule.name!r} leaves {missing!r} out of its key: "
                f"two items could become one row"
            )
    for part in rule.parts:
        if (rule.target.table.sort is None) != (part.sort is None):
            yield (
                f"the part {part.name!r} of {rule.name!r} and {rule.target.table.name} differ "
                f"about a sort key"
            )
        for name in sorted(set(part.partition.fields) - fields):
            yield (
                f"the part {part.name!r} of {rule.name!r} has {name!r} in its partition key, "
                f"which is no field of the source's key"
            )
