"""Normalizes references and combinators: $ref, allOf, anyOf, oneOf, not, if."""

from __future__ import annotations

from edgeinfer.grammar.json_schema.core import MAX_REFS, Core, Resolve, all_of, any_of
from edgeinfer.grammar.json_schema.disjoint import disjoint
from edgeinfer.grammar.json_schema.intersection import intersect
from edgeinfer.grammar.json_schema.keywords import effective_keywords, pointer
from edgeinfer.grammar.json_schema.negation import negations
from edgeinfer.grammar.json_schema.schema_node import SchemaNode

MAX_SEPARATIONS = 32
"""Alternatives that keep one option of a oneOf disjoint from the others."""

MAX_PRODUCT = 8
"""Combinations of alternatives that llguidance may multiply out."""

MAX_COMPARED = 200
"""Options of a oneOf that are compared with each other."""

OBJECT = {
    "properties",
    "patternProperties",
    "additionalProperties",
    "required",
    "minProperties",
    "maxProperties",
}


def normalize_combinators(node: SchemaNode) -> None:
    context, keywords = node.context, node.keywords
    for keyword in keywords:
        if keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            path = pointer(node.path, keyword)
            node.conjuncts.append(context.add_reference(node.raw, keywords[keyword], path))
        elif keyword == "allOf":
            _normalize_all_of(node)
        elif keyword == "anyOf":
            node.conjuncts.append(any_of([node.normalize("anyOf", n) for n in range(len(keywords["anyOf"]))]))
        elif keyword == "oneOf":
            node.conjuncts.append(_normalize_one_of(node))
        elif keyword == "not":
            _normalize_not(node)
        elif keyword == "if":
            _normalize_if(node)


def _normalize_all_of(node: SchemaNode) -> None:
    schemas = [node.normalize("allOf", n) for n in range(len(node.get("allOf")))]
    choices = [schema for schema in schemas if isinstance(schema, dict) and schema.keys() == {"anyOf"}]
    product = 1
    for n, schema in enumerate(schemas):
        if len(choices) > 1 and isinstance(schema, dict) and schema in choices:
            # Several conditions on one property are few cases together, and very many one by one.
            if node.try_require_any(schema["anyOf"]):
                continue
            product *= len(schema["anyOf"])
            if product > MAX_PRODUCT:
                node.mark_unenforced("allOf", n)
                continue
        node.conjuncts.append(schema)


def _normalize_one_of(node: SchemaNode) -> Core:
    """Treat oneOf as anyOf where its options are disjoint or can be made so."""
    narrowed_before = node.context.num_narrowed
    options = [node.normalize("oneOf", n) for n in range(len(node.get("oneOf")))]
    is_narrowed = node.context.num_narrowed > narrowed_before
    options = [option for option in options if option is not False]
    separated = None
    if not is_narrowed and len(options) <= MAX_COMPARED:
        separated = _separate(node, options)
    if separated is None:
        node.mark_unenforced("oneOf")
        return any_of(options)
    return any_of(separated)


def _separate(node: SchemaNode, options: list[Core]) -> list[Core] | None:
    """Narrow each option to where no other holds; None where that cannot be expressed."""
    resolve = node.context.resolve_not_narrowed
    local: Core = node.local
    if sum(_restricts_only_objects(option, resolve) for option in options) > 1:
        # Each of these allows every value that is not an object, so such a value satisfies more than one.
        local = intersect(local, {"type": ["object"]}, resolve)
        node.conjuncts.append({"type": ["object"]})
    views = [intersect(local, _dereference(option, resolve), resolve) for option in options]
    overlaps = [
        [
            other
            for other, other_view in zip(options, views, strict=True)
            if other_view is not view and not disjoint(view, other_view, resolve)
        ]
        for view in views
    ]
    if sum(map(len, overlaps)) > 2 * MAX_SEPARATIONS:
        return None
    separated = []
    for option, view, others in zip(options, views, overlaps, strict=True):
        narrowed = option if not others else _subtract(node, option, view, others)
        if narrowed is None:
            return None
        separated.append(narrowed)
    return separated


def _restricts_only_objects(option: Core, resolve: Resolve) -> bool:
    core = _dereference(option, resolve)
    return isinstance(core, dict) and core.keys() <= OBJECT


def _dereference(core: Core, resolve: Resolve) -> Core:
    """Follow a schema that is a reference and nothing else."""
    for _ in range(MAX_REFS):
        if isinstance(core, bool) or core.keys() != {"$ref"}:
            break
        core = resolve(core["$ref"])
    return core


def _subtract(node: SchemaNode, option: Core, view: Core, others: list[Core]) -> Core | None:
    """Return `option` where none of `others` holds; None where that cannot be expressed."""
    conjuncts = [option]
    num_cases = 1
    for other in others:
        negated = negations(other, node.context.resolve_exact)
        if negated is None:
            return None
        negated = [core for core in negated if not disjoint(core, view, node.context.resolve_exact)]
        num_cases *= len(negated)
        if num_cases > MAX_SEPARATIONS:
            return None
        conjuncts.append(any_of(negated))
    return all_of(conjuncts)


def _normalize_not(node: SchemaNode) -> None:
    raw = node.get("not")
    if isinstance(raw, dict) and effective_keywords(raw, "", node.context.draft).keys() == {"not"}:
        node.conjuncts.append(node.normalize("not", "not"))
        return
    changes_before = node.context.num_changes
    core = node.normalize("not")
    options = negations(core, node.context.resolve_exact)
    if options is None or node.context.num_changes != changes_before:
        node.mark_unenforced("not")
    else:
        node.require_any(options, "not")


def _normalize_if(node: SchemaNode) -> None:
    changes_before = node.context.num_changes
    condition = node.normalize("if")
    is_exact = node.context.num_changes == changes_before
    then = node.normalize("then") if "then" in node.keywords else True
    otherwise = node.normalize("else") if "else" in node.keywords else True
    if then is True and otherwise is True:
        return
    negated = negations(condition, node.context.resolve_exact)
    if negated is None or not is_exact:
        node.mark_unenforced("if")
    else:
        node.require_any([all_of([condition, then]), *(all_of([core, otherwise]) for core in negated)], "if")
