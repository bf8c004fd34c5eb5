# One image for the three services; docker-compose.yml says which one a container runs.
FROM python:3.11-slim AS build
# For the passes in C (worker/optim/native); they are left out where this fails, and torch serves.
RUN apt-get update -q && apt-get install -y -q --no-install-recommends gcc libc6-dev || true
WORKDIR /app
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY pyproject.toml README.md LICENSE ./
COPY backend backend
COPY dashboard dashboard
COPY worker worker
RUN pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.11-slim
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 BLOCKHF_HOME=/data
WORKDIR /app
RUN useradd --uid 1000 blockhf && install -d -o blockhf /data /data/checkpoints
USER blockhf
VOLUME /data
