// Two authors' versions of one course, by their common ancestor, field by field.

/** Whether two values of JSON are equal. */
export function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/**
 * `merged`: theirs, and on top what only we have changed, and of what both have, ours. `conflicts`: the
 * fields that both have changed, and differently. `theirs`: those that they have changed.
 */
export function merge(before, mine, now, fields) {
  const theirs = fields.filter((name) => !same(before[name], now[name]));
  const ours = fields.filter((name) => !same(before[name], mine[name]));
  const conflicts = ours.filter((name) => theirs.includes(name) && !same(mine[name], now[name]));
  const merged = { ...now, ...Object.fromEntries(ours.map((name) => [name, mine[name]])) };
  return { merged, conflicts, theirs };
}
