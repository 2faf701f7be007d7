from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bankwidth.errors import OutputError, TraceError
from bankwidth.operators import Collective, Elementwise, Fetch, Matmul, Trace, Workload, make_trace
from bankwidth.operators.formats import Imported, import_trace, recognised_format
from bankwidth.operators.formats.base import Head
from bankwidth.operators.formats.chakra import CHAKRA, read_chakra, write_chakra
from bankwidth.operators.formats.chakra_schema import (
    COMM_COLL,
    COMM_RECV,
    COMM_SEND,
    COMP,
    MEM_LOAD,
    MEM_STORE,
    METADATA,
    IoInfo,
    Value,
    attribute,
    attributes_bytes,
    io_bytes,
    metadata_bytes,
    node_bytes,
    read_metadata,
    read_node,
)
from bankwidth.operators.formats.protobuf_wire import (
    bytes_field,
    delimited,
    double_field,
    fields,
    float_field,
    integer_field,
    packed_field,
    read_messages,
    text_field,
)

# GlobalMetadata{version "0.0.4"} and a METADATA node with every kind of attribute, as value and as
# list of it twice: what chakra's generator writes, made with Google's protobuf 7.36.2.
EVERY_KIND = bytes.fromhex(
    "070a05302e302e34ef05120d4d455441444154415f4e4f4445180152110a06646f75626c65198d976e1283c0f3"
    "3f52210a0b646f75626c655f6c69737422120a108d976e1283c0f33f8d976e1283c0f33f520c0a05666c6f6174"
    "2d0000a03f52180a0a666c6f61745f6c697374320a0a080000a03f0000a03f52120a05696e74333238c79fffff"
    "ffffffffff0152240a0a696e7433325f6c69737442160a14c79fffffffffffffff01c79fffffffffffffff0152"
    "120a05696e7436344896d2bf9adbffffffff0152240a0a696e7436345f6c69737452160a1496d2bf9adbffffff"
    "ff0196d2bf9adbffffffff01520b0a0675696e74333258b96052150a0b75696e7433325f6c69737462060a04b9"
    "60b96052130a0675696e74363468ffffffffffffffffff0152250a0b75696e7436345f6c69737472160a14ffff"
    "ffffffffffffff01ffffffffffffffffff01520c0a0673696e74333278f1c00152180a0b73696e7433325f6c69"
    "73748201080a06f1c001f1c001520f0a0673696e7436348801d3db80cb49521c0a0b73696e7436345f6c697374"
    "92010c0a0ad3db80cb49d3db80cb49520f0a07666978656433329d0139300000521b0a0c666978656433325f6c"
    "697374a2010a0a08393000003930000052130a0766697865643634a901ea16b04c0200000052230a0c66697865"
    "6436345f6c697374b201120a10ea16b04c02000000ea16b04c0200000052100a087366697865643332bd01c7cf"
    "ffff521c0a0d73666978656433325f6c697374c2010a0a08c7cfffffc7cfffff52140a087366697865643634c9"
    "0116e94fb3fdffffff52240a0d73666978656436345f6c697374d201120a1016e94fb3fdffffff16e94fb3fdff"
    "ffff52090a04626f6f6cd8010152120a09626f6f6c5f6c697374e201040a02010152100a06737472696e67ea01"
    "053132333435521e0a0b737472696e675f6c697374f2010e0a0531323334350a053132333435520f0a05627974"
    "6573fa01053132333435521d0a0a62797465735f6c69737482020e0a0531323334350a053132333435"
)
VERSION = metadata_bytes("0.0.4", [])


def node(
    node_id: int,
    name: str = "n",
    node_type: int = COMP,
    deps: tuple[int, ...] = (),
    *,
    ctrl: tuple[int, ...] = (),
    us: int = 0,
    shapes: str = "",
    types: str = "",
    **attributes: Any,
) -> bytes:
    """A node as other tools write it; an attribute is (kind, value)."""
    kinds = [attribute(key, value, kind) for key, (kind, value) in attributes.items()]
    rest = packed_field(4, ctrl) + io_bytes(8, IoInfo("", shapes, types))
    return node_bytes(node_id, name, node_type, deps, us, rest + attributes_bytes(10, kinds))


