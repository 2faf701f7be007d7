from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bankwidth.errors import TraceError
from bankwidth.operators import (
    Attention,
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Rope,
    Softmax,
)
from bankwidth.operators.formats import Imported, import_trace, recognised_format
from bankwidth.operators.formats.onnx_values import evaluated

from .onnx_writer import (
    BOOL,
    FLOAT16,
    INT8,
    INT64,
    UINT4,
    initializer,
    model,
    node,
    value_info,
)

Write = Callable[..., Path]
MS = "com.microsoft"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(nodes: list[bytes], **parts: Any) -> Path:
        path = tmp_path / "model.onnx"
        path.write_bytes(model(nodes, **parts))
        return path

    return file


def refused(path: Path, *parts: str, **options: Any) -> None:
    with pytest.raises(TraceError) as error:
        import_trace(path, format="onnx", **options)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    for part in parts:
        assert part in message


def operators(imported: Imported) -> tuple[Operator, ...]:
    (block,) = imported.trace.blocks
    return block.operators


def only(path: Path, **options: Any) -> Operator:
    (operator,) = operators(import_trace(path, **options))
    return operator


# A layer as exporters write it


def layer_nodes() -> list[bytes]:
    return [
        node("Gather", ["embed", "input_ids"], ["x0"]),
        node("SimplifiedLayerNormalization", ["x0", "norm"], ["n0"], axis=-1),
        node("MatMul", ["n0", "wqkv"], ["qkv"]),
        node(
            "GroupQueryAttention", ["qkv", "", "", "past_k", "past_v", "lens", "total"],
            ["ctx", "present_k", "present_v"], domain=MS, num_heads=4, kv_num_heads=2, do_rotary=1,
        ),
        node("MatMul", ["ctx", "wo"], ["o"]),
        node("SkipSimplifiedLayerNormalization", ["o", "x0", "norm2"], ["n1", "", "", "x1"],
             domain=MS),
        node("MatMul", ["n1", "wup"], ["u"]),
        node("Relu", ["u"], ["r"]),
        node("MatMul", ["r", "wdown"], ["d"]),
        node("Add", ["d", "x1"], ["y"]),
        node("Shape", ["y"], ["shape"]),
        node("Gather", ["shape", "zero"], ["rows"]),
    ]  # fmt: skip


def layer_parts() -> dict[str, Any]:
    tokens: tuple[int | str, ...] = ("batch", "sequence")
    hidden = (*tokens, 64)
    past = ("batch", 2, "past", 16)
    present = ("batch", 2, "past + sequence", 16)
    named = {"x0": hidden, "n0": hidden, "qkv": (*tokens, 128), "ctx": hidden, "o": hidden,
             "n1": hidden, "x1": hidden, "u": (*tokens, 96), "r": (*tokens, 96),
             "d": hidden}  # fmt: skip
    return {
        "inputs": [
            value_info("input_ids", tokens, INT64),
            value_info("past_k", past, FLOAT16),
            value_info("past_v", past, FLOAT16),
            value_info("lens", ["batch"], INT64),
            value_info("total", [], INT64),
        ],
        "outputs": [
            value_info("y", hidden, FLOAT16),
            value_info("present_k", present, FLOAT16),
            value_info("present_v", present, FLOAT16),
        ],
        "values": [
            *(value_info(name, dims, FLOAT16) for name, dims in named.items()),
            value_info("shape", [3], INT64),
            value_info("rows", [], INT64),
        ],
        "weights": [
            initializer("embed", [1000, 64], FLOAT16),
            initializer("norm", [64], FLOAT16),
            initializer("norm2", [64], FLOAT16),
            initializer("wqkv", [64, 128], FLOAT16),
            initializer("wo", [64, 64], FLOAT16),
            initializer("wup", [64, 96], FLOAT16),
            initializer("wdown", [96, 64], FLOAT16),
            initializer("zero", [1], INT64),
        ],
    }


DIMS = {"batch": 3, "sequence": 1, "past": 40}


