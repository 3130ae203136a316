"""Where a file of the data root is: its file system, its path, and the rules for names."""

import os
from functools import lru_cache
from itertools import accumulate
from typing import Any

import fsspec

from core.errors import StoreError

ROOT_VARIABLE = "UNDERSTUDY_DATA"
MAX_PART, MAX_NAME = 255, 1024
"""Maximum bytes of a name between two slashes and of a complete name: the limits of file systems and of S3 keys."""


def place_in(root: str, name: str) -> tuple[Any, str]:
    """Return the file system of a data root and the path of a file in it.

    Raises:
        StoreError: the name is not valid, or leads out of the root.
    """
    fs, folder = file_system(root)
    if wrong := name_fault(name):
        raise StoreError(f"{name[:100]!r} is not a name below the data root {root}: {wrong}. Allowed: a relative path such as batches/x.json.")
    if is_folder(fs) and _has_link(folder, name):
        real, target = os.path.realpath(folder), os.path.realpath(f"{folder}/{name}")
        if os.path.commonpath([real, target]) != real:
            raise StoreError(
                f"{root}/{name} is a link out of the data root, to {target}. Nothing outside the root is read or written. "
                f"Set {ROOT_VARIABLE} to where the files are, or replace the link with them."
            )
    return fs, f"{folder}/{name}"


def name_fault(name: str) -> str | None:
    """Return why a name is not valid on every file system; None if it is valid."""
    if not name.isprintable() or "\\" in name:
        return "it has a backslash or a non-printable character"
    parts = name.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        return "it begins or ends with a slash, or a part of it is empty, `.` or `..`"
    if len(name.encode()) > MAX_NAME or any(len(part.encode()) > MAX_PART for part in parts):
        return f"it is longer than {MAX_NAME} bytes, or a part of it than {MAX_PART}"
    return None


def _has_link(root: str, name: str) -> bool:
    """Return whether a part of a path below the root is a symbolic link. Resolving the whole path each time takes ten times as long."""
    return any(os.path.islink(f"{root}/{part}") for part in accumulate(name.split("/"), "{}/{}".format))  # noqa: PTH114  a Path takes as long as the rest


def file_system(root: str) -> tuple[Any, str]:
    """Return the file system of a root and the path in it; listings are not cached, since other machines write there too.

    Raises:
        StoreError: the kind of storage is unknown, or cannot be reached with what the environment says.
    """
    if not ("://" in root or "::" in root):
        return _local_files(), _local_files()._strip_protocol(root)
    try:
        return fsspec.url_to_fs(root, use_listings_cache=False)
    except Exception as error:  # some file systems contact their service at once, and their clients raise their own types of errors
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise StoreError(f"{ROOT_VARIABLE} is {root[:100]!r}: {reason}. Allowed: a folder, or an address such as s3://bucket/folder.") from error


@lru_cache(maxsize=1)
def _local_files() -> Any:
    return fsspec.filesystem("file")


def is_folder(fs: Any) -> bool:
    """Return whether a file system is that of this machine."""
    return isinstance(fs, fsspec.get_filesystem_class("file"))


@lru_cache
def check_answers(root: str) -> None:
    """Check once per root that remote storage answers, because clients report missing keys and similar faults with their own types of errors.

    Raises:
        StoreError: it does not.
    """
    fs, path = file_system(root)
    try:
        fs.info(f"{path}/.writable")
    except FileNotFoundError:
        pass
    except Exception as error:
        raise StoreError(
            f"{root} cannot be used: {' '.join(str(error).split())[:200]}. Give its keys and its address (docs/security.md), or set {ROOT_VARIABLE}."
        ) from error
