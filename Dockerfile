# syntax=docker/dockerfile:1
ARG GO=golang:1.26.8-bookworm
ARG BASE=gcr.io/distroless/static-debian12:nonroot
ARG VERSITYGW=versity/versitygw:v1.8.0

FROM ${GO} AS modules
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-trimpath GOCACHE=/go/build
WORKDIR /src
COPY go.mod go.sum ./
COPY infra/go.mod infra/go.sum infra/
RUN --mount=type=cache,target=/go/pkg/mod go mod download && go -C infra mod download

# What the next two stages name is all that an image can contain. Data and secrets of an installation lie in var.
FROM modules AS product
COPY *.go ./
COPY identity/ identity/
COPY policy/ policy/
COPY evidence/ evidence/
COPY activities/ activities/
COPY workflows/ workflows/
COPY workers/ workers/
COPY starter/ starter/
COPY verifier/ verifier/
# The evidence names the revision of the worker that made it.
COPY .git/ .git/
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/build \
    go build -o /out/workers ./workers && go build -o /out/countersign ./starter && \
    go build -ldflags='-s -w' -o /out/verifier ./verifier && go run ./verifier/page -o /out/verifier.html

FROM modules AS parts
COPY infra/aws/ infra/aws/
COPY infra/awsgate/ infra/awsgate/
COPY infra/awspolicy/ infra/awspolicy/
COPY infra/compose/prepared/ infra/compose/prepared/
COPY infra/compose/relay/ infra/compose/relay/
COPY infra/compose/sidecar/ infra/compose/sidecar/
COPY infra/idp/ infra/idp/
COPY infra/kms/ infra/kms/
COPY infra/objectstore/ infra/objectstore/
COPY infra/serve/ infra/serve/
COPY infra/sigv4/ infra/sigv4/
COPY infra/temporal/ infra/temporal/
COPY infra/revocation/ infra/revocation/
COPY infra/tsa/ infra/tsa/
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/build \
    go -C infra build -ldflags='-s -w' -o /out/ ./serve ./compose/sidecar && mkdir /out/data

FROM ${BASE} AS workers
COPY --from=parts /out/sidecar /sidecar
COPY --from=product /out/workers /workers
USER 65532:65532
ENTRYPOINT ["/workers"]

FROM ${BASE} AS starter
COPY --from=parts /out/sidecar /sidecar
COPY --from=product /out/countersign /out/verifier /out/verifier.html /
ENV COUNTERSIGN_VERIFIER=/verifier.html
USER 65532:65532
ENTRYPOINT ["/countersign", "serve"]

FROM ${BASE} AS relay
COPY --from=parts /out/sidecar /sidecar
USER 65532:65532
ENTRYPOINT ["/sidecar", "relay"]

FROM ${BASE} AS serve
COPY --from=parts /out/sidecar /sidecar
COPY --from=parts /out/serve /serve
# A new volume takes its owner from here.
COPY --from=parts --chown=65532:65532 /out/data /data
USER 65532:65532
ENTRYPOINT ["/serve"]

# The official image keeps no directory that another user than root may write.
FROM ${VERSITYGW} AS objectstore
RUN mkdir -p /data/buckets /data/versions && chown -R 65532:65532 /data && chmod -R 0700 /data
COPY --chmod=0555 infra/compose/objectstore/start.sh /usr/local/bin/start-objectstore
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/start-objectstore"]