def test_a_decoder_layer_with_named_dimensions(write: Write) -> None:
    path = write(layer_nodes(), **layer_parts())
    assert recognised_format(path).name == "onnx"
    imported = import_trace(path, dims=DIMS)
    found = operators(imported)
    kinds = [(type(op), op.name) for op in found]
    gqa, skip = "GroupQueryAttention_ctx", "SkipSimplifiedLayerNormalization_n1"
    assert kinds == [
        (Embedding, "Gather_x0"),
        (Norm, "SimplifiedLayerNormalization_n0"),
        (Matmul, "MatMul_qkv"),
        (Rope, f"{gqa}.rope"),
        (KvAppend, f"{gqa}.append"),
        (Attention, gqa),
        (Matmul, "MatMul_o"),
        (Elementwise, f"{skip}.add"),
        (Norm, skip),
        (Matmul, "MatMul_u"),
        (Elementwise, "Relu_r"),
        (Matmul, "MatMul_d"),
        (Elementwise, "Add_y"),
    ]
    assert found[0] == Embedding(
        name="Gather_x0", tokens=3, width=64, vocab=1000, dtype="fp16", weight_dtype="fp16"
    )
    assert found[2] == Matmul(
        name="MatMul_qkv", m=3, n=128, k=64, dtype="fp16", weight_dtype="fp16",
        deps=("SimplifiedLayerNormalization_n0",),
    )  # fmt: skip
    assert found[5] == Attention(
        name=gqa, phase="decode", batch=3, q_len=1, kv_len=41, n_heads=4, n_kv_heads=2, head_dim=16,
        causal=True, dtype="fp16", kv_dtype="fp16", deps=(f"{gqa}.append",),
    )  # fmt: skip
    assert found[-1].deps == ("MatMul_d", skip)
    # weights: the table, two norms, four products, in 2 bytes each
    assert imported.trace.weight_bytes == 2 * (64000 + 128 + 8192 + 4096 + 6144 + 6144)
    assert imported.trace.kv_bytes == 2 * 3 * 41 * 2 * 16 * 2
    assert imported.trace.meta["producer"] == "pytorch"
    assert any("2 nodes" in each or "1 nodes" in each for each in imported.lost)


def test_shapes_follow_from_those_of_the_inputs(write: Write) -> None:
    """Without a single shape of a value in between, and results that have none."""
    parts = layer_parts()
    whole = import_trace(write(layer_nodes(), **parts), dims=DIMS)
    bare = write(layer_nodes(), inputs=parts["inputs"], weights=parts["weights"])
    found = import_trace(bare, dims=DIMS)
    assert found.trace == whole.trace
    assert found.lost == whole.lost


def reshaped(write: Write, nodes: list[bytes], x: tuple[int, ...], **integers: list[int]) -> Any:
    """The shape of what the nodes make of x, which a Relu takes."""
    path = write(
        [*nodes, node("Relu", ["out"], ["y"])],
        inputs=[value_info("x", x, FLOAT16)],
        weights=[
            initializer(name, [len(values)], INT64, values) for name, values in integers.items()
        ],
    )
    last = operators(import_trace(path))[-1]
    assert isinstance(last, Elementwise)
    assert last.rows is not None
    return last.rows, last.elements // last.rows


