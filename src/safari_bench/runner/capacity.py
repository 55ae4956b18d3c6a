"""How many images fit into memory at once: chosen beforehand, and corrected when it turns out to be too many.

Rows do not depend on how images are grouped, so a batch that does not fit is done in halves and nothing is lost.
"""

import torch

from safari_bench.machine import PeakMemory, free_mib
from safari_bench.runner.job import Job

__all__ = ["Capacity", "fitting", "out_of_memory", "warm_up"]

#: share of the free memory that a batch may take: a method holds a few images more than a call of its prior does, and
#: on a CPU other processes want memory too.
_SHARE = {"cuda": 0.8, "cpu": 0.5}
#: what torch says where memory runs out in other words than its own allocator's: the driver, a library of the GPU
#: (CUBLAS_STATUS_ALLOC_FAILED, CUDNN_..., CUFFT_...), the allocator for the CPU on Linux and on Windows
_LACKS = ("out of memory", "_ALLOC_FAILED", "can't allocate memory", "not enough memory")
_MOST = 64  # images; chosen here: from there on a GPU gains nothing


class Capacity:
    """Images that are restored at once; shrinks when memory runs out.

    Args:
        images: to begin with.
    """

    def __init__(self, images: int) -> None:
        self.images = images

    def shrink(self, tried: int) -> None:
        """Note that `tried` images did not fit."""
        self.images = max(1, min(self.images, tried // 2))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or in the process."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _LACKS)


def warm_up(job: Job, images: int) -> None:
    """One call and one backward pass, so that plans and kernels made on first use are in nobody's seconds."""
    x_t = torch.zeros(images, *job.dataset.image_shape, device=job.device, dtype=job.dtype, requires_grad=True)
    job.denoiser.predict(x_t, 0).x0_hat.sum().backward()  # type: ignore[no-untyped-call]


def fitting(job: Job) -> int:
    """How many images one call of the prior with its backward pass has room for, from the memory of one and of two."""
    if job.batch_size:
        return job.batch_size
    peaks = []
    try:
        for images in (1, 2):
            warm_up(job, images)  # what stays after first use is not the batch's
            memory = PeakMemory(job.device)
            warm_up(job, images)
            peaks.append(memory.mib())
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return 1
    each = max(peaks[1] - peaks[0], 1.0)
    room = _SHARE.get(job.device.type, 0.5) * free_mib(job.device)
    return max(1, min(_MOST, int(room / each)))
