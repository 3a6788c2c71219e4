"""What both roles of Nodetell share: the wire contract (`nodetell.v1`) and the few rules that go with it."""

import os

__version__ = "0.1.0"

# TLS 1.3 and nothing older, at both ends. gRPC's C core speaks 1.2 as well, has no setting against it in Python, and
# reads this one as it is imported: the ciphers of 1.2, those of 1.3 being its own. With a pre-shared key, which nobody
# here has, none is ever in common.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-CHACHA20-POLY1305"