@pytest.mark.parametrize(
    ("nodes", "integers", "expected"),
    [
        ([node("Reshape", ["x", "to"], ["out"])], {"to": [0, -1]}, (2, 60)),
        ([node("Reshape", ["x", "to"], ["out"])], {"to": [5, -1, 2]}, (60, 2)),
        ([node("Transpose", ["x"], ["out"])], {}, (60, 2)),
        ([node("Transpose", ["x"], ["out"], perm=(0, 1, 3, 2))], {}, (30, 4)),
        ([node("Flatten", ["x"], ["out"], axis=2)], {}, (6, 20)),
        ([node("Flatten", ["x"], ["out"], axis=-1)], {}, (24, 5)),
        ([node("Flatten", ["x"], ["out"], axis=0)], {}, (1, 120)),
        ([node("Slice", ["x", "a", "b", "axis"], ["out"])], {"a": [1], "b": [-1], "axis": [3]},
         (24, 3)),
        ([node("Slice", ["x"], ["out"], starts=(1,), ends=(9,), axes=(-1,))], {}, (24, 4)),
        ([node("Split", ["x"], ["out", "rest"], axis=-1)], {}, (24, 3)),
        ([node("Split", ["x", "sizes"], ["rest", "out"], axis=3)], {"sizes": [4, 1]}, (24, 1)),
        ([node("Concat", ["x", "x"], ["out"], axis=-1)], {}, (24, 10)),
        ([node("Unsqueeze", ["x", "at"], ["out"])], {"at": [-1]}, (120, 1)),
        ([node("Unsqueeze", ["x"], ["w"], axes=(4,)), node("Squeeze", ["w"], ["out"])], {},
         (24, 5)),
        ([node("Tile", ["x", "by"], ["out"])], {"by": [1, 1, 1, 3]}, (24, 15)),
        ([node("Gather", ["x", "at"], ["out"], axis=-1)], {"at": [0, 2]}, (24, 2)),
        ([node("Range", ["zero", "end", "step"], ["r"]), node("Cast", ["r"], ["out"], to=1)],
         {"zero": [0], "end": [5000], "step": [2]}, (1, 2500)),
        # as exporters write `x.view(x.size(0), x.size(1), -1)`
        ([
            node("Shape", ["x"], ["dims"]),
            node("Gather", ["dims", "two"], ["first"]),
            node("Concat", ["first", "rest"], ["to"], axis=0),
            node("Reshape", ["x", "to"], ["out"]),
        ], {"two": [0, 1], "rest": [-1]}, (6, 20)),
        ([
            node("Shape", ["x"], ["dims"], start=-2),
            node("Mul", ["dims", "scale"], ["big"]),
            node("Slice", ["big", "zero", "one"], ["head"]),
            node("Div", ["head", "scale"], ["back"]),
            node("Concat", ["minus", "back"], ["to"], axis=0),
            node("Reshape", ["x", "to"], ["out"]),
        ], {"scale": [3], "zero": [0], "one": [1], "minus": [-1]}, (30, 4)),
    ],
)  # fmt: skip
def test_rules_of_shapes(
    write: Write, nodes: list[bytes], integers: dict[str, list[int]], expected: tuple[int, int]
) -> None:
    assert reshaped(write, nodes, (2, 3, 4, 5), **integers) == expected


def test_an_expansion_as_exporters_write_it(write: Write, tmp_path: Path) -> None:
    """Sizes of -1 mean those that are there, by way of ones of another shape."""
    nodes = [
        node("ConstantOfShape", ["two"], ["ones"], value=initializer("", [1], INT64, [1])),
        node("Mul", ["ones", "minus"], ["marks"]),
        node("Equal", ["target", "marks"], ["same"]),
        node("Where", ["same", "ones", "target"], ["to"]),
        node("Expand", ["x", "to"], ["out"]),
    ]
    found = reshaped(write, nodes, (6, 1), two=[2], minus=[-1], target=[-1, 7])
    assert found == (6, 7)
    names = [op.name for op in operators(import_trace(tmp_path / "model.onnx"))]
    assert names == ["Expand_out", "Relu_y"]


def test_nothing_waits_for_a_shape(write: Write) -> None:
    """The size of a result is known before the result is."""
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Shape", ["r"], ["dims"]),
        node("Concat", ["dims", "rest"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["flat"]),
        node("Relu", ["flat"], ["y"]),
    ]
    rest = initializer("rest", [1], INT64, [1])
    found = operators(import_trace(write(nodes, inputs=[value_info("x", [2, 8])], weights=[rest])))
    assert [(op.name, op.deps) for op in found] == [("Relu_r", ()), ("Relu_y", ())]


