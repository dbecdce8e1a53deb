"""Certificates for the tests' servers and clients: an authority of our own, and what it signs, as PEM files."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = dt.timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate and its key.

    Attributes:
        certificate: File with the certificate.
        key: File with its key, PKCS 8.
        both: File with key and certificate, as Kafka takes them.
    """

    certificate: Path
    key: Path
    both: Path


class Authority:
    """An authority that signs certificates; `certificate` is the file that others trust."""

    def __init__(self, folder: Path, name: str = "ridecast tests") -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = _built(self._name, self._name, self._key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        self.certificate = folder / f"{name.replace(' ', '-')}.pem"
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str, *, password: str = "", host: str = "127.0.0.1") -> Signed:
        """A certificate for a server at an address, or for a client of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        made = _built(subject, self._name, key.public_key()).add_extension(names, False).sign(self._key, hashes.SHA256())
        locked = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        certificate_text = made.public_bytes(serialization.Encoding.PEM)
        key_text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
        signed = Signed(*(self._folder / f"{name}{suffix}" for suffix in (".crt", ".key", ".pem")))
        for path, text in ((signed.certificate, certificate_text), (signed.key, key_text), (signed.both, key_text + certificate_text)):
            path.write_bytes(text)
            path.chmod(0o600)
        return signed


def _built(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    begun = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return begun.serial_number(x509.random_serial_number()).not_valid_before(now - VALID).not_valid_after(now + VALID)
