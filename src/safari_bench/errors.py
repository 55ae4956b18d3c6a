"""Every exception of the suite, with the exit code of a command that ends with it. Imports nothing."""

__all__ = ["CellBusy", "ConfigError", "DataError", "LedgerError", "LoggerError", "NotFinite", "PriorError"]
__all__ += ["SafariBenchError", "TableError", "TooFew", "Unsupported", "WeightsError"]


class SafariBenchError(Exception):
    """The base of all. Its message says what, got, expected and remedy.

    Attributes:
        exit_code: 2: the command cannot be run as typed; 1: the work itself failed.
    """

    exit_code = 2


class ConfigError(SafariBenchError):
    """The configuration cannot be run, for a reason a person can mend."""


class DataError(SafariBenchError, ValueError):
    """Images, or the request for them, are not as they should be."""


class TooFew(DataError):
    """Some of the images asked for are there, but not all.

    Attributes:
        got: how many there are.
        wanted: how many were asked for.
    """

    def __init__(self, message: str, got: int, wanted: int) -> None:
        super().__init__(message)
        self.got, self.wanted = got, wanted


class PriorError(SafariBenchError):
    """A prior's files are missing, damaged, or not what was asked for."""


class WeightsError(SafariBenchError, ValueError):
    """A file of weights is not the published one, cannot be read, or cannot be fetched."""


class LoggerError(SafariBenchError):
    """A logger cannot do what was asked of it; said before anything is sampled."""


class TableError(SafariBenchError):
    """A run folder of which no table can be made."""


class LedgerError(SafariBenchError):
    """The files of a cell and what is asked of them do not agree, or they cannot be written."""

    exit_code = 1


class CellBusy(LedgerError):
    """Another live process works on this cell."""


class Unsupported(SafariBenchError):
    """This pair of method and task cannot work, for the reason given. Becomes a row, never a traceback."""


class NotFinite(SafariBenchError):
    """A sampler's iterate holds NaN or infinity.

    Attributes:
        images: places in the batch.
    """

    exit_code = 1

    def __init__(self, images: list[int], where: str) -> None:
        super().__init__(
            f"the sampler's image is not finite at {where}; a smaller step size or weight of the method usually helps "
            "(sampler.zeta of DPS, sampler.lr of DAPS and RED-diff), or sampler.clip=true where it has that"
        )
        self.images = images