def test_dimensions_without_a_number_are_listed(write: Write) -> None:
    path = write(layer_nodes(), **layer_parts())
    refused(path, "of inputs have names, but no numbers: batch, sequence, past", "--dim batch=1")
    refused(path, "1 dimensions", "past", dims={"batch": 1, "sequence": 2})
    refused(path, "no dimension 'bach', did you mean 'batch'?", dims={"bach": 1})
    refused(path, "dimension batch must be at least 0", dims=DIMS | {"batch": -1})


def test_dimensions_may_be_sums_of_names() -> None:
    given = {"a": 6, "b": 4, "a b": 7}
    assert evaluated("a + b", given) == 10
    assert evaluated("2*a - (b + 1)", given) == 7
    assert evaluated("a//b", given) == 1
    assert evaluated("a b", given) == 7
    assert evaluated("a + c", given) is None
    assert evaluated("a ** b", given) is None
    assert evaluated("a // 0", given) is None
    assert evaluated("f(a)", given) is None


# Single nodes


def single(
    write: Write,
    made: bytes,
    *,
    x: tuple[int, ...],
    y: tuple[int, ...],
    weights: tuple[bytes, ...] = (),
    inputs: tuple[bytes, ...] = (),
    element: int = FLOAT16,
) -> Operator:
    path = write(
        [made],
        inputs=[value_info("x", x, element), *inputs],
        outputs=[value_info("y", y, element)],
        weights=weights,
    )
    return only(path)


def test_gemm_turned_with_a_bias(write: Write) -> None:
    made = node("Gemm", ["x", "w", "b"], ["y"], transA=1, transB=1)
    weights = (initializer("w", [5, 7], FLOAT16), initializer("b", [5], FLOAT16))
    assert single(write, made, x=(7, 3), y=(3, 5), weights=weights) == Matmul(
        name="Gemm_y", m=3, n=5, k=7, dtype="fp16", weight_dtype="fp16", bias=True
    )


def test_products_of_two_activations_and_of_a_weight_first(write: Write) -> None:
    other = (value_info("z", [2, 4, 8, 5], FLOAT16),)
    two = single(write, node("MatMul", ["x", "z"], ["y"]), x=(2, 4, 3, 8), y=(2, 4, 3, 5),
                 inputs=other)  # fmt: skip
    assert two == Matmul(
        name="MatMul_y", m=3, n=5, k=8, batch=8, dtype="fp16", weight_dtype="fp16", has_weight=False
    )
    weight = (initializer("w", [6, 8], FLOAT16),)
    first = single(write, node("MatMul", ["w", "x"], ["y"]), x=(8, 3), y=(6, 3), weights=weight)
    assert first == Matmul(name="MatMul_y", m=3, n=6, k=8, dtype="fp16", weight_dtype="fp16")


def test_weights_of_few_bits(write: Write) -> None:
    made = node("MatMulNBits", ["x", "w", "s", "z"], ["y"], domain=MS, K=64, N=32, bits=4,
                block_size=32)  # fmt: skip
    weights = tuple(initializer(name, [32, 2, 16], INT8) for name in ("w", "s", "z"))
    packed = single(write, made, x=(2, 3, 64), y=(2, 3, 32), weights=weights)
    assert packed == Matmul(
        name="MatMulNBits_y", m=6, n=32, k=64, dtype="fp16", weight_dtype="int4_g32z"
    )
    nodes = [
        node("DequantizeLinear", ["w", "s"], ["wide"], block_size=16, axis=0),
        node("Transpose", ["wide"], ["turned"]),
        node("MatMul", ["x", "turned"], ["y"]),
    ]
    path = write(
        nodes,
        inputs=[value_info("x", [3, 64], FLOAT16)],
        outputs=[value_info("y", [3, 32], FLOAT16)],
        values=[value_info("turned", [64, 32], FLOAT16)],
        weights=[initializer("w", [32, 64], UINT4), initializer("s", [32, 4], FLOAT16)],
    )
    assert only(path) == Matmul(
        name="MatMul_y", m=3, n=32, k=64, dtype="fp16", weight_dtype="int4_g16"
    )