KERNEL: dict[str, Any] = {"is_cpu_op": ("bool", False)}


def all_reduce(node_id: int, deps: tuple[int, ...] = (), size: int = 64) -> bytes:
    return node(
        node_id, "ALL_REDUCE", COMM_COLL, deps,
        **KERNEL, comm_type=("int64", 0), comm_size=("uint64", size),
    )  # fmt: skip


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def file(*messages: bytes, first: bytes = VERSION, name: str = "rank.0.et") -> Path:
        path = tmp_path / name
        path.write_bytes(b"".join(map(delimited, (first, *messages))))
        return path

    return file


def refused(path: Path, *parts: str, **options: Any) -> None:
    with pytest.raises(TraceError) as error:
        import_trace(path, format="chakra", **options)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    for part in parts:
        assert part in message


def names(imported: Imported) -> list[str]:
    return [operator.name for operator in imported.trace.operators()]


# The codec


def test_every_kind_of_attribute_is_read() -> None:
    assert read_metadata(fields(EVERY_KIND[1:8])) == ("0.0.4", {})  # behind its length
    attributes = read_node(fields(EVERY_KIND[10:]), 0).attributes
    assert len(attributes) == 30
    values: dict[str, Value] = {
        "double": 1.2345, "float": 1.25, "int32": -12345, "int64": -9876543210, "uint32": 12345,
        "uint64": 2**64 - 1, "sint32": -12345, "sint64": -9876543210, "fixed32": 12345,
        "fixed64": 9876543210, "sfixed32": -12345, "sfixed64": -9876543210, "bool": True,
        "string": "12345", "bytes": b"12345",
    }  # fmt: skip
    for kind, value in values.items():
        assert attributes[kind] == value
        assert attributes[f"{kind}_list"] == (value, value)
        assert type(attributes[kind]) is type(value)


def test_lists_may_lie_unpacked_and_unknown_fields_are_skipped() -> None:
    unpacked = bytes_field(10, integer_field(1, 5) + integer_field(1, 6))
    extra = bytes_field(10, text_field(1, "ids") + unpacked)
    later = bytes_field(11, b"\x08\x02") + double_field(99, 1.5) + float_field(98, 1.5)
    data = integer_field(1, 7) + integer_field(5, 3) + integer_field(5, 4) + extra + later
    found = read_node(fields(data), 0)
    assert (found.id, found.data_deps, found.attributes) == (7, [3, 4], {"ids": (5, 6)})


def test_global_metadata_of_the_first_schema_has_its_attributes_in_field_one(write: Write) -> None:
    first = attributes_bytes(1, [attribute("schema", "1.0.2-chakra.0.0.4")])
    assert read_metadata(fields(first)) == ("", {"schema": "1.0.2-chakra.0.0.4"})
    assert names(import_trace(write(all_reduce(0), first=first), ranks=4)) == ["ALL_REDUCE"]


def test_a_node_is_what_astra_sims_feeder_reads(tiny_llama: Workload, tmp_path: Path) -> None:
    trace = make_trace(tiny_llama, context=8)
    write_chakra(trace, tmp_path / "t.et", durations_ps=range(0, 10**7 * trace.num_steps, 10**7))
    nodes = [read_node(fields(m.data), 0) for m in list(read_messages(tmp_path / "t.et"))[1:]]
    steps = list(trace.expand())
    assert [each.id for each in nodes] == list(range(len(steps)))
    for number, (found, step) in enumerate(zip(nodes, steps, strict=True)):
        assert found.attributes["is_cpu_op"] is False
        assert found.attributes["num_ops"] == step.operator.flops
        moved = step.operator.read_bytes + step.operator.write_bytes
        assert found.attributes["tensor_size"] == moved
        assert found.data_deps == list(step.deps)
        assert (found.duration_micros, found.attributes["duration_ps"]) == (
            10 * number, number * 10**7,
        )  # fmt: skip
    kinds = {step.operator.kind: found.type for found, step in zip(nodes, steps, strict=True)}
    assert (kinds["matmul"], kinds["embedding"], kinds["kv_append"]) == (COMP, MEM_LOAD, MEM_STORE)


# AttributeProto.value: what et_feeder_node.cpp calls on each attribute that it knows
FEEDER = {"is_cpu_op": 27, "num_ops": 9, "tensor_size": 13, "comm_type": 9, "comm_size": 9}


