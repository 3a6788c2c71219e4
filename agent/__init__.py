import nodetell  # noqa: F401  # first of all: it sets what gRPC reads as it is imported
