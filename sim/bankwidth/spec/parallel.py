"""A machine of several equal devices: how a model is cut over them, and what joins them.

The engines and memories of the machine describe one device. A model's layers are cut into
`pipeline` stages of equal length, and each stage's products over `tensor` devices.
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


class ParallelSpec(Spec):
    """`devices` equal devices as `pipeline` stages of `tensor` devices each.

    More stages than devices: several stages share a device, each on channels of its own.
    """

    devices: Count
    pipeline: Count = Field(default=1, description="stages that the layers are cut into")
    tensor: Count = Field(default=1, description="devices that share each product of a stage")
    link: ParallelLinkSpec
    host_latency_ns: NsOrZero = Field(
        default=0.0, description="once per token, outside the devices: sampling"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Stages fit the devices, or share them."""
        devices, pipeline, tensor = (
            value if isinstance(value, int) else 1
            for value in (pick(data, name) for name in ("devices", "pipeline", "tensor"))
        )
        if tensor > devices:
            yield ("tensor",), f"{tensor} devices share a product, the machine has {devices}"
        elif tensor > 1 and pipeline * tensor > devices:
            yield (
                ("pipeline",),
                f"{pipeline} stages of {tensor} devices are {pipeline * tensor} devices, the "
                f"machine has {devices}; stages share a device only with tensor: 1",
            )

    @property
    def stages_per_device(self) -> int:
        """Stages that share a device; 1 where each has devices of its own."""
        return max(1, -(-self.pipeline * self.tensor // self.devices))

    @property
    def used_devices(self) -> int:
        """Devices that have a stage, or part of one."""
        return -(-self.pipeline // self.stages_per_device) * self.tensor

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
