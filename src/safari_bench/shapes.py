"""The shapes and symbols every other module speaks.

Shapes are types (jaxtyping) and are checked at run time under pytest only.

==========  =====================================================================
symbol      meaning
==========  =====================================================================
``x``       clean image, values in [-1, 1], (b, c, h, w)
``y``       measurement A x + n, (b, ...)
``x_t``     image noised to timestep t: sqrt(abar_t) x + sqrt(1 - abar_t) eps
``x0_hat``  E[x | x_t] as the prior estimates it
``eps_hat`` the noise the prior sees in x_t
``abar_t``  cumulative product of 1 - beta
``sigma_t`` sqrt((1 - abar_t) / abar_t)
``sigma_y`` standard deviation of the measurement noise on the [-1, 1] scale
``zeta``    guidance step size (DPS, SaFaRI)
``eta``     share of fresh noise in a DDIM step
==========  =====================================================================
"""

from typing import TypeAlias

from jaxtyping import Float, Shaped
from torch import Tensor

Image: TypeAlias = Float[Tensor, "b c h w"]
Measurement: TypeAlias = Shaped[Tensor, "b *m"]
Spectrum: TypeAlias = Shaped[Tensor, "b *s"]
PerImage: TypeAlias = Float[Tensor, "b"]