def test_attributes_lie_in_the_value_fields_that_the_feeder_reads(
    tiny_trace: Trace, tmp_path: Path
) -> None:
    call = Collective(name="c", function="all_gather", size_bytes=8, ways=2)
    block = replace(tiny_trace.blocks[0], operators=(*tiny_trace.blocks[0].operators, call))
    write_chakra(replace(tiny_trace, blocks=(block,)), tmp_path / "t.et")
    found: dict[str, int] = {}
    for message in list(read_messages(tmp_path / "t.et"))[1:]:
        for part in fields(message.data):
            if part.number == 10:
                name, *values = part.fields()
                found.update((name.text(), value.number) for value in values)
    assert {name: found[name] for name in FEEDER} == FEEDER


def test_collectives_have_the_schemas_numbers(tiny_trace: Trace, tmp_path: Path) -> None:
    functions = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv")
    ops = [Collective(name=f, function=f, size_bytes=96, ways=4) for f in functions]  # type: ignore[arg-type]
    lost = write_chakra(with_operators(tiny_trace, *ops), tmp_path / "t.et")
    nodes = [read_node(fields(m.data), 0) for m in list(read_messages(tmp_path / "t.et"))[1:]]
    assert [each.attributes.get("comm_type") for each in nodes] == [0, 2, 7, 6, None]
    assert {each.attributes["comm_size"] for each in nodes} == {96}
    assert [each.type for each in nodes] == [COMM_COLL] * 4 + [COMM_SEND]
    assert any("COMM_SEND" in sentence for sentence in lost)


@pytest.fixture
def tiny_trace(tiny_llama: Workload) -> Trace:
    return make_trace(tiny_llama, context=8)


def with_operators(trace: Trace, *operators: Collective) -> Trace:
    block = replace(trace.blocks[0], operators=operators)
    return replace(trace, blocks=(block,))


# Writing


def test_what_cannot_be_written_is_said(tiny_trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="3 durations for"):
        write_chakra(tiny_trace, tmp_path / "t.et", durations_ps=[1, 2, 3])
    with pytest.raises(OutputError, match="cannot be written"):
        write_chakra(tiny_trace, tmp_path / "no" / "t.et")
    huge = Collective(name="c", function="all_reduce", size_bytes=2**63, ways=2)
    with pytest.raises(TraceError, match="64 bits"):
        write_chakra(with_operators(tiny_trace, huge), tmp_path / "t.et")


def test_a_trace_of_very_many_steps_is_not_unrolled(tiny_trace: Trace, tmp_path: Path) -> None:
    block = replace(tiny_trace.blocks[0], repeat=10**9)
    with pytest.raises(TraceError, match="the native format keeps repeats"):
        write_chakra(replace(tiny_trace, blocks=(block,)), tmp_path / "t.et")
    assert not (tmp_path / "t.et").exists()


# Files that Bankwidth wrote and somebody changed


