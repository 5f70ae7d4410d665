# The controller, the receiver and the mover: one program, one image.
FROM rust:1.95.0-bookworm AS build
WORKDIR /source
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY src src
COPY migrations migrations
COPY charts/trueup/files charts/trueup/files
RUN cargo build --release --locked --bin trueup

FROM debian:bookworm-slim
# restic is what the mover stores with, and what people recover with when Trueup is not there.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates restic \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /source/target/release/trueup /usr/local/bin/trueup
# Nobody in particular: the number that the backup Jobs run as.
USER 65532:65532
LABEL org.opencontainers.image.title="trueup" \
      org.opencontainers.image.description="Keeps what runs, what users see and what billing was told the same" \
      org.opencontainers.image.licenses="Apache-2.0"
ENTRYPOINT ["/usr/local/bin/trueup"]
