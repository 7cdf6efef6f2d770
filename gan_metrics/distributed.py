"""One process, or several that work together: the only module that knows of ranks."""

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
"""Bytes that go over the wire at a time."""


@dataclass(frozen=True)
class Comm:
    """This process among those that work together.

    All of them call the same methods in the same order (but :meth:`owns`). What they say to each
    other goes from host to host by Gloo, whatever the backend of the training is; the features lie
    there in any case.

    Attributes:
        rank: Which one this is, 0 … size − 1.
        size: How many there are; 1: there is nobody to talk to.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.rank == 0

    def owns(self, item: int) -> bool:
        """Whether a numbered piece of work, such as a chunk of images, is this rank's."""
        return item % self.size == self.rank

    def share(self, n: int) -> range:
        """This rank's part of ``n`` pieces of work that lie beside each other; the first's first.

        >>> [list(Comm(rank, 3).share(5)) for rank in range(3)]
        [[0, 1], [2, 3], [4]]
        """
        ends = (-(-n * rank // self.size) for rank in (self.rank, self.rank + 1))
        return range(*ends)

    def gather(self, value: T) -> list[T]:
        """The value of every rank, in their order, on every rank; pickled on the way.

        Raises:
            GanMetricsError: That of a rank which left :meth:`fail_together` with an error, instead.
            ResourceError: When a rank is gone.
        """
        if self.size == 1:
            return [value]
        return [told.value for told in self._exchange(_Message(value))]

    def gather_rows(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The rows of every rank, in their order, on every rank, sent in blocks.

        Args:
            rows: ``n × …``; n may differ, and be 0, whatever the other axes then are.

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
        """Work that all ranks end in the same way: if one of them fails, all do, with its error.

        A rank that fails says so in the place of what the others wait for.

        Raises:
            GanMetricsError: That of the first rank that failed, naming the rank.
        """
        try:
            yield
        except Exception as error:
            if self.size > 1 and not is_shared(error) and not isinstance(error, _GoneError):
                self._tell(error)
            raise
        self.gather(None)

    def _tell(self, error: Exception) -> None:
        """Tell the others why there is nothing more to come from here."""
        kind: type[Exception] = type(error)
        why = str(error)
        if lost := failed_device(error):
            kind, why = ResourceError, str(lost)
        elif not isinstance(error, GanMetricsError):
            out = isinstance(error, MemoryError | OSError) or kind.__name__ == "OutOfMemoryError"
            kind, why = ResourceError if out else RuntimeError, f"{kind.__name__}: {error}"
        said = _Message(None, kind, why)
        with contextlib.suppress(GanMetricsError, RuntimeError):
            self._exchange(said)
        _mark(error)

    def _exchange(self, said: _Message) -> list[_Message]:
        import torch.distributed as dist

        everyone: list[Any] = [None] * self.size
        group = _host_group()
        with _lost_ranks_as_errors():
            dist.all_gather_object(everyone, said, group=group)
        for rank, told in enumerate(everyone):
            if told.failed is not None:
                error = told.failed(f"rank {rank}: {told.why}")
                _mark(error)
                raise error
        return everyone


@dataclass(frozen=True)
class _Message:
    """What one rank says to the others: a value, or that it failed, and why."""

    value: Any
    failed: type[Exception] | None = None
    why: str = ""


ALONE = Comm()
"""One process."""


def is_shared(error: BaseException) -> bool:
    """Whether all ranks know of an error."""
    return getattr(error, _SHARED, False)


_SHARED = "_known_to_all_ranks"


def _mark(error: Exception) -> None:
    setattr(error, _SHARED, True)


def world() -> Comm:
    """The processes of torch's default group, if it is initialised; else this one alone."""
    if "torch.distributed" not in sys.modules:
        return ALONE
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        return ALONE
    return Comm(dist.get_rank(), dist.get_world_size())


@contextlib.contextmanager
def joined() -> Iterator[Comm]:
    """The processes that ``torchrun`` started, if it started this one; else this one alone.

    Each of them gets a GPU of its machine, where there are any.
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
"""The default group of torch, and ours of the same processes."""


def _forget_group() -> None:
    """Let go of ours; a group that outlives the others ends the process with a crash."""
    global _GROUP
    _GROUP = (None, None)


def _host_group() -> Any:  # noqa: ANN401
    """A group of all processes that talk from host to host; made by all of them at once."""
    global _GROUP
    import torch.distributed as dist

    default = dist.group.WORLD
    if _GROUP[0] is not default:
        with _lost_ranks_as_errors():
            _GROUP = (default, dist.new_group(backend="gloo"))
    return _GROUP[1]


@contextlib.contextmanager
def _lost_ranks_as_errors() -> Iterator[None]:
    """Let a rank that is gone be an error here too."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        message = f"another rank is gone, or the network between them is: {first}"
        raise _GoneError(message) from error


class _GoneError(ResourceError):
    """There is nobody to tell."""
