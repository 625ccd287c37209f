# One file, three images: `api` holds no TensorFlow, `worker` trains on a CPU, `gpu-worker` on an NVIDIA GPU.
FROM python:3.12-slim AS base
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    PATH=/opt/gradflow/bin:$PATH
RUN groupadd --gid 10001 gradflow && useradd --uid 10001 --gid gradflow --no-create-home gradflow \
    && install --directory --owner gradflow --group gradflow /var/cache/gradflow && python -m venv /opt/gradflow
WORKDIR /srv/gradflow

# The container's user can read the source, whatever the umask was when it was checked out.
FROM base AS source
COPY gradflow/ gradflow/
COPY service/ service/
COPY worker/ worker/
RUN chmod -R a+rX .

# Requirements come before the source, so that a change of the source does not install them again.
FROM base AS api-environment
COPY requirements/api.txt ./
RUN pip install --require-hashes -r api.txt

FROM base AS worker-environment
COPY requirements/worker.txt ./
RUN pip install --require-hashes -r worker.txt

FROM base AS gpu-worker-environment
COPY requirements/gpu.txt ./
RUN pip install --require-hashes -r gpu.txt

FROM api-environment AS api
COPY --from=source /srv/gradflow/gradflow/ gradflow/
COPY --from=source /srv/gradflow/service/ service/
USER gradflow
EXPOSE 8000
# Ends at once if no API key is configured, unless `--insecure` is added.
CMD ["python", "-m", "gradflow.cli", "serve", "--host", "0.0.0.0"]

FROM worker-environment AS worker
COPY --from=source /srv/gradflow/service/__init__.py service/
COPY --from=source /srv/gradflow/service/contract/ service/contract/
COPY --from=source /srv/gradflow/service/store/ service/store/
COPY --from=source /srv/gradflow/worker/ worker/
USER gradflow
CMD ["celery", "--app", "worker.app", "worker", "--loglevel", "INFO", "--without-mingle", "--without-gossip"]

FROM gpu-worker-environment AS gpu-worker
COPY --from=source /srv/gradflow/service/__init__.py service/
COPY --from=source /srv/gradflow/service/contract/ service/contract/
COPY --from=source /srv/gradflow/service/store/ service/store/
COPY --from=source /srv/gradflow/worker/ worker/
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER gradflow
CMD ["celery", "--app", "worker.app", "worker", "--loglevel", "INFO", "--without-mingle", "--without-gossip"]
