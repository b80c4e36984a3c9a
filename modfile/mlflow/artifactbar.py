"""MLflow's bar of the files that are downloaded, as the library's `Progress`."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from mlflow.utils.file_utils import ArtifactProgressBar

if TYPE_CHECKING:
    from ..progress import Meter, Outcome


class DownloadBar:
    """Counts the files that are done; a `Progress`, and the `Meter` of each of them. To be used in a `with` block."""

    def __init__(self) -> None:
        self._bar: ArtifactProgressBar | None = None
        self._started = 0
        self._lock = Lock()

    def __enter__(self) -> DownloadBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(*error)  # type: ignore[no-untyped-call]

    def start(self, label: str, size: int) -> Meter:
        """Count a file to come."""
        self._started += 1
        return self

    def advance(self, amount: int) -> None:
        """Do nothing: files are counted, as with MLflow's other artifact stores."""

    def resume(self, amount: int) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def finish(self, outcome: Outcome) -> None:
        """Count a file that is done; all have started by then, so that the bar knows how many there are."""
        with self._lock:
            if self._bar is None:
                self._bar = ArtifactProgressBar.files("Downloading artifacts", self._started)  # type: ignore[no-untyped-call]
            self._bar.update()
