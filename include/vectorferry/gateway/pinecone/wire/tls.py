"""The certificate that a gateway shows."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from vectorferry.core.errors import ConnectionMissing


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the certificate with its chain, and its key."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """For a server of TLS 1.2 or newer. Raises ConnectionMissing where the files cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConnectionMissing(f"TLS cannot use {self.certificate} with {self.key}: {error}") from error
        return context