def test_products_of_integers(write: Write) -> None:
    path = write(
        [node("MatMulInteger", ["x", "w"], ["y"])],
        inputs=[value_info("x", [2, 8], INT8)],
        outputs=[value_info("y", [2, 4], 6)],
        weights=[initializer("w", [8, 4], INT8)],
    )
    assert only(path) == Matmul(
        name="MatMulInteger_y", m=2, n=4, k=8, dtype="int8", weight_dtype="int8", out_dtype="fp32"
    )


@pytest.mark.parametrize(
    ("op", "domain", "style"),
    [
        ("LayerNormalization", "", "layer"),
        ("RMSNormalization", "", "rms"),
        ("SimplifiedLayerNormalization", "", "rms"),
        ("SimplifiedLayerNormalization", MS, "rms"),
    ],
)
def test_norms(write: Write, op: str, domain: str, style: Any) -> None:
    made = node(op, ["x", "g"], ["y"], domain=domain, axis=-2)
    weights = (initializer("g", [4, 8], FLOAT16),)
    assert single(write, made, x=(2, 3, 4, 8), y=(2, 3, 4, 8), weights=weights) == Norm(
        name=f"{op}_y", rows=6, width=32, style=style, dtype="fp16"
    )


def test_softmax_and_rotary(write: Write) -> None:
    made = node("Softmax", ["x"], ["y"], axis=1)
    assert single(write, made, x=(2, 5, 3), y=(2, 5, 3)) == Softmax(
        name="Softmax_y", rows=6, width=5, dtype="fp16"
    )
    flat = node("RotaryEmbedding", ["x", "ids", "cos", "sin"], ["y"], domain=MS)
    weights = tuple(initializer(name, [128, 8], FLOAT16) for name in ("cos", "sin"))
    ids = (value_info("ids", [2, 3], INT64),)
    found = single(write, flat, x=(2, 3, 64), y=(2, 3, 64), weights=weights, inputs=ids)
    assert found == Rope(name="RotaryEmbedding_y", tokens=6, heads=4, head_dim=16, dtype="fp16")
    heads = node("RotaryEmbedding", ["x", "cos", "sin"], ["y"])
    found = single(write, heads, x=(2, 4, 3, 16), y=(2, 4, 3, 16), weights=weights)
    assert found == Rope(name="RotaryEmbedding_y", tokens=6, heads=4, head_dim=16, dtype="fp16")


# Attention


def attend(write: Write, made: bytes, **values: tuple[int, ...]) -> list[Operator]:
    path = write(
        [made],
        inputs=[
            value_info(name, dims, FLOAT16)
            for name, dims in values.items()
            if not name.startswith("present")
        ],
        outputs=[
            value_info(name, dims, FLOAT16)
            for name, dims in values.items()
            if name.startswith("present")
        ],
    )
    return list(operators(import_trace(path)))


def test_attention_by_heads_and_flat(write: Write) -> None:
    made = node("Attention", ["q", "k", "v"], ["y"], is_causal=1)
    (found,) = attend(write, made, q=(2, 8, 5, 16), k=(2, 2, 5, 16), v=(2, 2, 5, 12))
    expected = Attention(
        name="Attention_y", phase="prefill", batch=2, q_len=5, kv_len=5, n_heads=8, n_kv_heads=2,
        head_dim=16, v_head_dim=12, dtype="fp16", kv_dtype="fp16", kv_role="activation",
    )  # fmt: skip
    assert found == expected
    flat = node("Attention", ["q", "k", "v"], ["y"], is_causal=1, q_num_heads=8, kv_num_heads=2)
    (found,) = attend(write, flat, q=(2, 5, 128), k=(2, 5, 32), v=(2, 5, 24))
    assert found == expected


