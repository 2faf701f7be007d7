"""Energy of one channel from its command counts and the time that passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bankwidth.spec.dram import CommandEnergySpec, CurrentEnergySpec, DramSpec

if TYPE_CHECKING:
    from bankwidth.devices.dram.config import DramConfig

BITS_PER_BYTE: Final = 8
READS: Final = ("RD", "RDA")
WRITES: Final = ("WR", "WRA")
ACTIVATES: Final = ("ACT", "ACT1")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnergies:
    """Energy of one command of a channel (all devices that answer it), and standing power."""

    activate_pj: float  # with its precharge
    read_pj: float
    write_pj: float
    refresh_pj: float  # all banks of one rank or pseudo-channel
    refresh_bank_pj: float
    io_pj: float  # one burst over the interface
    background_mw: float


def energies_of(spec: DramSpec) -> CommandEnergies:
    """Energies per command of one channel, whichever way they are given."""
    if isinstance(spec.energy, CommandEnergySpec):
        return _given(spec, spec.energy)
    return _from_currents(spec, spec.energy)


def _given(spec: DramSpec, energy: CommandEnergySpec) -> CommandEnergies:
    bits = spec.burst_bytes * BITS_PER_BYTE
    return CommandEnergies(
        activate_pj=energy.activate_pj,
        read_pj=energy.read_pj_per_bit * bits,
        write_pj=energy.write_pj_per_bit * bits,
        refresh_pj=energy.refresh_pj,
        refresh_bank_pj=energy.refresh_bank_pj,
        io_pj=energy.io_pj_per_bit * bits,
        background_mw=energy.background_mw,
    )


def _from_currents(spec: DramSpec, energy: CurrentEnergySpec) -> CommandEnergies:
    """The classic formula: what a command draws above standby, for as long as it lasts.

    mA times V times ns is pJ. Standby is counted with rows open (IDD3N), as an open-page controller
    leaves them; a per-bank refresh takes its share of an all-bank one.
    """
    timing, organisation = spec.timing, spec.organisation
    devices, tck_ns = organisation.devices_per_rank, timing.tck_ps / 1000
    power = devices * energy.vdd_v
    cycle_ma_ns = (
        energy.idd0_ma * timing.rc - energy.idd3n_ma * timing.ras - energy.idd2n_ma * timing.rp
    ) * tck_ns
    burst_ns = timing.burst_ck * tck_ns
    refresh_pj = power * (energy.idd5b_ma - energy.idd3n_ma) * timing.rfc * tck_ns
    return CommandEnergies(
        activate_pj=power * max(0.0, cycle_ma_ns),
        read_pj=power * (energy.idd4r_ma - energy.idd3n_ma) * burst_ns,
        write_pj=power * (energy.idd4w_ma - energy.idd3n_ma) * burst_ns,
        refresh_pj=refresh_pj,
        refresh_bank_pj=refresh_pj * organisation.ranks / organisation.num_banks,
        io_pj=energy.io_pj_per_bit * spec.burst_bytes * BITS_PER_BYTE,
        background_mw=power * energy.idd3n_ma * organisation.ranks,
    )


def energy_pj(counts: Mapping[str, int], elapsed_ns: float, config: DramConfig) -> dict[str, float]:
    """Energy of one channel by what causes it; `background` for the time that passed."""
    energies = config.energies

    def of(*names: str) -> int:
        return sum(counts.get(name, 0) for name in names)

    return {
        "activate": energies.activate_pj * of(*ACTIVATES),
        "read": energies.read_pj * of(*READS),
        "write": energies.write_pj * of(*WRITES),
        "refresh": energies.refresh_pj * of("REFab") + energies.refresh_bank_pj * of("REFpb"),
        "io": energies.io_pj * of(*READS, *WRITES),
        "background": energies.background_mw * elapsed_ns,
    }
