# One image for both roles: `docker run IMAGE agent`, `docker run IMAGE aggregator`; amd64 and arm64 (`buildx --platform`).
#
# This file has not been built by those who wrote it: where they work there is no container engine. Its steps are those of
# `make image-rootfs`, whose tree the tests start both roles from. Pin the base image by digest in your own builds.

FROM python:3.13-slim-bookworm AS build
# strip: some packages' extension modules come with symbols, seven megabytes of them.
RUN apt-get update && apt-get install --yes --no-install-recommends binutils
WORKDIR /src
COPY requirements/image.txt requirements/run.txt requirements/
RUN python -m venv /build \
    && /build/bin/python -m pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements/run.txt \
    && /build/bin/python -m pip install --no-cache-dir --no-compile --target /packages --only-binary :all: \
        --require-hashes -r requirements/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY agent agent
COPY aggregator aggregator
COPY cli cli
COPY proto proto
COPY release release
RUN /build/bin/python -m pip install --no-cache-dir --no-compile --target /packages --no-build-isolation --no-deps . \
    && python -m release.rootfs /rootfs --packages /packages

# Nothing but what was put together above: no shell, no compiler, no package manager, not the base image either. There is
# no BPF object to compile: the sensor assembles its programs itself (docs/sensor.md).
FROM scratch
COPY --from=build /rootfs /
ENV PATH=/usr/local/bin PYTHONPATH=/opt/nodetell PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Nobody. Neither role needs to be root; what the agent sees without it is in docs/privileges.md.
USER 65534:65534
ENTRYPOINT ["/usr/local/bin/nodetell"]
CMD ["--help"]
