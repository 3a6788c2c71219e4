# One image for both roles: `docker run IMAGE agent`, `docker run IMAGE aggregator`.
#
# This file has not been built by those who wrote it: where they work there is no container runtime. Its steps are those
# of `make setup`, which the tests do run. Pin the base image by digest in your own builds.

FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY requirements/run.txt requirements/run.txt
RUN python -m venv /opt/nodetell \
    && /opt/nodetell/bin/python -m pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY agent agent
COPY aggregator aggregator
COPY cli cli
COPY proto proto
# What the build alone needed does not go along.
RUN /opt/nodetell/bin/python -m pip install --no-cache-dir --no-build-isolation --no-deps . \
    && /opt/nodetell/bin/python -m pip uninstall --yes --quiet hatchling editables pathspec pluggy tomlkit trove-classifiers pip

FROM python:3.13-slim-bookworm
COPY --from=build /opt/nodetell /opt/nodetell
ENV PATH=/opt/nodetell/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Nobody. Neither role needs to be root; what the agent sees without it is in docs/privileges.md.
USER 65534:65534
ENTRYPOINT ["nodetell"]
CMD ["--help"]