def test_a_changed_file_is_one_block_and_says_so(tiny_trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "t.et"
    write_chakra(tiny_trace, path)
    messages = [message.data for message in read_messages(path)]
    messages[-1] += packed_field(5, [0])  # the last one waits for the first, too
    path.write_bytes(b"".join(map(delimited, messages)))
    imported = import_trace(path)
    assert "changed" in imported.lost[0]
    assert len(imported.trace.blocks) == 1
    assert imported.trace.num_steps == tiny_trace.num_steps
    assert imported.trace.flops == tiny_trace.flops
    assert imported.trace.blocks[0].operators[-1].deps[-1] == "embed"


def test_our_nodes_are_understood_without_our_header(tiny_trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "t.et"
    write_chakra(tiny_trace, path)
    messages = [VERSION, *(message.data for message in list(read_messages(path))[1:])]
    path.write_bytes(b"".join(map(delimited, messages)))
    imported = import_trace(path)
    assert imported.trace.flops == tiny_trace.flops
    assert imported.trace.read_bytes == tiny_trace.read_bytes
    assert imported.trace.kv_bytes == tiny_trace.kv_bytes


def test_a_header_of_another_release_is_refused(write: Write) -> None:
    header = [attribute("bw_format", "bankwidth-trace"), attribute("bw_version", 9)]
    own: dict[str, Any] = dict(
        bw_kind=("string", "softmax"), bw_rows=("int64", 1), bw_width=("int64", 1),
        bw_dtype=("string", "bf16"), bw_block=("string", "b"), bw_block_index=("int64", 0),
        bw_iteration=("int64", 0),
    )  # fmt: skip
    path = write(node(0, **own), first=metadata_bytes("", header))
    refused(path, "GlobalMetadata", "version 9 cannot be read")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bw_kind": ("string", "gem")}, "unknown kind 'gem'"),
        ({"bw_rows": ("string", "x")}, "rows must be a whole number"),
        ({"bw_width": ("int64", 0)}, "width must be at least 1"),
        ({"bw_block_index": ("string", "x")}, "its place in the trace"),
        ({"bw_more": ("int64", 1)}, "unknown key 'more'"),
    ],
)
def test_bad_fields_of_ours_name_the_node(
    write: Write, change: dict[str, Any], problem: str
) -> None:
    own: dict[str, Any] = {
        "bw_kind": ("string", "softmax"), "bw_rows": ("int64", 1), "bw_width": ("int64", 1),
        "bw_dtype": ("string", "bf16"), "bw_block": ("string", "b"), "bw_block_index": ("int64", 0),
        "bw_iteration": ("int64", 0),
    }  # fmt: skip
    refused(write(node(5, "soft", **(own | change))), "byte 10: node 5 'soft'", problem)


# Graphs


def test_nodes_are_put_in_an_order_that_can_run(write: Write) -> None:
    path = write(all_reduce(2, (0,), size=3), all_reduce(0, size=1), all_reduce(1, (2,), size=2))
    trace = import_trace(path, ranks=2).trace
    sizes = [op.size_bytes for op in trace.operators() if isinstance(op, Collective)]
    assert sizes == [1, 3, 2]
    assert [op.deps for op in trace.blocks[0].operators] == [
        (), ("ALL_REDUCE",), ("ALL_REDUCE.1",)
    ]  # fmt: skip


def test_a_cycle_names_its_nodes(write: Write) -> None:
    path = write(all_reduce(7), all_reduce(1, (7, 3)), all_reduce(2, (1,)), all_reduce(3, (2,)))
    refused(path, "node 1 'ALL_REDUCE': it waits for itself", "3", "2", ranks=2)
    refused(write(all_reduce(4, (4,))), "it waits for itself: 4 <- 4", ranks=2)


def test_a_missing_parent_and_an_id_given_twice(write: Write) -> None:
    refused(write(all_reduce(0), all_reduce(1, (9,))), "waits for node 9, which is not", "node 1")
    refused(write(all_reduce(3), all_reduce(3)), "node 3 'ALL_REDUCE': its id is that of", "byte 9")


def test_a_long_chain_needs_no_recursion(write: Write) -> None:
    count = 3000
    nodes = [all_reduce(0), *(all_reduce(i, (i - 1,)) for i in range(1, count))]
    assert import_trace(write(*reversed(nodes)), ranks=2).trace.num_steps == count


# Nodes of other tools


def test_generated_graphs_are_read_as_far_as_they_say(write: Write) -> None:
    comp: dict[str, Any] = dict(**KERNEL, num_ops=("int64", 2048), tensor_size=("uint64", 4096))
    path = write(
        node(0, "load", MEM_LOAD, tensor_size=("uint64", 1024)),
        node(1, "mlp.w1", COMP, (0,), **comp),
        all_reduce(2, (1,)),
        node(3, "send", COMM_SEND, (2,), comm_size=("int64", 8)),
        node(4, "recv", COMM_RECV, (3,), comm_size=("int64", 8)),
        node(5, "store", MEM_STORE, (4,), tensor_size=("uint64", 1024)),
        node(6, "notes", METADATA),
    )
    refused(path, "COMP 'mlp.w1': no shapes (1)", "MEM_STORE 'store' (1)", "--partial", ranks=8)
    imported = import_trace(path, ranks=8, partial=True)
    assert imported.trace.meta["partial"] is True
    assert "mlp.w1" in str(imported.trace.meta["left_out"])
    assert imported.trace.blocks[0].operators == (
        Fetch(name="load", size_bytes=1024, what="tensor"),
        Collective(
            name="ALL_REDUCE", function="all_reduce", size_bytes=64, ways=8, deps=("load",)
        ),  # through the node that was left out
        Collective(name="send", function="send_recv", size_bytes=8, ways=2, deps=("ALL_REDUCE",)),
        Collective(name="recv", function="send_recv", size_bytes=8, ways=2, deps=("send",)),
    )
    assert "1 nodes without work" in imported.lost[-1]


