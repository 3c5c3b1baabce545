"""What simulated readers are like: the settings of `simulating`, apart so that reading them costs no import."""

from __future__ import annotations

from dataclasses import dataclass

from xrarchive.errors import SettingsError


@dataclass(frozen=True)
class ReaderModel:
    """Readers to simulate.

    Attributes:
        sensitivity: d', how far apart real and synthetic films look, in units of the noise; 0 = readers guess.
        bias: Criterion: above 0 readers call films real more readily.
        reader_sd: Spread of the sensitivity among readers.
        bias_sd: Spread of the criterion among readers.
        case_sd: Spread of how synthetic films of a kind look to everybody.
        seen: Chance to tick a finding that a film was asked for or is labelled with.
        imagined: Chance to tick any other.
    """

    sensitivity: float = 1.0
    bias: float = 0.0
    reader_sd: float = 0.2
    bias_sd: float = 0.2
    case_sd: float = 0.5
    seen: float = 0.7
    imagined: float = 0.08

    def __post_init__(self) -> None:
        for name in ("reader_sd", "bias_sd", "case_sd"):
            if not 0 <= getattr(self, name) < 100:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected 0 or more.", fix="Correct the value.")
        for name in ("seen", "imagined"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected 0 to 1.", fix="Correct the value.")
        if not (abs(self.sensitivity) < 100 and abs(self.bias) < 100):
            raise SettingsError("sensitivity and bias must be numbers below 100.", fix="Correct the value.")
