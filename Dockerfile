# The controller, the receiver and the mover: one program, one image. hack/image builds it without a registry, too.

# Exact versions. Whoever has a registry at hand pins further: --build-arg DEBIAN_IMAGE=debian@sha256:...
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm
ARG DEBIAN_IMAGE=docker.io/library/debian:12.11-slim
# What artifacts are written by and read again with.
ARG RESTIC=0.14.*

FROM ${DEBIAN_IMAGE} AS runtime
ARG RESTIC
# restic is what the mover stores with, and what people recover with when Trueup is not there. A database is dumped by the tools of
# its own image, so none of those are here.
RUN apt-get update \
 && apt-get upgrade -y \
 && apt-get install -y --no-install-recommends ca-certificates "restic=$RESTIC" \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*

FROM ${RUST_IMAGE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends jq \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY src src
COPY migrations migrations
COPY charts/trueup/files charts/trueup/files
# No path of the machine that builds gets into the program, so that the same sources give the same bytes.
ENV RUSTFLAGS="--remap-path-prefix=/source=trueup --remap-path-prefix=/usr/local/cargo=cargo"
# "release", or "dev" for those who wait for it.
ARG PROFILE=release
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --profile "$PROFILE" --bin trueup \
 && install -D -m 755 "target/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")/trueup" /made/trueup \
 && { [ "$PROFILE" != dev ] || strip /made/trueup; }
# What is in the image, by name, version and licence; and the licences' texts.
COPY hack/image.d/sbom.jq ./
COPY --from=runtime /var/lib/dpkg/status /runtime/status
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo metadata --locked --format-version 1 --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" \
  | jq --rawfile debian /runtime/status --from-file sbom.jq >/made/sbom.cdx.json \
 && jq --raw-output '.components[] | select(.purl | startswith("pkg:cargo/")) | "\(.name)-\(.version)"' /made/sbom.cdx.json \
  | while read -r crate; do \
      find /usr/local/cargo/registry/src/*/"$crate" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) \
        -exec install -D -m 644 -t "/made/licences/$crate" {} +; \
    done

FROM runtime
COPY --from=build /made/sbom.cdx.json /usr/share/trueup/sbom.cdx.json
COPY --from=build /made/licences /usr/share/trueup/licences
COPY --from=build /made/trueup /usr/local/bin/trueup
# Nobody in particular: the number that the backup Jobs run as. Nothing is written outside of the volumes that are mounted.
USER 65532:65532
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="trueup" \
      org.opencontainers.image.description="Keeps what runs, what users see and what billing was told the same" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/debian:12.11-slim" \
      dev.trueup.sbom="/usr/share/trueup/sbom.cdx.json"
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/trueup"]