# As chakra_converter writes a recording of PyTorch: host operators, who called whom, kernels.
LINEAR_SHAPES = "[[8], [4, 16], [16, 8], [], []]"
LINEAR_TYPES = (
    "['Tensor(c10::BFloat16)', 'Tensor(c10::BFloat16)', 'Tensor(c10::BFloat16)', 'Int', 'Int']"
)


def recording(*, kernels: bool) -> list[bytes]:
    host: dict[str, Any] = {"is_cpu_op": ("bool", True)}
    nodes = [
        node(1, "[pytorch|profiler|execution_trace|thread]", COMP, **host),
        node(2, "aten::linear", COMP, ctrl=(1,), **host),  # without shapes: who is in it counts
        node(3, "aten::t", COMP, (2,), ctrl=(2,), shapes="[[8, 16]]", types="['Tensor(float)']"),
        node(
            4, "aten::addmm", COMP, (3,), ctrl=(2,), us=7, shapes=LINEAR_SHAPES,
            types=LINEAR_TYPES, **host,
        ),
        node(
            6, "aten::cat", COMP, (4,), ctrl=(1,), us=3, shapes="[[[4, 8], [2, 8]], []]",
            types="['GenericList[Tensor(c10::Half),Tensor(c10::Half)]', 'Int']", **host,
        ),
    ]  # fmt: skip
    if not kernels:
        return nodes
    nodes.insert(4, node(5, "sm90_gemm", COMP, (4,), ctrl=(4,), us=11, **KERNEL))
    return [*nodes, node(7, "CatArrayBatchedCopy", COMP, (6, 5), ctrl=(6,), us=2, **KERNEL)]


@pytest.mark.parametrize("kernels", [False, True])
def test_a_recording_of_pytorch(write: Write, kernels: bool) -> None:
    imported = import_trace(write(*recording(kernels=kernels)))
    addmm, cat = imported.trace.blocks[0].operators
    assert addmm == Matmul(
        name="aten::addmm", m=4, n=8, k=16, dtype="bf16", weight_dtype="bf16", bias=True
    )
    assert isinstance(cat, Elementwise)
    assert (cat.function, cat.elements, cat.dtype) == ("copy", 48, "fp16")
    assert cat.deps == ("aten::addmm",)
    assert [each.operator for each in imported.measured] == [
        "all[0].aten::addmm",
        "all[0].aten::cat",
    ]
    times = [(each.measured_ns, each.kernels) for each in imported.measured]
    if kernels:
        assert times == [(11000.0, ("sm90_gemm",)), (2000.0, ("CatArrayBatchedCopy",))]
    else:
        assert times == [(7000.0, ()), (3000.0, ())]


def test_work_of_the_host_is_not_work_of_the_device(write: Write) -> None:
    """With kernels in the file, an operator that launched none ran on the host."""
    other = node(9, "aten::addmm", COMP, (7,), ctrl=(1,), shapes=LINEAR_SHAPES, types=LINEAR_TYPES)
    trace = import_trace(write(*recording(kernels=True), other)).trace
    assert [op.name for op in trace.operators()] == ["aten::addmm", "aten::cat"]


def test_a_kernel_that_no_operator_launched_is_not_understood(write: Write) -> None:
    alone = node(8, "my_kernel<float>", COMP, (7,), ctrl=(1,), **KERNEL)
    refused(write(*recording(kernels=True), alone), "COMP 'my_kernel<float>': no shapes (1)")


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        ("[[8], [4, 16], [15, 8], [], []]", "no operator for [[8], [4, 16], [15, 8], [], []]"),
        ("[[8], [4, ", "shapes or types that cannot be read"),
        ("7", "shapes or types that cannot be read"),
    ],
)
def test_shapes_that_do_not_fit(write: Write, shapes: str, problem: str) -> None:
    refused(write(node(0, "aten::addmm", shapes=shapes, types=LINEAR_TYPES)), problem)