def test_attention_with_a_cache_and_a_window(write: Write) -> None:
    made = node("Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "present"], is_causal=1,
                left_window_size=3)  # fmt: skip
    append, found = attend(
        write, made, q=(2, 8, 1, 16), k=(2, 2, 1, 16), v=(2, 2, 1, 16), pk=(2, 2, 9, 16),
        pv=(2, 2, 9, 16), present=(2, 2, 10, 16),
    )  # fmt: skip
    assert append == KvAppend(
        name="Attention_y.append", tokens=2, kv_heads=2, head_dim=16, dtype="fp16", kv_dtype="fp16"
    )
    assert isinstance(found, Attention)
    assert (found.kv_len, found.window, found.kv_role, found.phase) == (10, 4, "kv", "decode")


def test_grouped_queries_with_buffers_of_the_longest_sequence(write: Write) -> None:
    made = node("GroupQueryAttention", ["q", "k", "v", "pk", "pv"], ["y", "present"], domain=MS,
                num_heads=4, kv_num_heads=2, local_window_size=6)  # fmt: skip
    cache = (1, 2, 64, 16)
    _, found = attend(
        write, made, q=(1, 1, 64), k=(1, 1, 32), v=(1, 1, 32), pk=cache, pv=cache, present=cache
    )
    assert isinstance(found, Attention)
    assert (found.q_len, found.kv_len, found.window) == (1, 64, 6)
    _, found = attend(write, made, q=(1, 1, 64), k=(1, 1, 32), v=(1, 1, 32), pk=cache, pv=cache)
    assert isinstance(found, Attention)
    assert found.kv_len == 65  # nothing says that the cache out is the same buffer


def test_heads_of_onnx_runtime(write: Write) -> None:
    made = node("MultiHeadAttention", ["q", "k", "v"], ["y"], domain=MS, num_heads=4)
    (found,) = attend(write, made, q=(2, 3, 64), k=(2, 7, 64), v=(2, 7, 64))
    assert isinstance(found, Attention)
    assert (found.q_len, found.kv_len, found.head_dim, found.causal) == (3, 7, 16, False)
    packed = node("MultiHeadAttention", ["q"], ["y"], domain=MS, num_heads=4, unidirectional=1)
    (found,) = attend(write, packed, q=(2, 3, 4, 3, 16))
    assert isinstance(found, Attention)
    assert (found.q_len, found.kv_len, found.head_dim, found.causal) == (3, 3, 16, True)


def test_attention_with_its_projection(write: Write) -> None:
    made = node("Attention", ["x", "w", "b", "mask"], ["y"], domain=MS, num_heads=4)
    path = write(
        [made],
        inputs=[value_info("x", [2, 3, 64], FLOAT16), value_info("mask", [2], INT64)],
        weights=[initializer("w", [64, 192], FLOAT16), initializer("b", [192], FLOAT16)],
    )
    imported = import_trace(path)
    product, found = operators(imported)
    assert product == Matmul(
        name="Attention_y.qkv", m=6, n=192, k=64, dtype="fp16", weight_dtype="fp16", bias=True
    )
    assert isinstance(found, Attention)
    assert (found.batch, found.q_len, found.head_dim, found.causal) == (2, 3, 16, False)
    assert found.deps == ("Attention_y.qkv",)
    assert any("have a mask" in each for each in imported.lost)


# Norms that were taken apart


def taken_apart(*, layer: bool, cast: bool) -> list[bytes]:
    x = "wide" if cast else "x"
    nodes = [node("Cast", ["x"], ["wide"], to=1)] if cast else []
    if layer:
        nodes += [node("ReduceMean", [x], ["mean"], axes=(-1,)), node("Sub", [x, "mean"], ["c"])]
        x = "c"
    nodes += [
        node("Pow", [x, "two"], ["sq"]),
        node("ReduceMean", ["sq", "axes"], ["var"]),
        node("Add", ["var", "eps"], ["e"]),
        node("Sqrt", ["e"], ["root"]),
        *(
            [node("Div", [x, "root"], ["n"])]
            if layer
            else [node("Div", ["one", "root"], ["inv"]), node("Mul", [x, "inv"], ["n"])]
        ),
        *([node("Cast", ["n"], ["narrow"], to=10)] if cast else []),
        node("Mul", ["gamma", "narrow" if cast else "n"], ["g"]),
        *([node("Add", ["g", "beta"], ["h"])] if layer else []),
        node("Relu", ["h" if layer else "g"], ["y"]),
    ]
    return nodes


