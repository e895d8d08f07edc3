"""Registered domains: the part of a host name that somebody registered, from the bundled Public Suffix List, offline."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from tldextract import TLDExtract

__all__ = ["registered_domain", "registered_domains"]

NO_DOMAIN = "no-domain"
IP_ADDRESS = "ip-address"

# scheme://user:password@host:port/path; the scheme may be missing, as in "//host/path" and "host/path".
_HOST = re.compile(r"^\s*(?:[a-z][a-z0-9+.\-]*:)?(?://)?(?:[^/?#\s\\]*@)?(\[[0-9a-f:.]*\]|[^/?#\s:\\@]*)", re.IGNORECASE)
_HTTP = re.compile(r"^\s*https?://", re.IGNORECASE)
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


def registered_domains(urls: pa.Array | pa.ChunkedArray) -> pa.Array:
    """`registered_domain` of each of n URLs (strings, shape (n,)); null stays null. Hosts are looked up once each."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(urls, pa.ChunkedArray):
        urls = urls.combine_chunks()
    encoded = pc.dictionary_encode(urls.cast(pa.string()))
    domains = pa.array([None if url is None else registered_domain(url) for url in encoded.dictionary.to_pylist()], pa.string())
    return domains.take(encoded.indices)
