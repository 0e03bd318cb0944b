"""A certificate for this machine, and the authority that signed it."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"
A_DAY = datetime.timedelta(days=1)


class Certificate:
    """Files: the authority's certificate, the certificate for 127.0.0.1 and localhost, and its key."""

    def __init__(self, folder, hours=24):
        self.authority = folder / "authority.pem"
        self.chain = folder / "chain.pem"
        self.key = folder / "key.pem"
        signer, key = new_key(), new_key()
        authority = signed("authority", signer, signer, "authority", AUTHORITY)
        names = [x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName("localhost")]
        names = x509.SubjectAlternativeName(names)
        certificate = signed(
            HOST, key, signer, "authority", [*SERVER, (names, False)], hours
        )
        self.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        self.chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def usage(**granted):
    every = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment"]
    every += ["key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{name: granted.get(name, False) for name in every})


AUTHORITY = [
    (x509.BasicConstraints(ca=True, path_length=0), True),
    (usage(key_cert_sign=True), True),
]
SERVER = [
    (x509.BasicConstraints(ca=False, path_length=None), True),
    (usage(digital_signature=True), True),
    (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False),
]


def signed(subject, key, signer, issuer, extensions, hours=24):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - A_DAY)
        .not_valid_after(now + datetime.timedelta(hours=hours))
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    of_signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    for extension, critical in [*extensions, (identifier, False), (of_signer, False)]:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def name(common_name):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
