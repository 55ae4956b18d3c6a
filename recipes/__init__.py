"""How the shipped assets were made: photographs, training of the prior, fits, the card. Not part of the wheel."""
