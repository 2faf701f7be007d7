"""Norms that an exporter took apart, as one node again.

PyTorch writes an RMS norm as x^2, its mean, plus epsilon, root, and x divided by it, and a layer
norm the same way of x less its mean; opsets before 17 (layer) and 23 (RMS) have no node for them.
Times the weight and plus the bias belong to it where they follow at once. An operator that no other
node sees into is what a runtime would fuse as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bankwidth.operators.formats.onnx_model import OnnxModel, OnnxNode
from bankwidth.operators.formats.onnx_values import Values


@dataclass(frozen=True, slots=True)
class _Norm:
    node: OnnxNode
    parts: tuple[OnnxNode, ...]


def fused_norms(model: OnnxModel, values: Values) -> list[OnnxNode]:
    """The nodes in order; a norm stands where its last part was."""
    graph = _Graph(model, values)
    place: dict[int, OnnxNode | None] = {}
    for node in model.nodes:
        norm = graph.norm_at(node)
        if norm is not None:
            place.update((id(part), None) for part in norm.parts)
            place[id(norm.parts[-1])] = norm.node
    kept = (place.get(id(node), node) for node in model.nodes)
    return [node for node in kept if node is not None]


class _Graph:
    def __init__(self, model: OnnxModel, values: Values) -> None:
        self._values = values
        self._maker = {out: node for node in model.nodes for out in node.outputs if out}
        self._users: dict[str, list[OnnxNode]] = {}
        for node in model.nodes:
            for name in node.inputs:
                self._users.setdefault(name, []).append(node)

    def norm_at(self, mean: OnnxNode) -> _Norm | None:
        """The norm whose mean of squares this node is."""
        square = self._maker.get(mean.input(0))
        if not _is_mean(mean) or square is None or not self._is_square(square):
            return None
        inner = square.input(0)
        root = self._root(mean)
        last = self._scaled(inner, root[-1]) if root else []
        if not root or not last:
            return None
        centre = self._centred(inner)
        tail = list(self._tail(last[-1]))
        parts = (*centre, square, mean, *root, *last, *tail)
        source = centre[0].input(0) if centre else inner
        widened = self._maker.get(source)
        if widened is not None and widened.op == "Cast" and self._is_inside(widened, parts):
            parts, source = (widened, *parts), widened.input(0)  # works in fp32 on narrower values
        if not all(self._is_inside(part, parts) for part in parts[:-1]):
            return None
        made = OnnxNode(
            op="LayerNormalization" if centre else "SimplifiedLayerNormalization",
            name=mean.name,
            inputs=[source],
            outputs=parts[-1].outputs,
            attributes={"axis": -1},
            offset=mean.offset,
        )
        return _Norm(made, parts)

    def _is_square(self, node: OnnxNode) -> bool:
        if node.op == "Mul":
            return node.input(0) == node.input(1)
        return node.op == "Pow" and self._values.is_constant(node.input(1))

    def _root(self, mean: OnnxNode) -> list[OnnxNode]:
        """Plus epsilon, root, and one over it if that is a node: those that are there, in turn."""
        chain: list[OnnxNode] = []
        at = mean
        for ops in (("Add",), ("Sqrt",)):
            following = self._only_user(at)
            if following is None or following.op not in ops:
                return []
            chain.append(following)
            at = following
        inverse = self._only_user(at)
        if inverse is not None and self._is_inverse(inverse):
            chain.append(inverse)
        return chain

    def _is_inverse(self, node: OnnxNode) -> bool:
        """One over the root: Reciprocal, or a constant divided by it."""
        is_division = node.op == "Div" and self._values.is_constant(node.input(0))
        return node.op == "Reciprocal" or is_division

    def _scaled(self, inner: str, root: OnnxNode) -> list[OnnxNode]:
        """x over the root, or times one over it."""
        user = self._only_user(root)
        if user is None or user.op not in ("Div", "Mul") or inner not in user.inputs:
            return []
        return [user]

    def _centred(self, inner: str) -> tuple[OnnxNode, ...]:
        """The mean and the difference before a layer norm's squares."""
        difference = self._maker.get(inner)
        if difference is None or difference.op != "Sub":
            return ()
        mean = self._maker.get(difference.input(1))
        if mean is None or not _is_mean(mean) or mean.input(0) != difference.input(0):
            return ()
        return (mean, difference)

    def _tail(self, node: OnnxNode) -> Iterator[OnnxNode]:
        """Back to the narrower type, times a weight, plus a bias."""
        for wanted in ("Cast", "Mul", "Add"):
            following = self._only_user(node)
            if following is None or following.op != wanted:
                continue
            if wanted != "Cast" and not any(map(self._values.is_constant, following.inputs)):
                continue
            yield following
            node = following

    def _is_inside(self, node: OnnxNode, parts: Sequence[OnnxNode]) -> bool:
        """Whether nothing but these parts uses what a node makes."""
        inside = {id(part) for part in parts}
        users = (user for out in node.outputs for user in self._users.get(out, ()))
        return all(id(user) in inside for user in users)

    def _only_user(self, node: OnnxNode) -> OnnxNode | None:
        users = self._users.get(node.outputs[0], ()) if node.outputs else ()
        return users[0] if len(users) == 1 else None


def _is_mean(node: OnnxNode) -> bool:
    """Along one axis, as far as the node says; in a norm it is the last."""
    axes = node.attributes.get("axes", (-1,))
    return node.op == "ReduceMean" and isinstance(axes, tuple) and len(axes) == 1
