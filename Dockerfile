# The build: Debian's glibc, OpenSSL built in.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked
# The final stage holds the program, the libraries it is linked to, the certificates to know the
# database by, and a folder for the data that the user below owns. No shell, no package manager.
RUN set -eux; \
    mkdir -p /image/etc/ssl/certs /image/data /image/tmp; \
    cp target/release/jeton /image/jeton; \
    ldd /image/jeton | grep -o '/[^ ]*' | xargs -I{} cp -L --parents {} /image; \
    cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/; \
    echo 'jeton:x:65532:65532::/data:/none' > /image/etc/passwd; \
    chmod 1777 /image/tmp; \
    chown 65532:65532 /image/data

FROM scratch
COPY --from=build /image /
USER 65532:65532
WORKDIR /data
VOLUME /data
# josekit takes a backtrace for every bad signature if it is let to.
ENV RUST_LIB_BACKTRACE=0 \
    JETON_DATABASE=sqlite:/data/jeton.db \
    JETON_MASTER_KEY_FILE=/data/keys/master.jwk \
    JETON_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --start-period=10s --interval=10s --timeout=6s CMD ["/jeton", "healthcheck"]
ENTRYPOINT ["/jeton"]
CMD ["serve"]
