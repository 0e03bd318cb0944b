# The image of Jeton: the program, the libraries that it is linked to, and the certificates by which it knows a
# database. No shell, no package manager. docs/operating.md says how to run it.
#
#   docker build -t jeton .
#
# tests/container/run builds it without a registry: it names other images for these two arguments.

# Debian with the toolchain of rust-toolchain.toml.
ARG BUILDER=rust:1.95-bookworm
# What has the program at /jeton: the stage that compiles it, or an image.
ARG PROGRAM=compile

FROM ${BUILDER} AS compile
WORKDIR /src
COPY . .
RUN cargo build --release --locked && cp target/release/jeton /jeton

FROM ${PROGRAM} AS program

FROM ${BUILDER} AS files
COPY --from=program /jeton /image/usr/bin/jeton
RUN set -eu; \
    mkdir -p /image/etc/ssl/certs /image/data /image/tmp; \
    ldd /image/usr/bin/jeton | grep -o '/[^ ]*' | xargs -I{} cp -L --parents {} /image; \
    cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/; \
    echo 'jeton:x:65532:65532::/data:/none' >/image/etc/passwd; \
    echo 'jeton:x:65532:' >/image/etc/group; \
    chmod 1777 /image/tmp; \
    chmod 700 /image/data; \
    chown 65532:65532 /image/data

FROM scratch
LABEL org.opencontainers.image.title="Jeton" \
      org.opencontainers.image.description="A token service for the OAuth 2.0 password grant" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=files /image /
USER 65532:65532
WORKDIR /data
VOLUME /data
# Database and master key are in the working folder, /data, unless settings name others.
# The management listener is for probes and Prometheus, which ask from outside the container: do not publish 8081.
# SQLite writes its temporary files beside the database, because the rest may be read-only.
# josekit takes a backtrace for every bad signature if it is let to.
ENV JETON_LISTEN=0.0.0.0:8080 \
    JETON_MANAGEMENT_LISTEN=0.0.0.0:8081 \
    SQLITE_TMPDIR=/data \
    RUST_LIB_BACKTRACE=0
EXPOSE 8080
HEALTHCHECK --start-period=10s --interval=10s --timeout=6s CMD ["/usr/bin/jeton", "healthcheck"]
ENTRYPOINT ["/usr/bin/jeton"]
CMD ["serve"]
