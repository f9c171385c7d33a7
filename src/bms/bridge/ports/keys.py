"""Keys of tunnels: a private key (0600) and a certificate that the other side gets.

Made by the `cryptography` package if it is there (extra `tunnel`), else by the openssl program. The
certificate signs itself and does not expire: who is let in is who is listed, and a host without a
clock must still be able to come back. To shut somebody out, take it off the list and reload.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
from datetime import datetime
from pathlib import Path

from bms.errors import ConfigError, LinkError

FIRST, LAST = datetime(1970, 1, 1), datetime(9999, 12, 31, 23, 59, 59)
"""RFC 5280, 4.1.2.5: the end of a certificate that has none."""


def make(place: Path) -> tuple[Path, Path, str]:
    """PLACE.key and PLACE.crt, and what made them. ConfigError if one is there already."""
    key, cert = place.with_name(place.name + ".key"), place.with_name(place.name + ".crt")
    for path in (key, cert):
        if path.exists():
            raise ConfigError("bms bridge keys", "PLACE", str(path), "a name that is free")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        secret, public, maker = _pair(place.name)
        descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(secret)
        cert.write_bytes(public)
    except OSError as error:
        raise LinkError(f"{error.filename or place}: {error.strerror}") from None
    return key, cert, maker


def _pair(name: str) -> tuple[bytes, bytes, str]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError:
        return _by_openssl(name)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(FIRST)
        .not_valid_after(LAST)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret, cert.public_bytes(serialization.Encoding.PEM), "the cryptography package"


def _by_openssl(name: str) -> tuple[bytes, bytes, str]:
    if not shutil.which("openssl"):
        raise LinkError("keys need `pip install solid-bms[tunnel]` or the openssl program")
    generate = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"]
    made = subprocess.run(generate, capture_output=True, check=False)
    safe = "".join(c for c in name if c.isalnum() or c in "-_.")[:64] or "bridge"
    sign = ["openssl", "req", "-new", "-x509", "-key", "/dev/stdin", "-sha256", "-days", "36500",
            "-subj", f"/CN={safe}"]  # fmt: skip
    signed = subprocess.run(sign, input=made.stdout, capture_output=True, check=False)
    if made.returncode or signed.returncode:
        raise LinkError(f"openssl: {(made.stderr + signed.stderr).decode(errors='replace')[:200]}")
    return made.stdout, signed.stdout, "openssl"


def fingerprint(path: Path) -> str:
    """SHA-256 of a certificate in PEM form. ValueError for what is none."""
    text = path.read_text(encoding="ascii")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text.strip())).hexdigest()


def check_private(file: object, key: str, path: Path) -> None:
    """ConfigError for a private key that is not there, or that others may read."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(
            file, key, str(path), f"a key of `bms bridge keys` ({error.strerror})"
        ) from None
    if mode & 0o077:
        raise ConfigError(file, key, str(path), "a key that nobody else can read: chmod 600")
