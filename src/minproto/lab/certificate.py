"""A certificate for this machine's own HTTPS: made once, kept in the user's cache, and in nobody's list of trusted ones.

Browsers speak HTTP/2 over TLS alone, so the lab needs one. trustme makes it: an authority, whose key nobody keeps, signs one
certificate for 127.0.0.1 and localhost, and is forgotten but for its own certificate, which a client may be told to trust.
"""

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

NAMES = ("localhost", "127.0.0.1")
VALID = timedelta(days=398)
"""What browsers accept at most, whoever signed."""


@dataclass(frozen=True)
class Certificate:
    """Files in PEM."""

    chain: Path
    key: Path
    authority: Path
    """The certificate to trust: ``curl --cacert``."""


class NoCertificateError(Exception):
    """There is none, and the message says in one line why."""


def development_certificate() -> Certificate:
    """The one in the cache, or a new one. Raises NoCertificateError."""
    folder = _cache() / "tls"
    try:
        if not _is_fresh(folder):
            _make(folder)
    except ModuleNotFoundError as error:
        if error.name != "trustme":  # something that trustme needs is missing
            raise NoCertificateError(f"trustme can't be used: {error}") from error
        raise NoCertificateError("trustme is not installed: pip install trustme") from None
    except ImportError as error:
        raise NoCertificateError(f"trustme can't be used: {error}") from error
    except OSError as error:
        raise NoCertificateError(f"can't keep a certificate in {folder}: {error.strerror or error}") from error
    return _files(folder)


def _cache() -> Path:
    """The XDG base directory specification: a relative path is to be ignored."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(named) if os.path.isabs(named) else Path("~/.cache").expanduser()) / "minproto"
    except RuntimeError as error:  # a user without a home directory
        raise NoCertificateError(f"no place for it: {error}") from error


def _files(folder: Path) -> Certificate:
    return Certificate(folder / "chain.pem", folder / "key.pem", folder / "authority.pem")


def _is_fresh(folder: Path) -> bool:
    """All files are there, and the certificate has a month left."""
    files = _files(folder)
    if not (files.chain.is_file() and files.key.is_file() and files.authority.is_file()):
        return False
    return time.time() - files.chain.stat().st_mtime < (VALID - timedelta(days=30)).total_seconds()


def _make(folder: Path) -> None:
    """Make the files beside their place, then move them there together: another lab may be starting, too."""
    import trustme  # an extra: the lab does without

    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix="tls-", dir=folder.parent))  # which nobody else may enter
    try:
        authority = trustme.CA(organization_name="minproto lab")
        issued = authority.issue_cert(*NAMES, not_after=datetime.now(UTC) + VALID)
        files = _files(new)
        files.key.touch(mode=0o600)
        issued.private_key_pem.write_to_path(str(files.key))
        files.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        authority.cert_pem.write_to_path(str(files.authority))
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    except OSError:
        if not _is_fresh(folder):  # else another lab was faster
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
