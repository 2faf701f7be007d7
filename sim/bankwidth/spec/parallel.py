"""A machine of several equal devices: how a model is cut over them, and what joins them.

The engines and memories of the machine describe one device. A model's layers are cut into
`pipeline` stages of equal length, and each stage's work over the devices of `tensor`, `expert`,
`sequence` and `context`. A workload may say the same of itself (technique `parallel`).
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from bankwidth.spec.base import Bytes, BytesPerNs, Count, NsOrZero, PjPerBit, Relation, Spec, pick


class ParallelLinkSpec(Spec):
    """What joins the devices: each device has one such port, all reach all others through it."""

    bandwidth_bytes_per_ns: BytesPerNs = Field(description="of one device's port, one direction")
    latency_ns: NsOrZero = Field(description="from device to device and the acknowledgement back")
    energy_pj_per_bit: PjPerBit
    packet_bytes: Bytes | None = Field(
        default=None, description="what travels at a time; default: any number of bytes"
    )
    payload_bytes: Bytes | None = Field(default=None, description="of a packet; default: all of it")

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """A payload is part of a packet."""
        packet, payload = pick(data, "packet_bytes"), pick(data, "payload_bytes")
        if payload is not None and packet is None:
            yield ("payload",), "a payload needs the packet that it is part of: set packet"


class WaysSpec(Spec):
    """How equal devices share a model: bankwidth.operators.parallel says what each does."""

    pipeline: Count = Field(default=1, description="stages that the layers are cut into")
    tensor: Count = Field(default=1, description="devices that share each product of a stage")
    expert: Count = Field(
        default=1,
        description="devices that share the experts of a layer, whole ones each; more than tensor: "
        "groups of tensor devices with sequences of their own, tokens sent to experts and back",
    )
    sequence: bool = Field(
        default=False,
        description="norms and residual additions on a share of the tokens: reduce_scatter and "
        "all_gather in place of all_reduce",
    )
    context: Count = Field(
        default=1, description="devices that share each sequence's keys and values by tokens"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Groups of whole experts and groups of shared products nest."""
        tensor, expert = _count(data, "tensor"), _count(data, "expert")
        if max(tensor, expert) % min(tensor, expert):
            yield (
                ("expert",),
                f"{expert} devices share experts and {tensor} each product (tensor): one must be "
                f"a multiple of the other",
            )
        if pick(data, "sequence") is True and tensor == 1:
            yield ("sequence",), "norms are shared by the devices of tensor: set tensor above 1"

    @property
    def stage_devices(self) -> int:
        """Devices of one stage."""
        return max(self.tensor, self.expert) * self.context


def _count(data: object, name: str) -> int:
    """A count of a description, raw or built; 1 where it is absent or wrong (said elsewhere)."""
    value = pick(data, name)
    return value if isinstance(value, int) and value > 0 else 1


class ParallelSpec(WaysSpec):
    """`devices` equal devices as `pipeline` stages of `tensor` devices each.

    More stages than devices: several stages share a device, each on channels of its own.
    """

    devices: Count
    link: ParallelLinkSpec
    host_latency_ns: NsOrZero = Field(
        default=0.0, description="once per token, outside the devices: sampling"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Stages fit the devices, or share them."""
        yield from super().relations(data)
        devices, pipeline = _count(data, "devices"), _count(data, "pipeline")
        tensor = _count(data, "tensor")
        each = max(tensor, _count(data, "expert")) * _count(data, "context")
        if each > devices:
            field = "tensor" if tensor == each else "devices"
            yield (field,), f"{each} devices share a product, the machine has {devices}"
        elif each > 1 and pipeline * each > devices:
            yield (
                ("pipeline",),
                f"{pipeline} stages of {each} devices are {pipeline * each} devices, the "
                f"machine has {devices}; stages share a device only with tensor: 1",
            )

    @property
    def stages_per_device(self) -> int:
        """Stages that share a device; 1 where each has devices of its own."""
        return max(1, -(-self.pipeline * self.stage_devices // self.devices))

    @property
    def used_devices(self) -> int:
        """Devices that have a stage, or part of one."""
        return -(-self.pipeline // self.stages_per_device) * self.stage_devices

    def transfer_ns(self, *messages_bytes: float) -> float:
        """Time of one exchange: the messages through one device's port, one after the other."""
        sent = sum(self.sent_bytes(size) for size in messages_bytes)
        return self.link.latency_ns + sent / self.link.bandwidth_bytes_per_ns

    def sent_bytes(self, size_bytes: float) -> float:
        """Bytes on the wire for a message: whole packets."""
        link = self.link
        if link.packet_bytes is None:
            return size_bytes
        payload = link.payload_bytes or link.packet_bytes
        return -(-size_bytes // payload) * link.packet_bytes
