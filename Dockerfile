# Three images of one build: `docker build --target operator .`, `--target gateway .`, and, by default, all in one.
# docs/reference/images.md says what is in them and how they are run.
#
# Releases give BASE by digest. Any image with Python 3.11 or newer, its venv module and glibc will do.
ARG BASE=docker.io/library/python:3.13-slim-trixie


# ---- what builds, and is in no image --------------------------------------------------------------------------------
FROM ${BASE} AS tools
ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_NO_CACHE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_SYSTEM_CERTS=1
COPY bootstrap.txt build.txt /build/
RUN python3 -m venv /build/venv \
    && /build/venv/bin/python -m pip install --quiet --require-hashes -r /build/bootstrap.txt -r /build/build.txt
ENV PATH=/build/venv/bin:$PATH

# uv.lock is the one source of the versions and hashes. What is installed below depends on these lists only, so that
# an edit of pyproject.toml that locks nothing new installs nothing anew.
FROM tools AS locks
COPY pyproject.toml uv.lock /build/
RUN cd /build \
    && for extra in operator gateway cli; do \
        uv export --quiet --frozen --no-default-groups --no-emit-project --no-header --no-annotate \
            --extra "$extra" --output-file "/locks/$extra.txt" >/dev/null || exit 1; \
    done

# One virtual environment as it will stand in every image, and beside it what each image adds to it.
FROM tools AS dependencies
COPY --from=locks /locks /locks
ENV PYC_INVALIDATION_MODE=UNCHECKED_HASH
RUN uv venv --quiet --python "$(readlink -f /build/venv/bin/python)" /venv/opt/trunkline \
    && rm -f /venv/opt/trunkline/bin/activate* /venv/opt/trunkline/bin/deactivate* /venv/opt/trunkline/bin/pydoc* \
    && mkdir -p /opt && ln -s /venv/opt/trunkline /opt/trunkline \
    && export UV_NO_CACHE=0 UV_CACHE_DIR=/tmp/uv \
    && for extra in operator gateway cli; do \
        uv pip install --quiet --no-deps --require-hashes --compile-bytecode --only-binary :all: \
            --python /opt/trunkline --prefix "/$extra/opt/trunkline" -r "/locks/$extra.txt" || exit 1; \
        # Commands of the dependencies: nobody runs kopf or uvicorn here.
        rm -rf "/$extra/opt/trunkline/bin"; \
        # Thousands of types that the operator does not load: their byte code is 50 MB.
        rm -rf "/$extra"/opt/trunkline/lib/python3*/site-packages/kubernetes/client/*/__pycache__ \
            "/$extra"/opt/trunkline/lib/python3*/site-packages/kubernetes/aio/client/*/__pycache__; \
    done \
    && rm -rf /tmp/uv

# The project is one wheel. An image gets the packages of its plane, and its command.
FROM dependencies AS application
COPY LICENSE README.md pyproject.toml /build/source/
COPY protocol /build/source/protocol
COPY operator /build/source/operator
COPY gateway /build/source/gateway
COPY cli /build/source/cli
RUN cd /build/source \
    && python -m hatchling build -t wheel -d /build/wheel >/dev/null \
    && for plane in operator gateway cli; do \
        uv pip install --quiet --no-deps --offline --compile-bytecode \
            --python /opt/trunkline --prefix "/application/$plane/opt/trunkline" /build/wheel/*.whl || exit 1; \
    done \
    && cd /application/operator/opt/trunkline \
    && rm -r lib/python3*/site-packages/trunkline lib/python3*/site-packages/trunkline_gateway \
        bin/trunkline bin/trunkline-gateway \
    && cd /application/gateway/opt/trunkline \
    && rm -r lib/python3*/site-packages/trunkline lib/python3*/site-packages/trunkline_operator \
        bin/trunkline bin/trunkline-operator


# ---- what the three have in common ----------------------------------------------------------------------------------
FROM ${BASE} AS runtime
# No installer stays. The standard library is compiled here since nothing can be written later, and official images come
# without its byte code: each start would compile it again.
RUN rm -rf /usr/local/bin/pip* /usr/local/bin/idle* /usr/local/lib/python3*/site-packages/* \
        /usr/lib/python3*/ensurepip /usr/local/lib/python3*/ensurepip /usr/share/python-wheels \
    && python3 -m compileall -q --invalidation-mode unchecked-hash \
        -x '/(test|tests|idlelib|turtledemo|tkinter|lib2to3|site-packages|dist-packages)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && echo 'trunkline:x:65532:' >>/etc/group \
    && echo 'trunkline:x:65532:65532::/nonexistent:/usr/sbin/nologin' >>/etc/passwd \
    && mkdir -p /etc/trunkline /var/lib/trunkline \
    && chown 65532:65532 /var/lib/trunkline \
    && chmod 0700 /var/lib/trunkline
# PYTHONSAFEPATH: the working directory is never on the import path. GRPC_VERBOSITY: gRPC's core would write lines of its
# own between our records; what it has to say is in ours.
ENV PATH=/opt/trunkline/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    GRPC_VERBOSITY=NONE \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=dependencies /venv/ /
STOPSIGNAL SIGTERM


FROM runtime AS operator
COPY --from=dependencies /operator/ /
COPY --from=application /application/operator/ /
USER 65532:65532
EXPOSE 8443 9090
ENTRYPOINT ["trunkline-operator"]
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="trunkline-operator" \
    org.opencontainers.image.description="The control plane of Trunkline, a Kubernetes-native LLM gateway" \
    org.opencontainers.image.source="https://github.com/trunkline/trunkline" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"


FROM runtime AS gateway
COPY --from=dependencies /gateway/ /
COPY --from=application /application/gateway/ /
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["trunkline-gateway"]
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="trunkline-gateway" \
    org.opencontainers.image.description="The data plane of Trunkline, a Kubernetes-native LLM gateway" \
    org.opencontainers.image.source="https://github.com/trunkline/trunkline" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"


FROM runtime AS all-in-one
COPY --from=dependencies /cli/ /
COPY --from=application /application/cli/ /
COPY manifests/quickstart /etc/trunkline/manifests
ENV TRUNKLINE_STATE_DIR=/var/lib/trunkline
USER 65532:65532
EXPOSE 8080 9090
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('TRUNKLINE_ADMIN_PORT') or 9090), timeout=3); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["trunkline"]
CMD ["run", "/etc/trunkline/manifests", "--host", "0.0.0.0"]
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="trunkline" \
    org.opencontainers.image.description="Both planes of Trunkline in one process, for those without a cluster" \
    org.opencontainers.image.source="https://github.com/trunkline/trunkline" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"
