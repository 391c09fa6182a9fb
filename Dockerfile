# The one image of both the manager and the agents.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY api/ api/
COPY cmd/ cmd/
COPY config/crd/ config/crd/
COPY controllers/ controllers/
COPY internal/ internal/
COPY pkg/ pkg/
# The repository is not here, so Go cannot tell them.
ARG VERSION=unknown
ARG REVISION=unknown
# The binding is written in C and opens libvirt's client library when it is first used.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=1 go build -trimpath -tags libvirt_dlopen -ldflags="-s -w -X main.version=${VERSION} -X main.revision=${REVISION}" -o /virtferry ./cmd/virtferry

FROM debian:bookworm-slim
RUN apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates libvirt0 && \
    rm -rf /var/lib/apt/lists/*
COPY LICENSE /usr/share/doc/virtferry/LICENSE
COPY --from=build /virtferry /usr/local/bin/virtferry
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Virtferry" \
      org.opencontainers.image.description="Live migration of libvirt guests between the nodes of a Kubernetes cluster" \
      org.opencontainers.image.source="https://github.com/virtferry/virtferry" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The agents' pods override it: libvirt's socket is root's.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/virtferry"]
