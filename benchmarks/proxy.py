"""What we compare with: Twisted's own reverse proxy, as its documentation sets it up.

``python -m benchmarks.proxy PROVIDER_PORT`` prints its port.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.python import log
from twisted.web.proxy import ReverseProxyResource
from twisted.web.server import Site

reactor: Any = _reactor


def main() -> None:
    """Serve until killed, with the access log that a Site keeps by default."""
    log.startLogging(sys.stderr)
    site = Site(ReverseProxyResource("127.0.0.1", int(sys.argv[1]), b""))
    port = reactor.listenTCP(0, site, backlog=2048, interface="127.0.0.1")
    sys.__stdout__.write(f"{port.getHost().port}\n")
    sys.__stdout__.flush()
    reactor.run()


if __name__ == "__main__":
    main()