def test_one_number_and_a_cast_to_the_same_type_are_no_work(write: Write) -> None:
    nodes = [
        node("Sqrt", ["s"], ["root"]),
        node("Cast", ["x"], ["same"], to=10),
        node("Mul", ["same", "root"], ["y"]),
    ]
    inputs = [value_info("x", [2, 8], FLOAT16), value_info("s", [1], FLOAT16)]
    found = only(write(nodes, inputs=inputs))
    assert isinstance(found, Elementwise)
    assert (found.name, found.num_inputs, found.elements) == ("Mul_y", 1, 16)


@pytest.mark.parametrize("layer", [False, True])
@pytest.mark.parametrize("cast", [False, True])
def test_a_norm_that_was_taken_apart_is_one_again(write: Write, layer: bool, cast: bool) -> None:
    weights = [initializer(name, [8], FLOAT16) for name in ("gamma", "beta")]
    weights += [initializer(name, [1], FLOAT16) for name in ("two", "eps", "one")]
    path = write(
        taken_apart(layer=layer, cast=cast),
        inputs=[value_info("x", [2, 3, 8], FLOAT16)],
        outputs=[value_info("y", [2, 3, 8], FLOAT16)],
        weights=[*weights, initializer("axes", [1], INT64)],
    )
    norm, relu = operators(import_trace(path))
    style: Any = "layer" if layer else "rms"
    assert norm == Norm(name="ReduceMean_var", rows=6, width=8, style=style, dtype="fp16")
    assert relu.deps == ("ReduceMean_var",)


def test_a_norm_whose_inside_is_used_elsewhere_stays_apart(write: Write) -> None:
    nodes = [*taken_apart(layer=False, cast=False), node("Relu", ["sq"], ["also"])]
    path = write(
        nodes,
        inputs=[value_info("x", [2, 3, 8], FLOAT16)],
        outputs=[value_info("y", [2, 3, 8], FLOAT16), value_info("also", [2, 3, 8], FLOAT16)],
        weights=[
            *(initializer(name, [1], FLOAT16) for name in ("two", "eps", "one", "gamma")),
            initializer("axes", [1], INT64),
        ],
    )
    refused(path, "ReduceMean: 'ReduceMean_var'")


# What is not understood, or not there


def test_types_that_are_not_known_are_listed_with_their_nodes(write: Write) -> None:
    nodes = [
        node("Relu", ["x"], ["r"]),
        *(node("Einsum", ["r"], [f"e{i}"], name=f"/layer.{i}/ein") for i in range(5)),
        node("MyOp", ["e0"], ["m"], domain="my.domain"),
        node("Relu", ["m"], ["y"]),
    ]
    dims = [2, 8]
    path = write(
        nodes,
        inputs=[value_info("x", dims)],
        outputs=[value_info("y", dims)],
        values=[value_info("r", dims), value_info("m", dims)],
    )
    refused(path, "2 kinds of operators", "Einsum: '/layer.0/ein'", "and 2 more", "my.domain.MyOp")
    imported = import_trace(path, partial=True)
    assert imported.trace.meta["partial"] is True
    first, last = operators(imported)
    assert last.deps == (first.name,)  # through what was left out


