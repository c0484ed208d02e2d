"""Which blocks belong to which alternative."""

from collections.abc import Collection

from spaces.graph.op import Op

When = tuple[tuple[str, int], ...]


def conditions(blocks: list[Op], outputs: Collection[str]) -> dict[str, When]:
    """Block -> the choices and options under which its result is read; () where it always is.

    A block is read under the conditions of its reader and, through a select, only if the select picks that input. The
    conditions that hold on every way to the output are those of the block.
    """
    found: dict[str, set[tuple[str, int]] | None] = {op.name: None for op in blocks}
    found |= {name: set() for name in outputs}
    for op in reversed(blocks):
        own = found[op.name] or set()
        for index, name in enumerate(op.inputs):
            if name not in found:
                continue  # the network's input
            through = own | {(op.attributes["choice"], index)} if op.picks else own
            before = found[name]
            found[name] = set(through) if before is None else before & through
    return {name: tuple(sorted(pairs or ())) for name, pairs in found.items()}
