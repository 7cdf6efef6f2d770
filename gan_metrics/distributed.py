"""Several processes (ranks) that work together: gathering, sharing work, and shared errors."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from gan_metrics.errors import GanMetricsError, ResourceError, failed_device

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["ALONE", "Comm", "is_shared", "joined", "world"]

T = TypeVar("T")

_BLOCK = 32 << 20
"""Bytes per message."""


@dataclass(frozen=True)
class Comm:
    """This process in a group of processes.

    All ranks call the same methods in the same order (except :meth:`owns`). Messages go from host
    to host with Gloo, whatever backend the training uses, because the features are on the host.

    Attributes:
        rank: The number of this process, 0 … size − 1.
        size: The number of processes; 1: no others.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this rank prints and writes files."""
        return self.rank == 0

    def owns(self, item: int) -> bool:
        """Whether this rank computes a numbered task, such as a chunk of images."""
        return item % self.size == self.rank

    def share(self, n: int) -> range:
        """Return this rank's part of ``n`` consecutive tasks.

        >>> [list(Comm(rank, 3).share(5)) for rank in range(3)]
        [[0, 1], [2, 3], [4]]
        """
        ends = (-(-n * rank // self.size) for rank in (self.rank, self.rank + 1))
        return range(*ends)

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in their order, on every rank; values are pickled.

        Raises:
            GanMetricsError: The error of a rank that left :meth:`fail_together` with an error.
            ResourceError: If a rank has ended.
        """
        if self.size == 1:
            return [value]
        return [message.value for message in self._exchange(_Message(value))]

    def gather_rows(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the rows of all ranks, in their order, on every rank, sent in blocks.

        Args:
            rows: ``n × …``; n may differ between ranks and be 0, with any other axes then.

        Raises:
            GanMetricsError: As for :meth:`gather`.
        """
        if self.size == 1:
            return rows
        import numpy as np
        import torch
        import torch.distributed as dist

        forms = self.gather((rows.shape, rows.dtype.str))
        counts = [shape[0] for shape, _ in forms]
        if not sum(counts):
            return rows
        shape, dtype = next(form for form in forms if form[0][0])
        found = np.empty((sum(counts), *shape[1:]), dtype)
        start = sum(counts[: self.rank])
        found[start : start + len(rows)] = rows if len(rows) else found[start:start]
        step = max(1, _BLOCK // max(found[:1].nbytes, 1))
        group = _host_group()
        at = 0
        for rank, count in enumerate(counts):
            for first in range(at, at + count, step):
                block = torch.from_numpy(found[first : min(first + step, at + count)])
                with _lost_ranks_as_errors():
                    dist.broadcast(block, src=rank, group=group)
            at += count
        return found

    @contextlib.contextmanager
    def fail_together(self) -> Iterator[None]:
        """Run a block that ends the same way on all ranks: if one fails, all raise its error.

        A rank that fails sends its error instead of the value that the others wait for.

        Raises:
            GanMetricsError: The error of the first rank that failed, with its number.
        """
        try:
            yield
        except Exception as error:
            if self.size > 1 and not is_shared(error) and not isinstance(error, _GoneError):
                self._send_error(error)
            raise
        self.gather(None)

    def _send_error(self, error: Exception) -> None:
        """Send the other ranks the error of this one."""
        kind: type[Exception] = type(error)
        why = str(error)
        if lost := failed_device(error):
            kind, why = ResourceError, str(lost)
        elif not isinstance(error, GanMetricsError):
            out = isinstance(error, MemoryError | OSError) or kind.__name__ == "OutOfMemoryError"
            kind, why = ResourceError if out else RuntimeError, f"{kind.__name__}: {error}"
        message = _Message(None, kind, why)
        with contextlib.suppress(GanMetricsError, RuntimeError):
            self._exchange(message)
        _mark(error)

    def _exchange(self, own: _Message) -> list[_Message]:
        import torch.distributed as dist

        everyone: list[Any] = [None] * self.size
        group = _host_group()
        with _lost_ranks_as_errors():
            dist.all_gather_object(everyone, own, group=group)
        for rank, message in enumerate(everyone):
            if message.failed is not None:
                error = message.failed(f"rank {rank}: {message.why}")
                _mark(error)
                raise error
        return everyone


@dataclass(frozen=True)
class _Message:
    """A message to the other ranks: a value, or the class and text of an error."""

    value: Any
    failed: type[Exception] | None = None
    why: str = ""


ALONE = Comm()
"""A single process."""


def is_shared(error: BaseException) -> bool:
    """Whether all ranks received an error."""
    return getattr(error, _SHARED, False)


_SHARED = "_known_to_all_ranks"


def _mark(error: Exception) -> None:
    setattr(error, _SHARED, True)


def world() -> Comm:
    """Return the processes of torch's default group; this process only if it is not initialized."""
    if "torch.distributed" not in sys.modules:
        return ALONE
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        return ALONE
    return Comm(dist.get_rank(), dist.get_world_size())


@contextlib.contextmanager
def joined() -> Iterator[Comm]:
    """Yield the processes that ``torchrun`` started; this process only without ``torchrun``.

    Each process uses one GPU of its machine, if there are any.
    """
    if os.environ.get("WORLD_SIZE", "1") in ("", "1") or not all(map(os.environ.get, _STARTED)):
        yield ALONE
        return
    import torch
    import torch.distributed as dist

    if torch.cuda.is_available():
        here = int(os.environ.get("LOCAL_RANK") or 0)
        torch.cuda.set_device(here % torch.cuda.device_count())
    with _lost_ranks_as_errors():
        dist.init_process_group("gloo")
    try:
        yield world()
    finally:
        _forget_group()
        dist.destroy_process_group()


_STARTED = ("RANK", "MASTER_ADDR", "MASTER_PORT")

_GROUP: tuple[Any, Any] = (None, None)
"""torch's default group, and a Gloo group of the same processes."""


def _forget_group() -> None:
    """Release the Gloo group; a group that outlives the default one crashes the process at exit."""
    global _GROUP
    _GROUP = (None, None)


def _host_group() -> Any:  # noqa: ANN401
    """Return a Gloo group of all processes; all ranks must make it at the same time."""
    global _GROUP
    import torch.distributed as dist

    default = dist.group.WORLD
    if _GROUP[0] is not default:
        with _lost_ranks_as_errors():
            _GROUP = (default, dist.new_group(backend="gloo"))
    return _GROUP[1]


@contextlib.contextmanager
def _lost_ranks_as_errors() -> Iterator[None]:
    """Turn torch's error about a lost rank into a clear one."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        message = f"another rank has ended, or the network failed: {first}"
        raise _GoneError(message) from error


class _GoneError(ResourceError):
    """Another rank has ended, so no error can be sent to it."""