def test_values_without_shapes_name_the_remedy(write: Write) -> None:
    weights = [initializer("w", [8, 4])]
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["z"], ["y"])]
    inputs = [value_info("x", [2, 8]), value_info("z", None)]
    path = write(nodes, inputs=inputs, weights=weights)
    refused(path, "nodes without shapes: Relu 'Relu_y': the shape of 'y' is not in the file",
            "onnx.shape_inference.infer_shapes")  # fmt: skip
    assert [op.name for op in operators(import_trace(path, partial=True))] == ["MatMul_h"]
    path = write(nodes[:1], inputs=[value_info("x", [None, 8])], weights=weights)
    refused(path, "the shape of 'x' is not in the file")


def test_shapes_that_do_not_fit_their_node(write: Write) -> None:
    made = node("Softmax", ["x"], ["y"], axis=7)
    path = write([made], inputs=[value_info("x", [2, 8])], outputs=[value_info("y", [2, 8])])
    refused(path, "Softmax with shapes that such a node cannot have: 'Softmax_y'")


def test_masks_and_counts_are_passed_over(write: Write) -> None:
    nodes = [
        node("Equal", ["ids", "pad"], ["mask"]),
        node("Constant", [], ["c"]),
        node("Reshape", ["x", "c"], ["flat"]),
        node("Relu", ["flat"], ["y"]),
    ]
    path = write(
        nodes,
        inputs=[value_info("ids", [4], INT64), value_info("x", [2, 2])],
        outputs=[value_info("y", [4])],
        values=[value_info("mask", [4], BOOL)],
        weights=[initializer("pad", [1], INT64)],
    )
    assert only(path).name == "Relu_y"
    lost = import_trace(path).lost
    assert any("2 nodes that say how values lie" in each for each in lost)
    assert any("1 nodes that count" in each for each in lost)


def test_a_value_that_nothing_makes(write: Write) -> None:
    path = write([node("Relu", ["ghost"], ["y"])], outputs=[value_info("y", [4])])
    refused(path, "byte ", "node 'Relu_y' (Relu) takes 'ghost', which no node before it makes")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "byte 0: empty file"),
        (b"\x08\x0a", "no graph with nodes: not an ONNX model, or truncated"),
        (b"\x08\x0a\x3a\x7f", "byte 4: field 7 has 127 bytes, but only 0 follow"),
        (b"PK\x03\x04", "not an ONNX model, or truncated"),
        (b"\x1f\x8b\x08nonsense", "damaged or truncated gzip file"),
    ],
)
def test_what_is_no_model_says_so(data: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    refused(path, problem)


def test_every_cut_is_noticed(write: Write) -> None:
    path = write(layer_nodes(), **layer_parts())
    whole = path.read_bytes()
    opset = len(whole) - 6  # behind the graph: the operator sets, of which nothing is read
    for length in range(0, opset, 23):
        path.write_bytes(whole[:length])
        refused(path, "byte", dims=DIMS)


def test_a_packed_model_and_a_missing_one(write: Write, tmp_path: Path) -> None:
    path = write(layer_nodes(), **layer_parts())
    trace = import_trace(path, dims=DIMS).trace
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert import_trace(path, dims=DIMS).trace == trace
    refused(tmp_path / "none.onnx", "cannot be read")


def test_a_model_of_the_onnx_package(tmp_path: Path) -> None:
    """Where the package is there: its own writer and shape inference."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="up"),
        helper.make_node("Relu", ["h"], ["r"], name="act"),
        helper.make_node("Gemm", ["r", "v"], ["y"], name="down", transB=1),
    ]
    kind = onnx.TensorProto.FLOAT16
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 4])],
        [helper.make_tensor_value_info("y", kind, None)],
        [
            helper.make_tensor("w", kind, [4, 6], [0.0] * 24),
            helper.make_tensor("v", kind, [5, 6], [0.0] * 30),
        ],
    )
    path = tmp_path / "model.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(helper.make_model(graph)), path)
    found = operators(import_trace(path, dims={"n": 3}))
    assert [op.name for op in found] == ["up", "act", "down"]
    assert [op.flops for op in found] == [2 * 3 * 4 * 6, 3 * 6, 2 * 3 * 6 * 5]
