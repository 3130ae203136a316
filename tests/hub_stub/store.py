"""The Hub's storage in a folder: contents and commits by their hash, and one small file with the state of each repository."""

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

LARGE_KINDS = (
    *("7z", "arrow", "bin", "bz2", "ckpt", "ftz", "gguf", "gz", "h5", "joblib", "lz4", "mlmodel", "model", "msgpack", "npy", "npz", "onnx", "ot", "parquet"),
    *("pb", "pickle", "pkl", "pt", "pth", "rar", "safetensors", "tar", "tflite", "tgz", "wasm", "xz", "zip", "zst"),
)
GITATTRIBUTES = "".join(f"*.{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in LARGE_KINDS)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a commit."""

    size: int
    oid: str
    """Its hash in git: that of the content, or of the pointer for a large file."""
    sha256: str
    lfs: bool
    pointer_size: int = 0

    @property
    def etag(self) -> str:
        """The hash that identifies the content."""
        return self.sha256 if self.lfs else self.oid


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit with all its files by path."""

    parent: str | None
    title: str
    message: str
    user: str
    date: str
    files: dict[str, Entry]


@dataclass(slots=True)
class Repo:
    """The state of a repository."""

    kind: str
    id: str
    private: bool
    created: str
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)
    """The sha256 of large files that were uploaded by LFS or committed."""

    @property
    def namespace(self) -> str:
        """Its owner."""
        return self.id.partition("/")[0]


class Store:
    """All repositories in a folder; a second store on the same folder has the content of the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repos: dict[tuple[str, str], Repo] = {}
        self._commits: dict[str, Commit] = {}
        for path in sorted((folder / "repos").glob("*/*/*.json")):
            repo = Repo(**json.loads(path.read_text(encoding="utf-8")))
            self.repos[repo.kind, repo.id] = repo

    def create(self, kind: str, repo_id: str, private: bool, user: str) -> Repo:
        """Create a repository with an initial commit, as the Hub does."""
        repo = self.repos[kind, repo_id] = Repo(kind, repo_id, private, now())
        self.commit(repo, "main", None, "initial commit", "", user, {".gitattributes": self.put(GITATTRIBUTES.encode())})
        return repo

    def delete(self, repo: Repo) -> None:
        """Remove a repository; its contents are kept."""
        self._place(repo).unlink()
        del self.repos[repo.kind, repo.id]

    def clear(self) -> None:
        """Remove everything but xorbs: a client records in its HF_HOME which of them it has sent."""
        self.repos.clear()
        self._commits.clear()
        for part in ("repos", "commits", "blobs"):
            shutil.rmtree(self.folder / part, ignore_errors=True)

    def commit(self, repo: Repo, branch: str, parent: str | None, title: str, message: str, user: str, files: dict[str, Entry]) -> str:
        """Add a commit and move the branch to it, atomically even if the process is killed."""
        made = Commit(parent, title, message, user, now(), files)
        text = json.dumps(asdict(made), sort_keys=True)
        oid = hashlib.sha1(f"{repo.kind} {repo.id} {len(repo.commits)} {text}".encode()).hexdigest()
        write(self.folder / "commits" / f"{oid}.json", text.encode())
        self._commits[oid] = made
        repo.branches[branch] = oid
        repo.commits.append(oid)
        repo.objects = sorted({*repo.objects, *(entry.sha256 for entry in files.values() if entry.lfs)})
        self.save(repo)
        return oid

    def read(self, oid: str) -> Commit:
        """Return a commit."""
        if oid not in self._commits:
            given = json.loads((self.folder / "commits" / f"{oid}.json").read_bytes())
            self._commits[oid] = Commit(**given | {"files": {path: Entry(**entry) for path, entry in given["files"].items()}})
        return self._commits[oid]

    def history(self, oid: str) -> list[str]:
        """Return a commit and all its ancestors, newest first."""
        found, at = [], oid
        while at:
            found.append(at)
            at = self.read(at).parent or ""
        return found

    def save(self, repo: Repo) -> None:
        """Save the state of a repository."""
        write(self._place(repo), json.dumps(asdict(repo), indent=1).encode())

    def put(self, data: bytes) -> Entry:
        """Store a content; return it as a regular file."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.blob(sha256).exists():
            write(self.blob(sha256), data)
        return Entry(len(data), git_hash(data), sha256, lfs=False)

    def large(self, sha256: str) -> Entry | None:
        """Return an uploaded content as a large file."""
        if not self.blob(sha256).exists():
            return None
        size = self.blob(sha256).stat().st_size
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        return Entry(size, git_hash(pointer), sha256, lfs=True, pointer_size=len(pointer))

    def blob(self, sha256: str) -> Path:
        """Return the path of a content."""
        return self.folder / "blobs" / sha256[:2] / sha256

    def _place(self, repo: Repo) -> Path:
        return self.folder / "repos" / f"{repo.kind}s" / f"{repo.id}.json"


def git_hash(data: bytes) -> str:
    """Return the name that git gives a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def now() -> str:
    """Return the time as the Hub writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def write(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    half.write_bytes(data)
    os.replace(half, path)  # noqa: PTH105
