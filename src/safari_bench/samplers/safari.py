"""SaFaRI: spatial-and-frequency-aware restoration (Lee, Lee, Kang, arXiv 2401.17629).

No code by the authors is public.

x_s = DDPM_step(x_t) - zeta grad sqrt(L), L = ||psi(y) - psi(A x0_hat)||^2: the loop of DPS with a perceptual psi, so
that is what it is here. psi's parts and weights are in `safari_bench.fidelity`.

Deviations
- the readable part of the paper gives no weights, cutoff or step sizes: those here are chosen on tuning images by this
  project, and are not the paper's;
- with all weights 0 (an ablation point) this is unconditional ancestral sampling;
- those of DPS.
"""

from dataclasses import dataclass, field

from safari_bench.fidelity import Fidelity, Perceptual
from safari_bench.samplers.dps import DPS

__all__ = ["SaFaRI"]


@dataclass(frozen=True, kw_only=True)
class SaFaRI(DPS):
    """DPS judged by psi. Arguments are those of `DPS`; the fidelity comes from the guidance group."""

    fidelity: Fidelity = field(default_factory=lambda: Perceptual(spatial=1.0, low=1.0, high=1.0))
