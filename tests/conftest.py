"""Test modules may import the oracles that lie beside them."""

import sys
from pathlib import Path

import torch

for folder in ("operators", "samplers"):
    sys.path.insert(0, str(Path(__file__).parent / folder))

torch.set_num_threads(1)  # small tensors: a second thread costs more than it gives
