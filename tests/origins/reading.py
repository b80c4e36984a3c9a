from modfile.backoff import Backoff
from modfile.progress import SILENT
from modfile.verbs.download import download


def read(origin, path, start=0, stop=None):
    """Return bytes of a file that an origin lists."""
    file = next(file for file in origin.listing().files if file.path == path)
    with origin.open(file, start, stop) as reader:
        return reader.read()


def brought(origin, directory):
    """Download all that an origin lists; return the files that are in the directory then, by path."""
    backoff = Backoff(attempts=2, sleep=lambda seconds: None)
    download(origin, origin.listing().files, directory, backoff, SILENT, 3)
    return contents(directory)


def contents(directory):
    """Return the files below a directory, by path."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }
