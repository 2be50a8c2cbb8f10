"""A certificate for HTTPS on this machine: made once, and kept in the user's cache (``~/.cache/minproto/tls``).

Browsers speak HTTP/2 only over TLS, so the lab needs a certificate. The library trustme makes a certificate authority, and the
authority signs one certificate for 127.0.0.1 and localhost. Then the authority's private key is thrown away, so it can never
sign another certificate. The authority's own certificate is kept for clients that should trust the lab, as in
``curl --cacert ~/.cache/minproto/tls/authority.pem https://localhost:8443/``. By default no system or browser
trusts the authority.
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
"""How long the certificate is valid: the longest time that browsers accept, whichever authority has signed it."""


@dataclass(frozen=True)
class Certificate:
    """Three files in PEM."""

    chain: Path
    key: Path
    authority: Path
    """The certificate of the authority, for clients that should trust the lab."""


class NoCertificateError(Exception):
    """There is no certificate. The message says why, in one line."""


def development_certificate() -> Certificate:
    """Return the certificate in the cache, or make one. Raises NoCertificateError."""
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
    """Return the cache folder, as the XDG base directory specification says. A relative path has to be ignored."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(named) if os.path.isabs(named) else Path("~/.cache").expanduser()) / "minproto"
    except RuntimeError as error:  # a user without a home directory
        raise NoCertificateError(f"there is no folder for a certificate: {error}") from error


def _files(folder: Path) -> Certificate:
    return Certificate(folder / "chain.pem", folder / "key.pem", folder / "authority.pem")


def _is_fresh(folder: Path) -> bool:
    """Return whether all files exist, and the certificate is valid for another month."""
    files = _files(folder)
    if not (files.chain.is_file() and files.key.is_file() and files.authority.is_file()):
        return False
    return time.time() - files.chain.stat().st_mtime < (VALID - timedelta(days=30)).total_seconds()


def _make(folder: Path) -> None:
    """Make the files in a temporary folder, and then rename the folder.

    Another lab may start at the same moment. A rename is one step, so nobody ever sees a key with the wrong certificate.
    """
    import trustme  # an extra of this package. If it is not installed, the lab has no HTTPS

    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix="tls-", dir=folder.parent))  # only this user can open the folder that mkdtemp makes
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
        if not _is_fresh(folder):  # otherwise another lab was faster, and we use its certificate
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
