"""Registered domains: the part of a host name that somebody registered, from the bundled Public Suffix List, offline."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa
    from tldextract import TLDExtract

__all__ = ["DomainCodes", "encode_domains", "registered_domain", "registered_domains"]

NO_DOMAIN = "no-domain"
IP_ADDRESS = "ip-address"

# scheme://user:password@host:port/path; the scheme may be missing, as in "//host/path" and "host/path".
_HOST = re.compile(r"^\s*(?:[a-z][a-z0-9+.\-]*:)?(?://)?(?:[^/?#\s\\]*@)?(\[[0-9a-f:.]*\]|[^/?#\s:\\@]*)", re.IGNORECASE)
_HTTP = re.compile(r"^\s*https?://", re.IGNORECASE)
# Nearly all URLs look like this. RE2 needs one pass for it, and without "@" before the first slash the host is certain.
_PLAIN = r"^(?i:https?)://(?P<host>[A-Za-z0-9.\-]+)(?:[/?#]|$)"
_NAME = re.compile(r"[\w\-]+(?:\.[\w\-]+)+")


@cache
def _extractor() -> TLDExtract:
    from tldextract import TLDExtract

    return TLDExtract(suffix_list_urls=(), cache_dir=None)


def registered_domain(url: str) -> str:
    """`https://img.example.co.uk/a.jpg` as `example.co.uk`.

    A host without a public suffix (a local name, a malformed URL, a `data:` URI) is `no-domain`; a bare address is
    `ip-address`, because it may belong to one person. Domains on shared hosts (`name.github.io`) are reduced to the host.
    The list's rule for an ending it does not know (`site.example`: the last two labels) holds for http addresses only: without
    a scheme, the end of a sentence would pass for a domain and be shown.
    """
    match = _HOST.match(url)
    return _of_host(match.group(1).casefold(), bool(_HTTP.match(url))) if match else NO_DOMAIN


@lru_cache(maxsize=100_000)
def _of_host(host: str, unlisted: bool) -> str:
    if len(host) > 253:
        return NO_DOMAIN
    parts = _extractor()(host)
    if host.startswith("[") or parts.ipv4 or parts.ipv6:
        return IP_ADDRESS
    if unlisted and not parts.suffix and parts.subdomain:
        domain = f"{parts.subdomain.rpartition('.')[2]}.{parts.domain}"
    else:
        domain = f"{parts.domain}.{parts.suffix}" if parts.domain and parts.suffix else ""
    return domain if _NAME.fullmatch(domain) else NO_DOMAIN


class DomainCodes(NamedTuple):
    """Registered domains of n URLs: `names[codes[i]]`, where names may repeat; code -1 is a null URL."""

    names: list[str]
    codes: npt.NDArray[np.int64]  # (n,)

    def counts(self) -> dict[str, int]:
        """Rows of each domain."""
        counted: dict[str, int] = {}
        rows = np.bincount(self.codes + 1, minlength=len(self.names) + 1)[1:]
        for name, count in zip(self.names, rows.tolist(), strict=True):
            counted[name] = counted.get(name, 0) + count
        return counted


def encode_domains(urls: pa.Array | pa.ChunkedArray) -> DomainCodes:
    """`registered_domain` of each of n URLs (strings, shape (n,)), each distinct host looked up once.

    Hosts are cut out of plain http(s) URLs by one expression over the whole array; only URLs of another form (credentials,
    ports, blanks, non-ASCII hosts, no scheme) are parsed one by one.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(urls, pa.ChunkedArray):
        urls = urls.combine_chunks()
    urls = urls.cast(pa.large_string())
    hosts = pc.struct_field(pc.extract_regex(urls, _PLAIN), "host").dictionary_encode()
    codes = pc.fill_null(hosts.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    names = [_of_host(host.casefold(), True) for host in hosts.dictionary.to_pylist()]
    rest = np.flatnonzero((codes < 0) & urls.is_valid().to_numpy(zero_copy_only=False))
    if rest.size:
        others = urls.take(pa.array(rest)).dictionary_encode()
        codes[rest] = others.indices.to_numpy(zero_copy_only=False).astype(np.int64) + len(names)
        names += [registered_domain(url) for url in others.dictionary.to_pylist()]
    return DomainCodes(names, codes)


def registered_domains(urls: pa.Array | pa.ChunkedArray) -> pa.Array:
    """`registered_domain` of each of n URLs (strings, shape (n,)); null stays null."""
    import pyarrow as pa

    names, codes = encode_domains(urls)
    return pa.array(names, pa.string()).take(pa.array(codes, mask=codes < 0))