def test_how_many_take_part_must_be_given(write: Write) -> None:
    refused(write(all_reduce(0)), "node 0", "how many take part in ALL_REDUCE: give ranks=N")
    refused(write(all_reduce(0)), "ranks must be at least 1", ranks=0)


def test_collectives_without_an_operator_are_not_understood(write: Write) -> None:
    def coll(number: int) -> bytes:
        size: tuple[str, Value] = ("int64", 64)
        return node(0, "c", COMM_COLL, comm_type=("int64", number), comm_size=size)

    refused(write(coll(5)), "COMM_COLL BROADCAST", ranks=2)
    refused(write(coll(77)), "COMM_COLL comm_type 77", ranks=2)


def test_attributes_that_are_missing_or_wrong_name_the_node(write: Write) -> None:
    refused(write(node(3, "c", COMM_COLL)), "node 3 'c': attribute comm_size is missing", ranks=2)
    wrong = node(3, "l", MEM_LOAD, tensor_size=("string", "much"))
    refused(write(wrong), "attribute tensor_size is 'much'")


def test_a_file_without_anything_understood_is_refused_even_in_part(write: Write) -> None:
    refused(
        write(node(0, "w", num_ops=("int64", 1))), "none of 1 nodes is understood", partial=True
    )
    refused(write(), "no nodes after the GlobalMetadata")


# Files that are damaged, or something else


def test_every_cut_is_noticed(tiny_trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "t.et"
    write_chakra(tiny_trace, path)
    whole = path.read_bytes()
    ends = {message.offset + len(message.data) for message in read_messages(path)}
    for length in range(0, len(whole), 37):
        if length in ends:
            continue
        path.write_bytes(whole[:length])
        refused(path, "byte")
    for end in sorted(ends)[1:-1]:  # between two nodes
        path.write_bytes(whole[:end])
        refused(path, "nodes were written", "truncated")


def test_damaged_gzip(tiny_trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "t.et.gz"
    write_chakra(tiny_trace, path)
    path.write_bytes(path.read_bytes()[:-20])
    refused(path, "truncated gzip file")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "byte 0: empty file"),
        (b'{"schemaVersion": 1}\n', "byte 1: "),
        (b"\x02\x08\x01", "no GlobalMetadata: not a Chakra trace?"),
        (b"\xff" * 12, "byte 0: a number of more than 10 bytes"),
        (b"\x00\x80", "byte 1: a number is cut off: truncated?"),
        (b"\x00" + delimited(text_field(1, "x")), "field 1 should be varint"),
        (b"\x00" + delimited(integer_field(2, 5)), "field 2 should be length-delimited"),
        (b"\x00" + delimited(bytes_field(2, b"\xff")), "field 2 is not text"),
        (b"\x00" + delimited(b"\x0b"), "no field starts here (number 1, type 3)"),
        (b"\x00" + delimited(b"\x12\x7f"), "field 2 has 127 bytes, but only 0 follow"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f", "no length of a message"),
    ],
)
def test_what_is_no_chakra_file_says_where(data: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "t.et"
    path.write_bytes(data)
    refused(path, problem)


def test_a_schema_before_global_metadata_is_named(write: Write) -> None:
    old = bytes_field(10, text_field(1, "comm_type") + integer_field(2, 2))
    path = write(integer_field(1, 1) + old)
    refused(path, "older than GlobalMetadata", "in the node at byte 9")


def test_the_format_is_recognised_by_its_first_message(write: Write, tmp_path: Path) -> None:
    path = write(all_reduce(0), name="anything")
    assert recognised_format(path).name == "chakra"
    empty = write(all_reduce(0), first=b"", name="empty.et")
    assert recognised_format(empty).name == "chakra"
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert recognised_format(packed).name == "chakra"
    assert not CHAKRA.recognises(Head(tmp_path / "a.csv", b"operator,m,n,k\ngemm,1,2,3\n"))
    assert not CHAKRA.recognises(Head(tmp_path / "a.onnx", b"\x08\x0a\x12\x07pytorch"))
    assert read_chakra(path, ranks=2).trace.num_steps == 1
