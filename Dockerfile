# The one image of both the manager and the agents. Nothing of the image is run while it
# is built, so a machine of any architecture builds it for any other.

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS libraries
ARG TARGETARCH
COPY hack/image/libraries.sh /
RUN /libraries.sh "${TARGETARCH}" /image

FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
ARG TARGETARCH
COPY hack/image/compiler.sh /
RUN /compiler.sh "${TARGETARCH}"
WORKDIR /src
# Only what .dockerignore lets through.
COPY . ./
# Where Go takes modules from, if not from where it always does.
ARG GOPROXY
# The repository is not here, so Go cannot tell them.
ARG VERSION=unknown
ARG REVISION=unknown
# The binding is written in C and opens libvirt's client library when it is first used.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=1 GOARCH="${TARGETARCH}" CC=target-gcc GOMODCACHE=/go/pkg/mod \
    go build -trimpath -buildvcs=false -tags libvirt_dlopen \
    -ldflags="-s -w -X main.version=${VERSION} -X main.revision=${REVISION}" -o /virtferry ./cmd/virtferry && \
    GOMODCACHE=/go/pkg/mod go run -buildvcs=false ./hack/licences -arch "${TARGETARCH}" -tags libvirt_dlopen ./cmd/virtferry /licences

FROM scratch
COPY --from=libraries /image/ /
COPY LICENSE /usr/share/doc/virtferry/LICENSE
# The licences of what virtferry is compiled from; those of Debian's packages are there.
COPY --from=build /licences /usr/share/doc/virtferry/third-party
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
